"""The single events of stored rows, before anything is read about the messages that they name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from scaiqueue.events.kinds import types_of
from scaiqueue.rows.events import ALL, Place, StoredEvents

ID_LENGTH = 36

_groups = msgspec.json.Decoder(list[tuple[str, str, int, str, str, str]]).decode


class Note(msgspec.Struct):
    """The `detail` of a row that tells of a queue or a scope."""

    event_type: str
    payload: dict[str, Any]


class StreamNote(msgspec.Struct):
    """The `detail` of a journal entry about a stream; `seqs` are the chunks that came with it."""

    event: str
    stream: str
    queue: str = ""
    actor: str = ""
    reason: str = ""
    message_id: str = ""
    seqs: list[int] = []
    bytes: int = 0


_decode_note = msgspec.json.Decoder(Note).decode
_decode_stream = msgspec.json.Decoder(StreamNote).decode


class Event(NamedTuple):
    """`message_id` "" with what `payload` tells instead."""

    row: StoredEvents
    part: int
    event_type: str
    queue: str
    message_id: str
    attempts: int
    actor: str
    detail: str
    payload: dict[str, Any] | None

    @property
    def place(self) -> Place:
        return Place(self.row.epoch, self.row.n, self.row.place, self.part)


def events_of(row: StoredEvents, after: int = 0) -> Iterator[Event]:
    """Those of one row behind its part `after`, in order."""
    if after >= ALL:
        return
    part = 0
    for transition, queue, attempts, actor, detail, joined in _groups(row.transitions):
        types = types_of(transition)
        for at in range(0, len(joined), ID_LENGTH):
            message_id = joined[at : at + ID_LENGTH]
            for event_type in types:
                part += 1
                if part > after:
                    yield Event(row, part, event_type, queue, message_id, attempts, actor, detail, None)
    note = _noted(row)
    if note is not None and part + 1 > after:
        yield Event(row, part + 1, note.event_type, row.queue, "", 0, "", "", note.payload)


def _noted(row: StoredEvents) -> Note | None:
    """Other details than these are for other readers."""
    if not row.detail.startswith("{"):
        return None
    try:
        if '"event_type":' in row.detail:
            return _decode_note(row.detail)
        note = _decode_stream(row.detail)
    except msgspec.MsgspecError:
        return None
    payload = {
        "scope_id": row.scope_id,
        "stream_id": note.stream,
        "queue": note.queue,
        "actor": note.actor or None,
        "reason": note.reason or None,
        "message_id": note.message_id or None,
        "chunks": len(note.seqs),
        "bytes": note.bytes,
    }
    return Note(note.event, payload)
