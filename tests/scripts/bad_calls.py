"""Malformed calls, made from a script's contract: one thing wrong in each."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from scaiqueue.records import Record, encode_record
from scaiqueue.scripts.checks import MAX_ITEMS
from scaiqueue.scripts.contract import Argument, Contract, KeyGroup

SHARD = "sq:{3}"
SCOPE = f"{SHARD}:acme:0"
ROOTS = {
    "shard": SHARD,
    "scope": SCOPE,
    "queue": f"{SCOPE}:q:jobs",
    "item": SCOPE,
    "stream": f"{SCOPE}:stream:01900001-0000-7000-8000-000000000000",
}
NOT_TEXT = (b"a\0b", b"\xff\xfe", b"a\xc3", b"\xed\xa0\x80")
NOT_A_NUMBER = (
    "x",
    "NaN",
    "nan",
    "inf",
    "-inf",
    "0x10",
    "1.5",
    "1e3",
    " 1",
    "1 ",
    "+1",
    "-1",
    b"1\0",
    b"\xff",
)
RECORD = Record("jobs", 2, 0, 1, 2500, 0, 0, 3, "", "", "", 1, 0, -1, 1, 0, 0, 1)


class Call(NamedTuple):
    about: str
    keys: list[str]
    args: list[Any]


def good_call(contract: Contract) -> Call:
    """A well-formed call of one item."""
    keys = [key for group in contract.keys for key in _keys(group)]
    fixed = [_good(argument) for argument in contract.arguments]
    fixed[0:2] = ["1", "1800000000000"]
    return Call("well-formed", keys, fixed + [_good(argument) for argument in contract.items])


def bad_calls(contract: Contract) -> Iterator[Call]:
    yield from _bad_arguments(contract)
    yield from _bad_counts(contract)
    yield from _bad_keys(contract)


def _keys(group: KeyGroup) -> list[str]:
    if group.owner == "item":
        return [f"{SCOPE}:{name}:" + "0" * 64 for name in group.names]
    return [f"{ROOTS[group.owner]}:{name}" for name in group.names]


def _good(argument: Argument) -> Any:
    if argument.name == "record":
        return encode_record(RECORD)
    match argument.kind:
        case "int":
            return str(max(int(argument.limits[0]), 1) if argument.name == "queues" else argument.limits[0])
        case "word":
            return argument.limits[0]
    kinds = {"uuid": "01900001-0000-7000-8000-000000000000", "text": "a", "bytes": b"x", "slug": "jobs"}
    return {**kinds, "envelope": b"{}\n{}", "index": "1", "options": '{"queue":1,"idem":1}'}[argument.kind]


def _wrong(option: Argument, value: Any) -> bool:
    """2 is no wrong number where the limits are wide."""
    return not (option.kind == "int" and value == 2)


def _bad(argument: Argument, contract: Contract) -> Iterator[Any]:
    """Values that the argument must not take."""
    if not argument.optional and argument.kind != "bytes":
        yield ""
    if argument.name == "record":
        good = encode_record(RECORD)
        yield from (b"x", b"\x93\x01\x02\x03", b"\xc1", b"\0" * 60, good[:-1] + b"J", good[:50])
        if not argument.optional:
            yield b""
    match argument.kind:
        case "uuid":
            good = str(_good(argument))
            yield from ("x", good[:-1], good + "0", "A" + good[1:], good.replace("-", "0"), good[:-1] + "\0")
            yield from (good[:-1] + "g", "0-0-0-0-" + "0" * 28, good[:-1].encode() + b"\xff")
        case "int":
            low, high = map(int, argument.limits)
            yield from NOT_A_NUMBER
            yield from (str(high + 1), "9" * 25, "9" * 400, *([str(low - 1)] if low else []))
        case "text":
            yield from (*NOT_TEXT, "a" * (int(argument.limits[0]) + 1))
        case "envelope":
            headers = ("x", "[]", "{", "{}x", "null", '{"a":NaN}', '{"a":0x1}', '{"a":01}', '{"a":1.}')
            headers += ('{"a":1e999}', '{"a":"\x01"}', '{"a":"\0"}', '{"a":tru}', '{"a":"\ud800"}')
            yield from (header.encode("utf-8", "surrogatepass") + b"\n{}" for header in headers)
            yield from (b'{"a":"\xff"}\n{}', "", "{}", '{"a":"' + "a" * int(argument.limits[0]) + '"}\n')
        case "options":
            yield from ("x", "[]", "{", "1", "null", '{"other":1}', '{"queue":1}x')
            for option in contract.options:
                values: list[Any] = [None, True, [], {}, -1, 1.5, "", "a\0b"]
                values += [int(option.limits[1]) + 1] if option.kind == "int" else []
                values += ["a" * (int(option.limits[0]) + 1), 7] if option.kind == "text" else [2, 1e400]
                yield from (json.dumps({option.name: value}) for value in values if _wrong(option, value))
        case "slug":
            yield from ("Jobs", "-jobs", "a" * 64, "a:b", "a b", b"a\0", b"\xff", "a\n")
        case "word":
            yield from ("x", argument.limits[0].upper(), argument.limits[0] + "\0", b"\xff")
        case "index":
            yield from (*NOT_A_NUMBER, "2", "9" * 400, *(["0"] if argument.limits else []))


def _bad_arguments(contract: Contract) -> Iterator[Call]:
    good = good_call(contract)
    for place, argument in enumerate((*contract.arguments, *contract.items)):
        for value in _bad(argument, contract):
            args = list(good.args)
            args[place] = value
            yield Call(f"{argument.name}={str(value)[:40]!r}", good.keys, args)


def _bad_counts(contract: Contract) -> Iterator[Call]:
    good, fixed, item = good_call(contract), len(contract.arguments), len(contract.items)
    for count in range(fixed):
        yield Call(f"{count} arguments", good.keys, good.args[:count])
    yield Call("an argument too many", good.keys, [*good.args, "1"])
    if item:
        yield Call("too many items", good.keys, good.args[:fixed] + good.args[fixed:] * (MAX_ITEMS + 1))
        for count in range(1, item):
            yield Call(f"{count} arguments of an item", good.keys, good.args[: fixed + count])
        if contract.least_items:
            yield Call("no items", good.keys, good.args[:fixed])


def _bad_keys(contract: Contract) -> Iterator[Call]:
    good = good_call(contract)
    yield Call("no keys", [], good.args)
    yield Call("a key too many", [*good.keys, f"{SHARD}:other"], good.args)
    for place, key in enumerate(good.keys):
        missing = good.keys[:place] + good.keys[place + 1 :]
        if not (contract.group("item") and place == len(good.keys) - 1):
            yield Call(f"without {key}", missing, good.args)
        for wrong in (
            key + "x",
            key + "\n",
            key.replace("{3}", "{4}"),
            key.replace("sq:", "qs:"),
            key.replace(":", ""),
        ):
            yield Call(f"{wrong} for {key}", [*good.keys[:place], wrong, *good.keys[place + 1 :]], good.args)
        if ":acme:" in key:
            other = key.replace(":acme:", ":bolt:")
            yield Call(f"{other} for {key}", [*good.keys[:place], other, *good.keys[place + 1 :]], good.args)
