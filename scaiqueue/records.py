"""What the scripts store and journal, decoded. `lua/include/record.lua` is the same layout."""

from __future__ import annotations

from enum import IntEnum, IntFlag
from typing import NamedTuple

import msgspec


class State(IntEnum):
    """States of a message; the last four before `transferring` are terminal."""

    scheduled = 1
    pending = 2
    claimed = 3
    awaiting_review = 4
    completed = 5
    expired = 6
    cancelled = 7
    archived = 8
    transferring = 9

    @property
    def terminal(self) -> bool:
        return 5 <= self <= 8


class Flag(IntFlag):
    overlay = 1
    outcome = 2
    cancel_requested = 4
    json_body = 8
    opaque_body = 16


class Version(NamedTuple):
    """Place of a transition in its shard's journal: compared epoch first."""

    epoch: int
    n: int

    def __str__(self) -> str:
        return f"{self.epoch}-{self.n}"

    @classmethod
    def parse(cls, text: str | bytes) -> Version:
        epoch, _, n = (text.decode() if isinstance(text, bytes) else text).partition("-")
        return cls(int(epoch), int(n))


class Origin(msgspec.Struct, array_like=True, frozen=True):
    """Where a dead-lettered message came from; `at` in ms."""

    queue: str
    reason: str
    attempts: int
    at: int


class Record(msgspec.Struct, array_like=True):
    """A message's mutable part, as packed in the state hash. Times in ms since 1970, 0 = none."""

    queue: str
    state: int
    attempts: int
    seq: int
    rank: int
    deadline: int
    expires_at: int
    size: int
    token: str
    holder: str
    verb: str
    touched_epoch: int
    touched_n: int
    max_retries: int
    created_at: int
    flags: int
    due_at: int
    updated_at: int
    origin: tuple[object, ...] = ()

    @property
    def version(self) -> Version:
        return Version(self.touched_epoch, self.touched_n)

    @property
    def dead_letter_origin(self) -> Origin | None:
        """Set while the message came through the dead letter."""
        return msgspec.convert(self.origin, Origin) if self.origin else None


class Outcome(NamedTuple):
    """Response bytes as the consumer sent them (b"" = none) and the last failure's reason."""

    response: bytes
    reason: str


class Event(NamedTuple):
    """One message's transition within a journal entry."""

    message_id: str
    event: str
    queue: str
    attempts: int
    actor: str
    detail: str


class Envelope(NamedTuple):
    header: bytes
    body: bytes


decode_record = msgspec.msgpack.Decoder(Record).decode
_decode_texts = msgspec.msgpack.Decoder(tuple[str, str]).decode
_decode_parts = msgspec.msgpack.Decoder(list[msgspec.Raw]).decode
encode_record = msgspec.msgpack.Encoder().encode


def decode_outcome(packed: bytes) -> Outcome:
    """Lua packs bytes as text, so a response need not be UTF-8. b"" is no outcome."""
    if not packed:
        return Outcome(b"", "")
    try:
        response, reason = _decode_texts(packed)
    except ValueError:
        response_raw, reason_raw = (_string_bytes(bytes(part)) for part in _decode_parts(packed))
        return Outcome(response_raw, reason_raw.decode(errors="replace"))
    return Outcome(response.encode(), reason)


def _string_bytes(packed: bytes) -> bytes:
    """The content of one packed string, whatever its encoding."""
    return packed[{0xD9: 2, 0xDA: 3, 0xDB: 5, 0xC4: 2, 0xC5: 3, 0xC6: 5}.get(packed[0], 1) :]


def split_envelope(stored: bytes) -> Envelope:
    """Header JSON and body bytes of a stored envelope."""
    end = 4 + int.from_bytes(stored[:4], "big")
    return Envelope(stored[4:end], stored[end:])


def join_envelope(header: bytes, body: bytes) -> bytes:
    return len(header).to_bytes(4, "big") + header + body
