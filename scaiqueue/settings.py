"""Settings: defaults, then `scaiqueue.toml`, then `SCAIQUEUE_*` in the environment."""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta

from scaiqueue.keys import is_slug


class SettingsError(ValueError):
    """A setting makes no sense; the message names it and says what to do."""


Port = Annotated[int, Meta(ge=0, le=65535)]
_origin = re.compile(r"\*|https?://[^\s/]+")
Positive = Annotated[int, Meta(ge=1)]


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that can be set. Sizes in bytes, times in the unit that the name ends with."""

    redis_url: str = ""
    database_url: str = ""
    saq_redis_url: str = ""
    host: str = "127.0.0.1"
    port: Port = 8080
    data_dir: str = ".scaiqueue"
    api_key: str = ""
    shards: Annotated[int, Meta(ge=1, le=1024)] = 16
    reserved_shards: Annotated[int, Meta(ge=0, le=1023)] = 0
    durability: Literal["committed", "indexed"] = "committed"
    log_format: Literal["console", "json"] = "console"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    max_body_bytes: Annotated[int, Meta(ge=1024, le=16 * 2**20)] = 256 * 1024
    max_batch_items: Annotated[int, Meta(ge=1, le=1000)] = 1000
    max_batch_bytes: Annotated[int, Meta(ge=64 * 1024, le=256 * 2**20)] = 8 * 2**20
    visibility_timeout_s: Annotated[int, Meta(ge=1, le=43200)] = 30
    max_wait_s: Annotated[int, Meta(ge=0, le=60)] = 20
    idempotency_window_s: Annotated[int, Meta(ge=1, le=30 * 86400)] = 86400
    backlog_limit: Positive = 200_000
    commit_timeout_s: Positive = 10
    redis_timeout_ms: Annotated[int, Meta(ge=500, le=60_000)] = 2000
    redis_silence_ms: Annotated[int, Meta(ge=0, le=600_000)] = 500
    database_timeout_s: Annotated[int, Meta(ge=11, le=600)] = 15
    routing_max_hops: Annotated[int, Meta(ge=1, le=20)] = 10
    routing_max_matches: Annotated[int, Meta(ge=1, le=10**9)] = 100_000
    stream_max_chunks: Annotated[int, Meta(ge=1, le=10_000)] = 10_000
    stream_max_chunk_bytes: Annotated[int, Meta(ge=1, le=2**20)] = 64 * 1024
    stream_idle_timeout_s: Annotated[int, Meta(ge=1, le=86_400)] = 300
    stream_retention_s: Annotated[int, Meta(ge=0)] = 86_400
    rate_limit: Annotated[int, Meta(ge=0, le=6_000_000)] = 0
    archive_after_s: Annotated[int, Meta(ge=0)] = 3600
    event_retention_s: Annotated[int, Meta(ge=0)] = 30 * 86400
    webhook_private_networks: str = ""
    webhook_retry_base_ms: Annotated[int, Meta(ge=10, le=3_600_000)] = 5000
    webhook_disable_after_s: Annotated[int, Meta(ge=1)] = 3 * 86400
    audit_retention_s: Annotated[int, Meta(ge=0)] = 365 * 86400
    audit_buffer_bytes: Annotated[int, Meta(ge=2**20, le=2**32)] = 64 * 2**20
    worker_metrics_port: Port = 0
    persist: bool = True
    osqueue_port: Port = 0
    osqueue_scope: str = "osqueue"
    osqueue_key: str = ""
    osqueue_origins: str = ""


def load_settings(
    environ: Mapping[str, str] | None = None, file: Path | None = None, **overrides: object
) -> Settings:
    """Read, convert and check all settings. `overrides` (None = not given) go before everything else.

    Raises SettingsError for an unknown name, a wrong type, a value out of range, or values that do not
    fit each other; the message has one line for each.
    """
    path = file or Path("scaiqueue.toml")
    given: dict[str, _Given] = {}
    wrong: list[str] = []
    for name, value in _read_file(path, required=file is not None).items():
        given[name] = _Given(f"{name} in {path}", value)
    for variable, value in (os.environ if environ is None else environ).items():
        if variable.startswith(PREFIX):
            given[variable.removeprefix(PREFIX).lower()] = _Given(variable, value)
    for name, value in overrides.items():
        if value is not None:
            given[name] = _Given(f"--{name.replace('_', '-')}", value)
    values: dict[str, object] = {}
    for name, (label, value) in given.items():
        if name in FIELDS:
            try:
                values[name] = msgspec.convert(value, FIELDS[name], strict=False)
            except msgspec.ValidationError:
                wrong.append(f"{label}: must be {allowed(FIELDS[name])}, not {value!r}")
        elif complaint := _unknown(name, label):
            wrong.append(complaint)
    if not wrong:
        settings = Settings(**values)  # type: ignore[arg-type]
        wrong = [f"{given[name].label}: {text}" for name, text in _misfits(settings) if name in given]
    if wrong:
        raise SettingsError("\n".join(wrong))
    return settings


class _Given(NamedTuple):
    label: str
    value: object


PREFIX = "SCAIQUEUE_"
FIELDS = get_type_hints(Settings, include_extras=True)


def _read_file(path: Path, *, required: bool) -> dict[str, object]:
    if not path.exists():
        if required:
            raise SettingsError(f"{path}: no such settings file")
        return {}
    try:
        return tomllib.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise SettingsError(f"{path}: {error}") from None


def allowed(kind: object) -> str:
    """What a field of FIELDS may hold, for a person."""
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(map(str, get_args(kind)))
    arguments = get_args(kind)
    if not arguments:
        return "text"
    limits = arguments[1]
    return f"a whole number, {limits.ge}" + (" or more" if limits.le is None else f" to {limits.le}")


def _unknown(name: str, label: str) -> str | None:
    """In a file every name must be known. In the environment other programs have names too
    (`SCAIQUEUE_SERVICE_HOST` of an orchestrator), so there only what looks misspelt is refused."""
    close = difflib.get_close_matches(name, FIELDS, n=1, cutoff=0.75)
    if label.startswith(PREFIX):
        return f"{label}: no such setting; did you mean {PREFIX}{close[0].upper()}?" if close else None
    known = f"did you mean {close[0]}?" if close else "known are " + ", ".join(FIELDS)
    return f"{label}: no such setting; {known}"


def _misfits(settings: Settings) -> Iterator[tuple[str, str]]:
    """Values that are right each by itself and still make no sense: field and what is allowed."""
    for name in ("redis_url", "saq_redis_url"):
        if not _scheme_of(getattr(settings, name)) <= {"redis", "rediss", "unix", "valkey", "valkeys"}:
            yield name, "must be redis://host:port/0, rediss://… or unix:///path/to/socket"
    if not _scheme_of(settings.database_url) <= {"mysql+asyncmy", "mariadb+asyncmy", "sqlite+aiosqlite"}:
        yield (
            "database_url",
            "must be mysql+asyncmy://user:password@host/database or sqlite+aiosqlite:////path/to/file",
        )
    for name in ("api_key", "osqueue_key"):
        key = getattr(settings, name)
        if key and not re.fullmatch(r"sgk_[A-Za-z0-9_-]{8,}", key):
            hint = "and one is made" if name == "api_key" else "and every caller must bring one"
            yield name, f"must be sgk_ and at least 32 random characters; leave it out {hint}"
    if settings.osqueue_port and settings.osqueue_port == settings.port:
        yield "osqueue_port", f"must be another than port, which is {settings.port}"
    if not is_slug(settings.osqueue_scope):
        yield "osqueue_scope", "must be a slug: lower-case letters, digits, _ and -"
    if wrong := [text for text in settings.osqueue_origins.split() if not _origin.fullmatch(text)]:
        yield "osqueue_origins", f"must be origins such as https://jobs.example.org, or *; not {wrong[0]}"
    if settings.reserved_shards >= settings.shards:
        yield (
            "reserved_shards",
            f"must leave at least one of the {settings.shards} shards to the other scopes",
        )
    if settings.max_batch_bytes < settings.max_body_bytes:
        for name in ("max_batch_bytes", "max_body_bytes"):
            yield (
                name,
                "max_batch_bytes must not be smaller than max_body_bytes, or one message fills no batch",
            )
    for network in networks_of(settings.webhook_private_networks):
        try:
            ip_network(network)
        except ValueError as error:
            yield "webhook_private_networks", f"must be networks such as 10.0.0.0/8,fd00::/8: {error}"
    if not settings.host:
        yield "host", "must be an address, such as 127.0.0.1, or 0.0.0.0 for all of the machine's"
    if not settings.data_dir:
        yield "data_dir", "must be a folder, such as .scaiqueue"


def networks_of(text: str) -> list[str]:
    """The parts of a list with commas."""
    return [part.strip() for part in text.split(",") if part.strip()]


def _scheme_of(url: str) -> set[str]:
    return {url.partition("://")[0].lower()} if url else set()
