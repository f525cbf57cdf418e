"""Every class of divergence, by name."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

import msgspec


class KindSpec(NamedTuple):
    """`repaired`: the checker puts it right by itself."""

    repaired: bool
    means: str


class Kind(Enum):
    """Names are stable: alerts branch on them. The docs' page is made from this."""

    unreadable = KindSpec(False, "A state record that can't be read.")
    unplaced = KindSpec(True, "A live message that is not in its queue's set: it would never be handed out.")
    misplaced = KindSpec(True, "A message that stands in a set or a queue where its record says it isn't.")
    lease_without_claim = KindSpec(True, "A lease on a message that is not claimed.")
    unknown_member = KindSpec(True, "A set holds an id that has no record.")
    wrong_score = KindSpec(True, "A message's place in its set is not the one that its record gives it.")
    wrong_expiry = KindSpec(True, "A message that nothing would expire in time, or too early.")
    body_missing = KindSpec(True, "A live message without its content. Repaired where the row has it.")
    part_missing = KindSpec(False, "The record tells of an overlay or outcome that isn't there.")
    part_orphan = KindSpec(True, "A body, overlay or outcome of a message that has no record.")
    queue_unknown = KindSpec(False, "A live message in a queue that the index has no settings of.")
    due_missing = KindSpec(True, "A queue in which something falls due is not in the due index, or later.")
    due_stale = KindSpec(True, "An overdue entry of the due index in whose queue nothing is due.")
    seq_behind = KindSpec(True, "The publish counter is below a number that it gave out.")
    token_behind = KindSpec(True, "The token counter is below a token that it gave out.")
    not_forgotten = KindSpec(True, "A message that has ended and is in the rows, and still in the index.")
    not_indexed = KindSpec(True, "A live row whose message the index does not have.")
    row_missing = KindSpec(True, "A message whose journal entry is committed has no row.")
    row_behind = KindSpec(True, "A row is older than a version that was committed.")
    row_differs = KindSpec(True, "Row and record of the same version differ.")
    index_behind = KindSpec(False, "A row is newer than its record: the index lost what it had acknowledged.")
    key_orphan = KindSpec(True, "An idempotency key answers for a message that nobody has.")
    epoch_differs = KindSpec(False, "Index and rows are of different epochs.")
    position_beyond = KindSpec(False, "The rows are further than the journal ever came.")
    journal_gap = KindSpec(False, "The journal does not go on where the rows are.")
    position_stuck = KindSpec(False, "The journal holds old entries that the rows lack, and they don't move.")
    audit_broken = KindSpec(
        False, "The audit's chain does not hold: `scaiqueue audit verify` names the rows. It stays noted."
    )

    @property
    def repaired(self) -> bool:
        return self.value.repaired


class Finding(msgspec.Struct, frozen=True):
    """One divergence. `subject`: the message's id, else the key or the shard. `mark`: what must not have
    changed between two looks. `queue`: where the subject stands. `scope` is "" for what is the shard's.
    `epoch`: the index's when it was looked at."""

    kind: Kind
    shard: int
    tenant: str
    scope: str
    queue: str
    subject: str
    detail: str
    mark: str
    epoch: int

    @property
    def key(self) -> tuple[str, str, str, str]:
        return (self.kind.name, self.scope, self.queue, self.subject)
