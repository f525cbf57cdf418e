"""Settings that make no sense refuse to start, and say what would make sense."""

from __future__ import annotations

from pathlib import Path

import pytest

from scaiqueue.settings import Settings, SettingsError, load_settings


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_nothing_set_gives_the_defaults() -> None:
    assert load_settings({}) == Settings()
    assert load_settings({}).port == 8080


def test_environment_goes_before_the_file_and_options_before_both(tmp_path: Path) -> None:
    (tmp_path / "scaiqueue.toml").write_text('port = 1\nhost = "10.0.0.1"\nshards = 4\n')
    settings = load_settings({"SCAIQUEUE_PORT": "2", "SCAIQUEUE_HOST": "10.0.0.2"}, port=3, host=None)
    assert (settings.port, settings.host, settings.shards) == (3, "10.0.0.2", 4)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("PORT", "eighty", "a whole number, 0 to 65535, not 'eighty'"),
        ("PORT", "70000", "a whole number, 0 to 65535"),
        ("SHARDS", "0", "a whole number, 1 to 1024"),
        ("BACKLOG_LIMIT", "-1", "a whole number, 1 or more"),
        ("DURABILITY", "maybe", "one of committed, indexed, not 'maybe'"),
        ("REDIS_URL", "localhost:6379", "redis://host:port/0"),
        ("DATABASE_URL", "mysql://root@localhost/x", "mysql+asyncmy://user:password@host/database"),
        ("API_KEY", "secret", "sgk_ and at least 32 random characters"),
        ("MAX_BATCH_BYTES", "70000", "must not be smaller than max_body_bytes"),
        ("RESERVED_SHARDS", "16", "must leave at least one of the 16 shards"),
        ("DATA_DIR", "", "must be a folder"),
        ("HOST", "", "must be an address"),
        ("REDISURL", "redis://x", "did you mean SCAIQUEUE_REDIS_URL?"),
    ],
)
def test_nonsense_names_the_variable_and_what_is_allowed(name: str, value: str, says: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings({f"SCAIQUEUE_{name}": value})
    assert f"SCAIQUEUE_{name}: " in str(caught.value)
    assert says in str(caught.value)


def test_all_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings({"SCAIQUEUE_PORT": "x", "SCAIQUEUE_SHARDS": "x"})
    assert len(str(caught.value).splitlines()) == 2


def test_variables_of_others_are_left_alone() -> None:
    assert load_settings({"SCAIQUEUE_SERVICE_NAMESPACE": "x", "SCAIQUEUE_WEBHOOKS": "y"}) == Settings()


@pytest.mark.parametrize(
    ("text", "says"),
    [("prot = 1", "did you mean port?"), ("port =", "Invalid value"), ("zzz = 1", "known are")],
)
def test_the_file_may_hold_only_settings(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "scaiqueue.toml").write_text(text)
    with pytest.raises(SettingsError, match=says.replace("?", r"\?")):
        load_settings({})


def test_a_named_file_must_exist(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no such settings file"):
        load_settings({}, tmp_path / "other.toml")
