"""Who calls: a key's tenant, permissions and limits. What they allow is decided in `scaiqueue.access`."""

from __future__ import annotations

from dataclasses import dataclass

from scaiqueue.errors import Code, QueueError


@dataclass(frozen=True, slots=True)
class Rate:
    """So many calls a minute, `burst` of them at once."""

    per_minute: int
    burst: int


@dataclass(frozen=True, slots=True)
class Principal:
    """`scopes` and `queues` hold ids; None is no limit. `expires_at`, ms; 0: never."""

    key_id: str
    tenant: str
    permissions: frozenset[str]
    scopes: frozenset[str] | None = None
    queues: frozenset[str] | None = None
    expires_at: int = 0
    rate: Rate | None = None

    @property
    def limited(self) -> bool:
        return self.scopes is not None or self.queues is not None

    def sees(self, queue_id: str) -> bool:
        """It is not limited to other queues."""
        return self.queues is None or queue_id in self.queues

    def require_no_limit(self) -> None:
        if self.limited:
            raise QueueError(Code.AUTHZ_PERMISSION_DENIED, "The key is limited to some scopes or queues.")

    def holder(self, consumer_id: str | None) -> str:
        """As the scripts keep it: `<key id>` or `<key id>/<consumer id>`."""
        return f"{self.key_id}/{consumer_id}" if consumer_id else self.key_id
