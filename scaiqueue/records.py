"""What the scripts store and journal, decoded. `lua/include/record.lua` is the same layout."""

from __future__ import annotations

import struct
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
    shared_body = 128


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


class Record(msgspec.Struct):
    """A message's mutable part, as the state hash holds it. Times in ms since 1970, 0 = none.

    `shared` names the message under which the envelope is kept that this one shares with others; "": its own.
    `token` is `epoch.counter`, "" for none; `verb` the last that succeeded with it, or `escalate` once its
    review was escalated; `max_retries` -1 means the queue's.
    """

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
    shared: str = ""

    def parent(self, message_id: str) -> str:
        """The message that the one with this id is a copy of, by a subscription; "" for none."""
        return self.shared if self.shared != message_id else ""

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


VERBS = ("", "complete", "fail", "release", "extend", "escalate")
QUEUES_RETRIES = 255
_LIMITS, _ORIGIN, _SHARED = 32, 64, 128
_KEPT_FLAGS = 31 | _SHARED
_ID = 36
# Numbers of three and six bytes are read as two each: struct knows widths of 1, 2, 4 and 8 only.
_numbers = struct.Struct(">BB BH HI BH HI HI HI HB HI HI B HI B")
_limits = struct.Struct(">HIHI")
_decode_origin = msgspec.msgpack.Decoder(tuple[object, ...]).decode
_encode_msgpack = msgspec.msgpack.Encoder().encode


def decode_record(raw: bytes) -> Record:
    """Raises ValueError for what is no record."""
    try:
        # fmt: off
        (state, verb, te1, te0, tc1, tc0, ve1, ve0, vn1, vn0, due1, due0, up1, up0, attempts, flags,
         seq1, seq0, rank, size, retries, cr1, cr0, length) = _numbers.unpack_from(raw)
        # fmt: on
        at = 55 + length
        queue = raw[55:at].decode("ascii")
        deadline = expires = 0
        origin: tuple[object, ...] = ()
        if flags & _LIMITS:
            d1, d0, e1, e0 = _limits.unpack_from(raw, at)
            deadline, expires, at = d1 << 32 | d0, e1 << 32 | e0, at + 12
        if flags & _ORIGIN:
            end = at + 2 + int.from_bytes(raw[at : at + 2])
            origin, at = _decode_origin(raw[at + 2 : end]), end
        shared = ""
        if flags & _SHARED:
            shared, at = raw[at : at + _ID].decode("ascii"), at + _ID
        token_epoch = te1 << 16 | te0
        return Record(
            queue, state, attempts, seq1 << 32 | seq0, rank, deadline, expires, size,
            f"{token_epoch}.{tc1 << 32 | tc0}" if token_epoch else "", raw[at:].decode(), VERBS[verb],
            ve1 << 16 | ve0, vn1 << 32 | vn0, -1 if retries == QUEUES_RETRIES else retries, cr1 << 32 | cr0,
            flags & _KEPT_FLAGS, due1 << 32 | due0, up1 << 32 | up0, origin, shared,
        )  # fmt: skip
    except (struct.error, IndexError) as error:
        raise ValueError(f"not a state record: {error}") from error


def encode_record(record: Record) -> bytes:
    """As the scripts write it."""
    flags = record.flags & 31
    limits = origin = b""
    if record.deadline or record.expires_at:
        flags |= _LIMITS
        limits = record.deadline.to_bytes(6) + record.expires_at.to_bytes(6)
    if record.origin:
        flags |= _ORIGIN
        packed = _encode_msgpack(record.origin)
        origin = len(packed).to_bytes(2) + packed
    if record.shared:
        flags |= _SHARED
    epoch, counter = map(int, record.token.split(".")) if record.token else (0, 0)
    retries = QUEUES_RETRIES if record.max_retries < 0 else record.max_retries
    queue = record.queue.encode("ascii")
    # fmt: off
    parts = (
        record.state.to_bytes(), VERBS.index(record.verb).to_bytes(), epoch.to_bytes(3), counter.to_bytes(6),
        record.touched_epoch.to_bytes(3), record.touched_n.to_bytes(6), record.due_at.to_bytes(6),
        record.updated_at.to_bytes(6), record.attempts.to_bytes(2), flags.to_bytes(), record.seq.to_bytes(6),
        record.rank.to_bytes(2), record.size.to_bytes(4), retries.to_bytes(), record.created_at.to_bytes(6),
        len(queue).to_bytes(), queue, limits, origin, record.shared.encode(), record.holder.encode(),
    )
    # fmt: on
    return b"".join(parts)


def without_shared(raw: bytes) -> tuple[bytes, str]:
    """A record that shares its envelope, without the name of whom with, and that."""
    at = 55 + raw[54]
    if raw[34] & _LIMITS:
        at += 12
    if raw[34] & _ORIGIN:
        at += 2 + int.from_bytes(raw[at : at + 2])
    return raw[:at] + raw[at + _ID :], raw[at : at + _ID].decode("ascii", "replace")


_decode_texts = msgspec.msgpack.Decoder(tuple[str, str]).decode
_decode_parts = msgspec.msgpack.Decoder(list[msgspec.Raw]).decode


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
    """Header JSON and body bytes of a stored envelope: one line, and all that follows it."""
    header, _, body = stored.partition(b"\n")
    return Envelope(header, body)


def join_envelope(header: bytes, body: bytes) -> bytes:
    """`header` has no line break."""
    return header + b"\n" + body
