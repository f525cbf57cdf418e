"""Settings: defaults, then `scaiqueue.toml`, then `SCAIQUEUE_*` in the environment."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta


class SettingsError(ValueError):
    """A setting makes no sense; the message names it and says what to do."""


Port = Annotated[int, Meta(ge=0, le=65535)]
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
    archive_after_s: Annotated[int, Meta(ge=0)] = 3600
    event_retention_s: Annotated[int, Meta(ge=0)] = 30 * 86400
    worker_metrics_port: Port = 0


def load_settings(
    environ: Mapping[str, str] | None = None, file: Path | None = None, **overrides: object
) -> Settings:
    """Read, convert and check all settings.

    Raises SettingsError for an unknown name, a wrong type or a value out of range.
    """
    environ = os.environ if environ is None else environ
    path = file or Path("scaiqueue.toml")
    values: dict[str, object] = {}
    if path.exists():
        values.update(tomllib.loads(path.read_text()))
    elif file is not None:
        raise SettingsError(f"{file}: no such settings file")
    known = set(Settings.__struct_fields__)
    for name, value in environ.items():
        if name.startswith("SCAIQUEUE_") and (field := name[10:].lower()) in known:
            values[field] = value
    values.update({name: value for name, value in overrides.items() if value is not None})
    try:
        return msgspec.convert(values, Settings, strict=False)
    except msgspec.ValidationError as error:
        raise SettingsError(f"settings: {error}") from None
