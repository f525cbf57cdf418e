"""Commands that need no running API."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from cyclopts import App
from redis.asyncio import Redis

from scaiqueue.cli import app
from scaiqueue.rows.migrate import upgrade
from scaiqueue.scripts.bundle import load_bundle
from scaiqueue.services import Services
from scaiqueue.settings import Settings
from tests.cli.shell import QuickShell, Shell
from tests.integrity.conftest import open_checked
from tests.servers import MariaDbServer, RedisServer


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return QuickShell(tmp_path)


def test_nonsense_settings_are_refused_with_the_remedy(shell: Shell) -> None:
    shell.environment["SCAIQUEUE_SHARDS"] = "none"
    for command in ("dev", "api", "worker", "doctor"):
        assert shell(command, status=2) == (
            "scaiqueue: SCAIQUEUE_SHARDS: must be a whole number, 1 to 1024, not 'none'\n"
        )


@pytest.mark.parametrize("command", ["api", "worker"])
def test_a_process_without_a_server_says_how_to_get_one(shell: Shell, command: str) -> None:
    assert "SCAIQUEUE_REDIS_URL is not set and no `scaiqueue dev` runs" in shell(command, status=1)


def test_dev_refuses_a_port_that_is_taken(shell: Shell, redis_server: RedisServer) -> None:
    said = shell("dev", "--port", str(redis_server.port), status=1)
    assert f"cannot listen on 127.0.0.1:{redis_server.port}" in said
    assert "choose another --port" in said


def test_fresh_is_refused_where_servers_are_named(shell: Shell) -> None:
    shell.environment["SCAIQUEUE_REDIS_URL"] = "redis://127.0.0.1:1/0"
    assert "SCAIQUEUE_REDIS_URL names a server of its own" in shell("dev", "--fresh", status=2)


@pytest.mark.parametrize("name", ["bash", "zsh", "fish"])
def test_shells_can_complete(shell: Shell, name: str) -> None:
    script = shell("completion", name)
    assert all(command in script for command in ("doctor", "redrive", "set-state"))


def test_the_page_names_every_command() -> None:
    page = (Path(__file__).parents[2] / "docs" / "reference" / "command-line.md").read_text()
    named = set(re.findall(r"`scaiqueue ([a-z -]+?)(?: [A-Z\[].*?)?`", page))
    assert named >= set(_commands(app, ())), set(_commands(app, ())) - named


def _commands(of: App, above: tuple[str, ...]) -> Iterator[str]:
    """Every command that does something, by its words."""
    for name in of:
        if name.startswith("-"):
            continue
        words = (*above, name)
        if of[name].default_command is None:
            yield from _commands(of[name], words)
        else:
            yield " ".join(words)


def test_migrations_go_up_and_down(shell: Shell, database_url: str) -> None:
    shell.environment["SCAIQUEUE_DATABASE_URL"] = database_url
    assert not json.loads(shell("migrate", "status", "--json", status=1))["up_to_date"]
    assert "newest is" in shell("migrate", "up")
    assert json.loads(shell("migrate", "status", "--json"))["up_to_date"]
    assert "add --yes" in shell("migrate", "down", "base", status=1)
    shell("migrate", "down", "base", "--yes")
    assert json.loads(shell("migrate", "status", "--json", status=1))["current"] == ""


def test_scripts_are_listed_shown_and_loaded(
    shell: Shell, redis_server: RedisServer, database_url: str
) -> None:
    listed = json.loads(shell("scripts", "list", "--json"))
    assert {one["name"]: one["sha1"] for one in listed} == {
        script.name: script.sha1 for script in load_bundle().values()
    }
    assert shell("scripts", "show", "publish") == load_bundle()["publish"].source
    assert "`scaiqueue scripts list`" in shell("scripts", "show", "nothing", status=1)
    shell.environment |= {"SCAIQUEUE_REDIS_URL": redis_server.url, "SCAIQUEUE_DATABASE_URL": database_url}
    assert "`scaiqueue migrate up`" in shell("scripts", "load", status=1)
    shell("migrate", "up")
    assert f"{len(listed)} scripts loaded" in shell("scripts", "load")
    with redis_server.client() as client:
        assert all(client.script_exists(*(one["sha1"] for one in listed)))


def test_doctor_is_content_with_good_servers(shell: Shell, mariadb_url: str) -> None:
    with RedisServer(appendonly="yes") as redis:
        shell.environment |= {"SCAIQUEUE_REDIS_URL": redis.url, "SCAIQUEUE_DATABASE_URL": mariadb_url}
        shell("migrate", "up")
        findings = json.loads(shell("doctor", "--json"))
        assert {one["state"] for one in findings} == {"ok"}
        assert {"eviction policy", "append-only file", "scripts", "migrations"} <= {
            one["check"] for one in findings
        }


def test_doctor_names_what_is_bad_and_the_remedy(shell: Shell, mariadb_server: MariaDbServer) -> None:
    with RedisServer(maxmemory_policy="allkeys-lru", maxmemory=1000) as redis:
        shell.environment |= {
            "SCAIQUEUE_REDIS_URL": redis.url,
            "SCAIQUEUE_DATABASE_URL": mariadb_server.create_database("unmigrated"),
        }
        said = shell("doctor", status=1)
        mariadb_server.drop_database("unmigrated")
    for remedy in (
        "maxmemory-policy noeviction",
        "CONFIG SET appendonly yes",
        "or raise maxmemory",
        "`scaiqueue migrate up`",
    ):
        assert remedy in said


def test_doctor_says_which_server_is_away(shell: Shell) -> None:
    shell.environment |= {
        "SCAIQUEUE_REDIS_URL": "redis://127.0.0.1:1/0",
        "SCAIQUEUE_DATABASE_URL": f"mysql+asyncmy://root@localhost/x?unix_socket={shell.folder}/none",
    }
    said = shell("doctor", status=1)
    assert "redis reachable" in said
    assert "rows reachable" in said


@pytest.mark.parametrize("words", [("status",), ("queue", "ls"), ("agent", "ls")])
def test_operators_hear_when_nothing_answers(shell: Shell, words: tuple[str, ...]) -> None:
    shell.environment["SCAIQUEUE_PORT"] = "1"
    assert "no answer from http://127.0.0.1:1" in shell(*words, status=1)


def test_keys_are_made_listed_and_revoked(shell: Shell, database_url: str) -> None:
    shell.environment["SCAIQUEUE_DATABASE_URL"] = database_url
    assert "`scaiqueue migrate up` done?" in shell("keys", "list", status=1)
    shell("migrate", "up")
    words = ("keys", "create", "--tenant", "acme", "--permissions", "view", "publish", "--rate-limit", "60")
    assert "no scope 'orders'" in shell(*words, "--scopes", "orders", status=1)
    assert "exactly one --scopes" in shell(*words, "--queues", "tasks", status=1)
    secret = shell(*words).strip()
    assert secret.startswith("sgk_")
    assert len(secret) >= 36
    (listed,) = json.loads(shell("keys", "list", "--tenant", "acme", "--json"))
    assert listed["permissions"] == ["scaiqueue:view", "scaiqueue:publish"]
    assert (listed["scopes"], listed["rate_limit"]) == ([], 60)
    assert secret not in json.dumps(listed)
    assert json.loads(shell("keys", "list", "--json")) == []
    assert "has no key" in shell("keys", "revoke", listed["id"], status=1)
    shell("keys", "revoke", listed["id"], "--tenant", "acme")
    (revoked,) = json.loads(shell("keys", "list", "--tenant", "acme", "--json"))
    assert revoked["revoked_at"]
    assert "lower-case" in shell("keys", "create", "--tenant", "No Slug", status=1)


async def test_another_number_of_shards_is_refused(tmp_path: Path, redis_url: str, database_url: str) -> None:
    await upgrade(database_url)
    services = Services(Settings(redis_url=redis_url, database_url=database_url, shards=2))
    await services.start()
    await services.stop()
    environment = {"SCAIQUEUE_REDIS_URL": redis_url, "SCAIQUEUE_DATABASE_URL": database_url}
    shell = Shell(tmp_path, **environment, SCAIQUEUE_SHARDS="3")
    for command in ("api", "worker"):
        assert "made with 2 shards, not 3: set it to 2" in shell(command, status=2)


async def test_doctor_looks_deeply_and_changes_nothing(
    shell: Shell, redis: Redis, redis_url: str, sqlite_url: str
) -> None:
    async with open_checked(redis, sqlite_url) as checked:
        (message_id,), _ = await checked.stack.publish()
        await checked.settled()
        shell.environment |= {
            "SCAIQUEUE_REDIS_URL": redis_url,
            "SCAIQUEUE_DATABASE_URL": sqlite_url,
            "SCAIQUEUE_SHARDS": str(checked.stack.shards),
        }
        # This server keeps no append-only file, which is bad by itself.
        said = await asyncio.to_thread(shell, "doctor", "--deep", "--json", status=1)
        assert {one["check"]: one["state"] for one in json.loads(said)}["index and rows"] == "ok"
        pending = checked.stack.scope.queue("orders").key("pending")
        await redis.zrem(pending, message_id)
        said = await asyncio.to_thread(shell, "doctor", "--deep", status=1)
        assert "unplaced" in said
        assert message_id in said
        assert await redis.zcard(pending) == 0
