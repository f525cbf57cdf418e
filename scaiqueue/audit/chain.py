"""The chain: every row holds the hash of the one before it, and its own over that and its content."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

import msgspec

from scaiqueue.audit.entry import OK, Entry, decode_entries, encode_entries

PRUNED = "prune_audit"
NOTHING = "0" * 64
"""What the very first row follows."""


class Link(msgspec.Struct, frozen=True):
    """A place in the chain: the number of a row and its hash. Number 0 is before the first."""

    seq: int = 0
    hash: str = NOTHING

    def __str__(self) -> str:
        return f"{self.seq}:{self.hash}"

    @classmethod
    def parse(cls, text: str) -> Link:
        """Raises ValueError."""
        seq, _, digest = text.partition(":")
        if len(digest) != len(NOTHING):
            raise ValueError(f"{text!r} is no place in the chain")
        return cls(int(seq), digest)


class Page(msgspec.Struct, frozen=True):
    """Entries of one scope, or of none, that are written together. Times in ms."""

    tenant_id: str
    scope_id: str
    first_at: int
    last_at: int
    calls: int
    entries: str


class AuditRow(msgspec.Struct, frozen=True):
    """A page in its place."""

    seq: int
    tenant_id: str
    scope_id: str
    first_at: int
    last_at: int
    calls: int
    entries: str
    prev_hash: str
    hash: str

    @property
    def link(self) -> Link:
        return Link(self.seq, self.hash)

    @property
    def holds(self) -> bool:
        """Its content is what its hash was made of."""
        return self.hash == _hash(self.prev_hash, self)


def _hash(prev: str, page: Page | AuditRow) -> str:
    """The number is left out: a row's place follows from `prev`, so one that stands elsewhere still holds
    and is known to be out of place, not changed."""
    fields = (
        prev,
        page.tenant_id,
        page.scope_id,
        str(page.first_at),
        str(page.last_at),
        str(page.calls),
        page.entries,
    )
    return sha256("\n".join(fields).encode()).hexdigest()


def chained(last: Link, pages: Sequence[Page]) -> list[AuditRow]:
    """The rows that append `pages` after `last`."""
    rows: list[AuditRow] = []
    for page in pages:
        row = AuditRow(
            last.seq + 1,
            page.tenant_id,
            page.scope_id,
            page.first_at,
            page.last_at,
            page.calls,
            page.entries,
            last.hash,
            _hash(last.hash, page),
        )
        rows.append(row)
        last = row.link
    return rows


def pruned_page(last: Link, now: int) -> Page:
    """The page that says that retention deleted everything up to `last`."""
    entry = Entry(PRUNED, now, "", "", str(last), "", 0, OK)
    return Page("", "", now, now, 1, encode_entries([entry]))


def pruned_by(row: AuditRow) -> set[str]:
    """Up to where retention deleted, if the row says that it did."""
    if row.tenant_id or row.scope_id or PRUNED not in row.entries:
        return set()
    return {entry.request_id for entry in decode_entries(row.entries) if entry.event == PRUNED}
