"""Who calls: a key's tenant, permissions and limits."""

from __future__ import annotations

from dataclasses import dataclass

from scaiqueue.errors import Code, QueueError


@dataclass(frozen=True, slots=True)
class Principal:
    """`scopes` and `queues` hold ids; None is no limit."""

    key_id: str
    tenant: str
    permissions: frozenset[str]
    scopes: frozenset[str] | None = None
    queues: frozenset[str] | None = None

    def require_scope(self, scope_id: str) -> None:
        if self.scopes is not None and scope_id not in self.scopes:
            raise QueueError(Code.AUTHZ_PERMISSION_DENIED, "The key is limited to other scopes.")

    def require_queue(self, queue_id: str) -> None:
        if self.queues is not None and queue_id not in self.queues:
            raise QueueError(Code.AUTHZ_PERMISSION_DENIED, "The key is limited to other queues.")

    def require_no_queue_limit(self) -> None:
        if self.queues is not None:
            raise QueueError(Code.AUTHZ_PERMISSION_DENIED, "The key is limited to some queues.")

    def require_no_limit(self) -> None:
        if self.scopes is not None or self.queues is not None:
            raise QueueError(Code.AUTHZ_PERMISSION_DENIED, "The key is limited to some scopes or queues.")

    def holder(self, consumer_id: str | None) -> str:
        """As the scripts keep it: `<key id>` or `<key id>/<consumer id>`."""
        return f"{self.key_id}/{consumer_id}" if consumer_id else self.key_id

    def require(self, permission: str) -> None:
        if permission not in self.permissions:
            raise QueueError(Code.AUTHZ_PERMISSION_DENIED, f"The key lacks the permission {permission}.")
