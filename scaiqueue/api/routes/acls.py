"""The ACL of a queue: whom it is closed to."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from scaiqueue import moments
from scaiqueue.access.policy import Acl, Entry, decode_acl, encode_acl
from scaiqueue.api.answers import Rendered
from scaiqueue.api.endpoint import Call, Registry
from scaiqueue.api.principals import AnyPrincipal, PermissionName, named, shown
from scaiqueue.api.routes.removing import Deleted
from scaiqueue.api.validation import invalid
from scaiqueue.errors import Detail
from scaiqueue.queueing.administration import refuse_subscription_queue
from scaiqueue.rows import access as rows
from scaiqueue.rows.access import AclRow

acls = Registry("Access")


class AclEntry(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """No `permissions`: all of them."""

    principal: AnyPrincipal
    permissions: Annotated[list[PermissionName], Meta(max_length=4)] = msgspec.field(default_factory=list)


AclEntries = Annotated[list[AclEntry], Meta(max_length=100)]


class PutAcl(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """`deny` goes first. A permission that an entry of `allow` names is for those alone whom such entries
    name."""

    allow: AclEntries = msgspec.field(default_factory=list)
    deny: AclEntries = msgspec.field(default_factory=list)


class QueueAcl(msgspec.Struct, kw_only=True):
    queue_id: str
    allow: list[AclEntry]
    deny: list[AclEntry]
    updated_by: str | None
    updated_at: str | None


_put = msgspec.json.Decoder(PutAcl)


def _entries(entries: tuple[Entry, ...]) -> list[AclEntry]:
    return [
        AclEntry(principal=shown(entry.principal), permissions=sorted(entry.permissions)) for entry in entries
    ]


def _view(queue_id: str, row: AclRow | None) -> QueueAcl:
    acl = Acl() if row is None else decode_acl(row.entries)
    return QueueAcl(
        queue_id=queue_id,
        allow=_entries(acl.allow),
        deny=_entries(acl.deny),
        updated_by=None if row is None else row.updated_by,
        updated_at=None if row is None else moments.text(row.updated_at),
    )


async def _read(call: Call, name: str, asked: list[AclEntry], wrong: list[Detail]) -> tuple[Entry, ...]:
    found = []
    for place, entry in enumerate(asked):
        principal = await named(call, entry.principal, f"{name}[{place}].principal", wrong)
        found.append(Entry(principal, frozenset(entry.permissions)))
    return tuple(found)


@acls("GET /scopes/{scope}/queues/{queue}/acl", "Get a queue's ACL", answer=QueueAcl)
async def get_acl(call: Call) -> Rendered:
    """Of a subscription's queue that of its broadcast queue. Without one both lists are empty: the queue is
    open to all who may use the scope."""
    queue = await call.queue()
    return call.one(_view(queue.owner_id, await rows.find_acl(call.services.engine, queue.owner_id)))


@acls("PUT /scopes/{scope}/queues/{queue}/acl", "Replace a queue's ACL", body=PutAcl, answer=QueueAcl)
async def put_acl(call: Call) -> Rendered:
    """In force when it answers, in every process within a second. Holds for the queue's subscriptions too."""
    queue = await call.queue()
    refuse_subscription_queue(queue.row)
    asked = await call.body(_put)
    wrong: list[Detail] = []
    acl = Acl(await _read(call, "allow", asked.allow, wrong), await _read(call, "deny", asked.deny, wrong))
    if wrong:
        raise invalid(*wrong)
    row = AclRow(
        queue_id=queue.id,
        tenant_id=queue.row.tenant_id,
        scope_id=queue.scope.id,
        entries=encode_acl(acl).decode(),
        updated_by=call.principal.key_id,
        updated_at=moments.now_ms(),
    )
    version = await rows.replace_acl(call.services.engine, queue.id, row)
    await call.services.changed("access", str(version))
    return call.one(_view(queue.id, row))


@acls("DELETE /scopes/{scope}/queues/{queue}/acl", "Remove a queue's ACL", answer=Deleted)
async def delete_acl(call: Call) -> Rendered:
    queue = await call.queue()
    refuse_subscription_queue(queue.row)
    version = await rows.replace_acl(call.services.engine, queue.id, None)
    await call.services.changed("access", str(version))
    return call.one(Deleted(queue.id))
