"""Redis key names, in one place. `lua/README.md` is the same layout for other languages."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from zlib import crc32

SCRIPTS_KEY = "sq:scripts"
PERSISTERS_KEY = "sq:persisters"
RECOVERY_KEY = "sq:recovery"
RECOVERY_PROGRESS_KEY = "sq:recovery:progress"
SLUG_PATTERN = r"^[a-z0-9][a-z0-9_-]{0,62}$"
DEAD_LETTER = "_dead_letter"
# Made with the first rule that sends messages to another scope: there they wait to be sent on.
OUTBOUND = "_outbound"
FIRST_QUEUES = (DEAD_LETTER, "_events", "_audit", "_integrity", "_corrections")
SYSTEM_QUEUES = (*FIRST_QUEUES, OUTBOUND)

_slug = re.compile(SLUG_PATTERN)
MAX_SLUG = 63


def is_slug(text: str) -> bool:
    """True when `text` may name a tenant, scope or queue (a leading `_` belongs to the system)."""
    return _slug.fullmatch(text) is not None


def subscription_slug(queue: str, name: str) -> str:
    """The queue that holds a subscription's copies: no other queue's slug has a dot."""
    return f"{queue}.{name}"


def shard_of(scope_id: str, shards: int) -> int:
    """The shard a scope is given when it is created; stored with the scope afterwards."""
    return crc32(scope_id.encode()) % shards


def digest(*parts: str) -> str:
    """Hex SHA-256 of caller-given text, the only form in which it may enter a key."""
    return sha256("\0".join(parts).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Shard:
    """Keys and channels of one shard; its number is the cluster hash tag."""

    number: int

    @property
    def root(self) -> str:
        return f"sq:{{{self.number}}}"

    @property
    def epoch(self) -> str:
        return f"{self.root}:epoch"

    @property
    def journal(self) -> str:
        return f"{self.root}:journal"

    @property
    def due(self) -> str:
        return f"{self.root}:due"

    @property
    def limits(self) -> str:
        return f"{self.root}:limits"

    @property
    def open_streams(self) -> str:
        """Streams by when they are idle."""
        return f"{self.root}:open_streams"

    @property
    def closed_streams(self) -> str:
        """Streams whose message is to be published, by the next try."""
        return f"{self.root}:closed_streams"

    @property
    def ended_streams(self) -> str:
        """Streams that are forgotten once the rows have them, by when that is looked at."""
        return f"{self.root}:ended_streams"

    @property
    def owner(self) -> str:
        """Held by the process that persists the shard's journal."""
        return f"{self.root}:owner"

    @property
    def wake_channel(self) -> str:
        return f"{self.root}:wake"

    @property
    def committed_channel(self) -> str:
        return f"{self.root}:committed"


@dataclass(frozen=True)
class ScopeKeys:
    """Keys of one scope."""

    shard: Shard
    tenant: str
    scope_id: str

    @cached_property
    def root(self) -> str:
        return f"{self.shard.root}:{self.tenant}:{self.scope_id}"

    def key(self, name: str) -> str:
        """`name` is one of meta, state, body, shared, shares, overlay, outcome, rules, breakers."""
        return f"{self.root}:{name}"

    def queue(self, slug: str) -> QueueKeys:
        return QueueKeys(self, slug)

    def stream(self, stream_id: str) -> StreamKeys:
        return StreamKeys(self, stream_id)

    def idempotency(self, queue: str, caller_key: str) -> str:
        return f"{self.root}:idem:{queue}:{digest(caller_key)}"

    def claim(self, principal: str, claim_id: str) -> str:
        return f"{self.root}:claim:{digest(principal, claim_id)}"

    @classmethod
    def parse(cls, root: str) -> ScopeKeys:
        """The inverse of `root`, e.g. from a journal entry."""
        _, tag, tenant, scope_id = root.split(":", 3)
        return cls(Shard(int(tag[1:-1])), tenant, scope_id)


@dataclass(frozen=True)
class QueueKeys:
    """Keys of one queue."""

    scope: ScopeKeys
    slug: str

    @cached_property
    def root(self) -> str:
        return f"{self.scope.root}:q:{self.slug}"

    def key(self, name: str) -> str:
        """`name` is one of meta, subscriptions, pending, scheduled, claimed, expiry, review."""
        return f"{self.root}:{name}"

    @classmethod
    def parse(cls, root: str) -> QueueKeys:
        """The inverse of `root`, e.g. from the due index or the wake channel."""
        scope_root, _, slug = root.partition(":q:")
        return cls(ScopeKeys.parse(scope_root), slug)


@dataclass(frozen=True)
class StreamKeys:
    """Keys of one stream of chunks."""

    scope: ScopeKeys
    stream_id: str

    @cached_property
    def root(self) -> str:
        return f"{self.scope.root}:stream:{self.stream_id}"

    def key(self, name: str) -> str:
        """`name` is meta or chunks."""
        return f"{self.root}:{name}"

    @classmethod
    def parse(cls, root: str) -> StreamKeys:
        """The inverse of `root`, e.g. from the sets of a shard."""
        scope_root, _, stream_id = root.partition(":stream:")
        return cls(ScopeKeys.parse(scope_root), stream_id)
