"""Reads docker-compose.yml as compose does: interpolation with `:-` and `:?`, merge keys, profiles."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
_variable = re.compile(r"\$\{(?P<name>\w+)(?::(?P<kind>[-?])(?P<text>[^}]*))?\}")


class MissingVariable(Exception):
    """A required variable is not set, or is empty."""


def read_compose(environment: Mapping[str, str], name: str = "docker-compose.yml") -> dict[str, Any]:
    """The file's content with all variables put in. Raises MissingVariable."""

    def put(found: re.Match[str]) -> str:
        value = environment.get(found["name"], "")
        if not value and found["kind"] != "-":
            raise MissingVariable(found["name"])
        return value or found["text"]

    content: dict[str, Any] = yaml.safe_load((ROOT / name).read_text())
    return _interpolate(content, put)


def _interpolate(value: Any, put: Any) -> Any:
    if isinstance(value, dict):
        return {key: _interpolate(one, put) for key, one in value.items()}
    if isinstance(value, list):
        return [_interpolate(one, put) for one in value]
    return _variable.sub(put, value) if isinstance(value, str) else value


def read_env_file(name: str) -> dict[str, str]:
    """`NAME=value` lines; comments are left out."""
    lines = (ROOT / name).read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
