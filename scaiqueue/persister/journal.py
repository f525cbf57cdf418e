"""Journal entries as the scripts write them, decoded and checked for order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, TypeAlias

import msgspec
import structlog

from scaiqueue.persister.streams import StreamNote, read_note
from scaiqueue.records import Version

ID_LENGTH = 36
RawEntry: TypeAlias = tuple[bytes, dict[bytes, bytes]]
STREAM_SCRIPTS = ("stream", "end_stream")
log = structlog.get_logger("scaiqueue.persister")
_decode_groups = msgspec.msgpack.Decoder(list[int | str]).decode


class JournalGap(Exception):
    """The next entry is not the one after the last: some were lost, or the position is of another journal."""

    def __init__(self, after: Version, found: Version) -> None:
        super().__init__(f"after {after} the journal goes on with {found}")
        self.after = after
        self.found = found


class Group(NamedTuple):
    """Transitions of one kind; `joined` holds the ids of their messages, ID_LENGTH characters each."""

    event: str
    queue: str
    attempts: int
    actor: str
    detail: str
    joined: str

    @property
    def ids(self) -> list[str]:
        joined = self.joined
        return [joined[at : at + ID_LENGTH] for at in range(0, len(joined), ID_LENGTH)]


class Entry(msgspec.Struct, gc=False):
    """One journal entry; only what adds messages or chunks has `published`."""

    version: Version
    op: str
    scope_root: str
    at: int
    groups: list[Group]
    published: int | None
    detail: str
    stream: StreamNote | None = None

    @property
    def size(self) -> int:
        """How many transitions."""
        return sum(len(group.joined) for group in self.groups) // ID_LENGTH

    @property
    def queue(self) -> str:
        """That of the first transition, or of the stream."""
        if self.stream is not None:
            return self.stream.queue
        return self.groups[0].queue if self.groups else ""

    @property
    def actor(self) -> str:
        if self.stream is not None:
            return self.stream.actor
        return self.groups[0].actor if self.groups else ""


def decode(raw: RawEntry) -> Entry:
    """Raises ValueError (also msgspec's) or KeyError for what no script writes."""
    entry_id, fields = raw
    published = fields.get(b"p")
    packed = fields.get(b"ev")
    flat: list[Any] = _decode_groups(packed) if packed else []
    if len(flat) % len(Group._fields) or any(len(joined) % ID_LENGTH for joined in flat[5::6]):
        raise ValueError("the groups are cut off")
    values = iter(flat)
    groups = [Group(*parts) for parts in zip(*[values] * len(Group._fields), strict=True)]
    op, detail = fields[b"op"].decode(), fields.get(b"detail", b"")
    note = read_note(detail) if op in STREAM_SCRIPTS else None
    count = note.published if note is not None else None
    return Entry(
        version=Version.parse(entry_id),
        op=op,
        scope_root=fields.get(b"s", b"").decode(),
        at=int(float(fields.get(b"at", b"0"))),
        groups=groups,
        published=int(float(published)) if published is not None else count,
        detail=detail.decode(),
        stream=note,
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
        return Entry(Version.parse(raw[0]), "unreadable", "", 0, [], None, "")


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
