"""Journal entries as the scripts write them, decoded and checked for order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeAlias

import msgspec
import structlog

from scaiqueue.records import Version

STRIDE = 6
RawEntry: TypeAlias = tuple[bytes, dict[bytes, bytes]]
log = structlog.get_logger("scaiqueue.persister")
_decode_events = msgspec.msgpack.Decoder(list[int | str]).decode


class JournalGap(Exception):
    """The next entry is not the one after the last: some were lost, or the position is of another journal."""

    def __init__(self, after: Version, found: Version) -> None:
        super().__init__(f"after {after} the journal goes on with {found}")
        self.after = after
        self.found = found


class Entry(msgspec.Struct, gc=False):
    """One journal entry. `events` is flat, STRIDE values a transition; only publishes have `published`."""

    version: Version
    op: str
    scope_root: str
    queue: str
    actor: str
    at: int
    events: list[int | str]
    published: int | None
    detail: str

    @property
    def size(self) -> int:
        """How many transitions."""
        return len(self.events) // STRIDE


def decode(raw: RawEntry) -> Entry:
    """Raises ValueError (also msgspec's) or KeyError for what no script writes."""
    entry_id, fields = raw
    published = fields.get(b"p")
    packed = fields.get(b"ev")
    events = _decode_events(packed) if packed else []
    if len(events) % STRIDE:
        raise ValueError("the events are cut off")
    return Entry(
        version=Version.parse(entry_id),
        op=fields[b"op"].decode(),
        scope_root=fields.get(b"s", b"").decode(),
        queue=fields.get(b"q", b"").decode(),
        actor=fields.get(b"by", b"").decode(),
        at=int(float(fields.get(b"at", b"0"))),
        events=events,
        published=int(float(published)) if published is not None else None,
        detail=fields.get(b"detail", b"").decode(),
    )


def follows(last: Version, found: Version) -> bool:
    """True for the next entry of an epoch, or the first of a later one."""
    return found == (last.epoch, last.n + 1) or (found.epoch > last.epoch and found.n == 0)


def decode_any(raw: RawEntry) -> Entry:
    """An entry that no script writes still has its place: without events, so that the rest goes on."""
    try:
        return decode(raw)
    except (ValueError, KeyError) as error:
        log.error("journal_entry_unreadable", entry=raw[0].decode(), error=str(error))
        return Entry(Version.parse(raw[0]), "unreadable", "", "", "", 0, [], None, "")


def in_order(last: Version, raws: Iterable[RawEntry]) -> Iterator[Entry]:
    """Decode entries that must follow `last` without a gap; raises JournalGap at the first that does not."""
    for raw in raws:
        entry = decode_any(raw)
        if not follows(last, entry.version):
            raise JournalGap(last, entry.version)
        last = entry.version
        yield entry


def after(version: Version) -> str:
    """The stream id behind which reading goes on; n = -1 means before the first entry of the epoch."""
    if version.n >= 0:
        return str(version)
    return f"{version.epoch - 1}-{2**64 - 1}" if version.epoch > 0 else "0-0"
