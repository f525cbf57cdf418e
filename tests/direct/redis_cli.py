"""The conformance cases by redis-cli, as someone at a terminal would type them."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterator, Sequence
from typing import Any

from tests.scripts.conformance_format import as_bytes, as_json, entry_as_json, hash_as_json, reply_as_json
from tests.servers import find_program

Command = Sequence[Any]
READS: dict[str, tuple[str, ...]] = {
    "hash": ("HGETALL",),
    "zset": ("ZRANGE", "0", "-1", "WITHSCORES"),
    "stream": ("XRANGE", "-", "+"),
    "string": ("GET",),
}


def run_cases(
    url: str, sha1: dict[str, str], cases: Sequence[dict[str, Any]]
) -> Iterator[tuple[list[Any], dict[str, Any]]]:
    """The reply and the keys after each case, in the cases' form."""
    commands: list[Command] = []
    for case in cases:
        commands += _commands(case, sha1)
    answers = iter(_type_in(url, commands))
    for case in cases:
        *_, reply, keys = (next(answers) for _ in range(len(case["setup"]) + 3))
        found = {name: {kind: _value(kind, name, next(answers))} for name, kind in _expected(case)}
        assert sorted(key.decode() for key in keys) == sorted(found), case["name"]
        yield reply_as_json(case["call"]["script"], reply), found


def _expected(case: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in case["keys"].items():
        (kind,) = value
        yield name, kind


def _commands(case: dict[str, Any], sha1: dict[str, str]) -> Iterator[Command]:
    yield ("FLUSHALL",)
    for command in case["setup"]:
        yield _evalsha(sha1, *command[1:]) if command[0] == "SCRIPT" else command
    call = case["call"]
    yield _evalsha(sha1, call["script"], call["keys"], call["args"])
    yield ("KEYS", "sq:{*")
    for name, kind in _expected(case):
        command, *rest = READS[kind]
        yield (command, name, *rest)


def _evalsha(sha1: dict[str, str], script: str, keys: list[str], args: list[Any]) -> Command:
    return ("EVALSHA", sha1[script], len(keys), *keys, *args)


def _value(kind: str, name: str, got: Any) -> Any:
    if kind == "string":
        return as_json(got)
    if kind == "stream":
        return [[entry.decode(), entry_as_json(_pairs(flat))] for entry, flat in got]
    return hash_as_json(name, _pairs(got))


def _pairs(flat: list[bytes]) -> dict[bytes, bytes]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _type_in(url: str, commands: Sequence[Command]) -> list[Any]:
    """The reply to each command, its text as bytes."""
    lines = "".join(" ".join(map(_quoted, command)) + "\n" for command in commands)
    program = [find_program("redis-cli"), "-u", url, "-2", "--quoted-json"]
    done = subprocess.run(program, input=lines.encode(), capture_output=True, check=True)
    return [_parsed(line) for line in done.stdout.decode("ascii").splitlines()]


def _quoted(word: Any) -> str:
    plain = (
        chr(byte) if 32 <= byte < 127 and byte not in b'"\\' else f"\\x{byte:02x}" for byte in as_bytes(word)
    )
    return f'"{"".join(plain)}"'


def _parsed(line: str) -> Any:
    """`--quoted-json` doubles the backslashes of a text that is quoted as on a terminal, and as in Python."""
    return _as_bytes(ast.literal_eval(line.replace("\\\\", "\\")))


def _as_bytes(value: Any) -> Any:
    if isinstance(value, list):
        return [_as_bytes(part) for part in value]
    return value.encode("latin-1") if isinstance(value, str) else value
