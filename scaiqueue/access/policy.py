"""What a scope's grants and ACLs say, and the one decision that is made from them.

A key or a grant gives permissions; limits of the key and ACLs of queues only take away.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum

import msgspec

from scaiqueue.queueing.principals import Principal
from scaiqueue.rows.access import PolicyRows

EVERYONE = "*"
MANAGE = "scaiqueue:manage"


class Reason(Enum):
    """Why a call is refused; the text is for the caller."""

    permission = "The key lacks the permission {permission}."
    scope_limit = "The key is limited to other scopes."
    queue_limit = "The key is limited to some queues."
    acl_deny = "The queue's ACL denies {permission} to the key."
    acl_allow = "The queue's ACL allows {permission} to other keys only."


class Entry(msgspec.Struct, frozen=True):
    """`principal` is a key's id, or EVERYONE. No permissions stand for all."""

    principal: str
    permissions: frozenset[str] = frozenset()

    def concerns(self, key_id: str, permission: str) -> bool:
        return self.principal in (EVERYONE, key_id) and self.covers(permission)

    def covers(self, permission: str) -> bool:
        return not self.permissions or permission in self.permissions


class Acl(msgspec.Struct, frozen=True):
    """A permission that an `allow` names is for those alone whom such an entry names; `deny` goes first."""

    allow: tuple[Entry, ...] = ()
    deny: tuple[Entry, ...] = ()

    def refuses(self, key_id: str, permission: str) -> Reason | None:
        if any(entry.concerns(key_id, permission) for entry in self.deny):
            return Reason.acl_deny
        named = [entry for entry in self.allow if entry.covers(permission)]
        if named and not any(entry.concerns(key_id, permission) for entry in named):
            return Reason.acl_allow
        return None


class Grant(msgspec.Struct, frozen=True):
    """Until `expires_at`, ms; 0: for good."""

    permissions: frozenset[str]
    expires_at: int = 0

    def holds(self, permission: str, now: int) -> bool:
        return permission in self.permissions and not 0 < self.expires_at <= now


class ScopePolicy(msgspec.Struct, frozen=True):
    """Grants by key, ACLs by queue id, as the rows had them at a version or later."""

    version: int
    grants: Mapping[str, tuple[Grant, ...]]
    acls: Mapping[str, Acl]

    def granted(self, key_id: str, permission: str, now: int) -> bool:
        return any(grant.holds(permission, now) for grant in self.grants.get(key_id, ()))

    def granted_to(self, key_id: str, now: int) -> frozenset[str]:
        """All that the key's grants give."""
        live = [g.permissions for g in self.grants.get(key_id, ()) if not 0 < g.expires_at <= now]
        return frozenset().union(*live)

    def ends(self, key_id: str) -> Iterable[int]:
        """When grants of the key end."""
        return [grant.expires_at for grant in self.grants.get(key_id, ()) if grant.expires_at]


_permissions = msgspec.json.Decoder(frozenset[str])
_acl = msgspec.json.Decoder(Acl)
encode_acl = msgspec.json.Encoder(order="deterministic").encode
decode_acl = _acl.decode


def policy_of(rows: PolicyRows) -> ScopePolicy:
    grants: dict[str, tuple[Grant, ...]] = {}
    for row in rows.grants:
        grant = Grant(_permissions.decode(row.permissions), row.expires_at)
        grants[row.key_id] = (*grants.get(row.key_id, ()), grant)
    return ScopePolicy(rows.version, grants, {row.queue_id: _acl.decode(row.entries) for row in rows.acls})


def refusal_outside(principal: Principal, permission: str) -> Reason | None:
    """Of a call that concerns no scope. What a limited key manages is within its scopes."""
    if permission not in principal.permissions:
        return Reason.permission
    if permission == MANAGE and principal.limited:
        return Reason.scope_limit
    return None


def refusal_in_scope(
    principal: Principal, permission: str, scope_id: str, policy: ScopePolicy, now: int
) -> Reason | None:
    if principal.scopes is not None and scope_id not in principal.scopes:
        return Reason.scope_limit
    if permission in principal.permissions or policy.granted(principal.key_id, permission, now):
        return None
    return Reason.permission


def refusal_in_queue(
    principal: Principal, permission: str, queue_id: str, policy: ScopePolicy
) -> Reason | None:
    """Beyond `refusal_in_scope`."""
    if principal.queues is not None and queue_id not in principal.queues:
        return Reason.queue_limit
    acl = policy.acls.get(queue_id)
    if acl is None or is_administrator(principal, permission):
        return None
    return acl.refuses(principal.key_id, permission)


def is_administrator(principal: Principal, permission: str) -> bool:
    """Such a key could make itself another one: no ACL keeps it from managing, and nobody is locked out."""
    return permission == MANAGE and MANAGE in principal.permissions and not principal.limited


def closed_queues(principal: Principal, permission: str, policy: ScopePolicy) -> frozenset[str]:
    """Ids of the queues whose ACL refuses the key a permission."""
    if is_administrator(principal, permission):
        return frozenset()
    return frozenset(
        queue_id for queue_id, acl in policy.acls.items() if acl.refuses(principal.key_id, permission)
    )
