"""The recorded history of a run: every call and its outcome, every strike, what the rows showed.

`begun`, `ended` and `at` are seconds of this machine's monotonic clock; lease ends are the server's ms.
A call is `ok` when it was acknowledged, `fail` when it was refused and so has no effect, and `unknown`
when nothing is known: a lost connection, a time-out, a 503.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal, TypeAlias

import msgspec

Outcome: TypeAlias = Literal["ok", "fail", "unknown"]
ENDING_VERBS = ("complete", "fail", "release")


class Call(msgspec.Struct, kw_only=True, omit_defaults=True, tag_field="record"):
    begun: float
    ended: float
    outcome: Outcome
    via: str = "http"
    code: str = ""


class Publish(Call, kw_only=True, omit_defaults=True, tag="publish"):
    """One attempt. `key` is the idempotency key, and stands in the body, so that a message is known by it."""

    key: str
    queue: str
    rank: int = 2500
    durability: Literal["committed", "indexed"] = "committed"
    id: str = ""


class Delivery(msgspec.Struct, array_like=True):
    id: str
    key: str
    token: str
    attempts: int
    lease_end: int


class Claim(Call, kw_only=True, omit_defaults=True, tag="claim"):
    """`claim_id`: attempts of one claim share it, and are given the same leases."""

    queue: str
    holder: str
    lease_ms: int
    claim_id: str = ""
    given: list[Delivery] = []


class Settle(Call, kw_only=True, omit_defaults=True, tag="settle"):
    """`verb` is complete, fail, release or extend; `lease_end` is what an extend answered."""

    verb: str
    id: str
    token: str
    lease_end: int = 0


class Strike(msgspec.Struct, kw_only=True, omit_defaults=True, tag_field="record", tag="strike"):
    """A fault from its beginning until it was healed, and until every API process served again.

    `loses`: Redis may come back without what it did in so many seconds before the strike, and during it;
    None: it loses nothing.
    """

    kind: str
    begun: float
    healed: float
    recovered: float
    loses: float | None = None


class Switch(msgspec.Struct, kw_only=True, tag_field="record", tag="switch"):
    """The rows served instead of Redis: between two looks that showed otherwise."""

    begun: float
    ended: float


class Seen(msgspec.Struct, kw_only=True, tag_field="record", tag="seen"):
    """Messages that the rows held as completed at `at`."""

    at: float
    completed: list[str]


Record: TypeAlias = Publish | Claim | Settle | Strike | Switch | Seen
_encode = msgspec.json.Encoder().encode_into
_decode = msgspec.json.Decoder(Record).decode


class History:
    """Appends to a file as calls end, and keeps the records for the checker."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.records: list[Record] = []
        self._file = path.open("wb")
        self._buffer = bytearray()

    def add(self, record: Record) -> None:
        self.records.append(record)
        _encode(record, self._buffer)
        self._buffer += b"\n"
        self._file.write(self._buffer)

    def close(self) -> None:
        self._file.close()


def read(path: Path) -> Iterator[Record]:
    """A history of an earlier run."""
    with path.open("rb") as lines:
        yield from map(_decode, lines)


class Fate(msgspec.Struct, array_like=True):
    """Where a message is. `state` is a word of the contract; the dead letter is a queue like others."""

    queue: str
    state: str
    attempts: int
    key: str = ""


class Member(msgspec.Struct, array_like=True):
    """An entry of one of a queue's sorted sets in the index."""

    id: str
    queue: str
    set: str


class Final(msgspec.Struct):
    """What the index and the rows hold when nothing happens any more; ids to fates."""

    index: dict[str, Fate]
    members: list[Member]
    rows: dict[str, Fate]
    archive: dict[str, Fate] = {}

    def fates(self) -> Iterable[tuple[str, Fate]]:
        """Every message once; the rows first, as they know the key."""
        yield from (self.index | self.archive | self.rows).items()
