"""Reads a script's header block: the contract from which checks, binding and reference are made."""

from __future__ import annotations

import re
from typing import NamedTuple


class ContractError(ValueError):
    """A header block that can't be read; the message names script and line."""


class Argument(NamedTuple):
    """One argument or option. Kinds: uuid, int, text, bytes, envelope, options, slug, word, index; `limits`
    are the kind's."""

    name: str
    kind: str
    limits: tuple[str, ...]
    optional: bool
    text: str

    @property
    def constant(self) -> str:
        return f"A_{self.name.upper()}"


class KeyGroup(NamedTuple):
    """Keys of one owner: shard, scope, stream, queue or item; `repeated` groups occur once per queue."""

    owner: str
    names: tuple[str, ...]
    repeated: bool


class Reply(NamedTuple):
    word: str
    text: str


class Contract(NamedTuple):
    name: str
    summary: str
    flags: str
    keys: tuple[KeyGroup, ...]
    arguments: tuple[Argument, ...]
    items: tuple[Argument, ...]
    options: tuple[Argument, ...]
    least_items: int
    replies: tuple[Reply, ...]
    complexity: str
    journal: str
    since: str

    def group(self, owner: str) -> KeyGroup | None:
        return next((group for group in self.keys if group.owner == owner), None)


# What every script takes first; `epoch` and `now` may be empty.
COMMON = (
    Argument(
        "epoch",
        "int",
        ("0", "9007199254740991"),
        True,
        "the shard's epoch as the caller knows it; empty: any",
    ),
    Argument("now", "int", ("0", "4102444800000"), True, "a test's clock in ms; empty: the server's"),
)

_header = re.compile(r"^(?:#!lua(?P<flags>[^\n]*)\n)?--\[\[\n(?P<header>.*?)\n\]\]", re.DOTALL)
_argument = re.compile(r"^(\w+) (\w+)(?:\(([^)]*)\))?(\?)? ?(.*)$")


def parse_contract(source: str) -> Contract:
    """The contract of a script's source. Raises ContractError."""
    found = _header.match(source)
    if found is None:
        raise ContractError("a script begins with #!lua and a --[[ header ]] block")
    prose, _, tagged = found["header"].partition("\n\n@")
    name, _, summary = prose.partition(": ")
    lines: dict[str, list[str]] = {}
    for line in ("@" + tagged).splitlines():
        tag, _, text = line.partition(" ")
        lines.setdefault(tag[1:], []).append(text)
    one = {tag: texts[0] for tag, texts in lines.items()}
    return Contract(
        name=name,
        summary=" ".join(summary.split()),
        flags=(found["flags"] or "").strip(),
        keys=tuple(_key_group(text) for text in lines["keys"]),
        arguments=COMMON + tuple(_parse_argument(name, text) for text in lines.get("arg", ())),
        items=tuple(_parse_argument(name, text) for text in lines.get("item", ())),
        options=tuple(_parse_argument(name, text) for text in lines.get("option", ())),
        least_items=int(one.get("items", 1)),
        replies=tuple(Reply(*text.partition(" ")[::2]) for text in lines["reply"]),
        complexity=one["complexity"],
        journal=one["journal"],
        since=one["since"],
    )


def _key_group(text: str) -> KeyGroup:
    owner, *names = text.split()
    return KeyGroup(owner.rstrip("*"), tuple(names), owner.endswith("*"))


def _parse_argument(script: str, text: str) -> Argument:
    found = _argument.match(text)
    if found is None:
        raise ContractError(f"{script}: can't read argument {text!r}")
    name, kind, limits, optional, about = found.groups()
    return Argument(name, kind, tuple(limits.split(",")) if limits else (), optional is not None, about)
