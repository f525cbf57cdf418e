"""Routing rules: what happens with messages of a scope by itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Raw, UnsetType

from scaiqueue import moments
from scaiqueue.api.answers import Rendered
from scaiqueue.api.endpoint import Call, Registry
from scaiqueue.api.routes.removing import Deleted
from scaiqueue.api.validation import decode
from scaiqueue.api.words import Slug
from scaiqueue.errors import Code, QueueError
from scaiqueue.queueing.configure import keys_of
from scaiqueue.queueing.rulebook import MAX_RULES, Asked, Breaker
from scaiqueue.routing.actions import Then
from scaiqueue.routing.checks import invalid_rule
from scaiqueue.routing.stored import decode_definition
from scaiqueue.rows import routing_rules as rows
from scaiqueue.rows.routing_rules import RuleRow
from scaiqueue.rows.scopes import ScopeRow

routing = Registry("Routing rules")

Trigger = Literal[
    "message_published", "message_failed", "message_dead_lettered", "message_completed", "message_expired"
]
QueueName = Annotated[str, Meta(max_length=128, description="Id or slug; absent: every queue.")]
Position = Annotated[int, Meta(ge=0, le=1_000_000, description="Lowest first; absent: after all others.")]
Tree = Annotated[
    Any,
    Meta(
        description="A tree of `all`, `any` and `not` over `{field, op, value}`; absent: always.",
        examples=[{"field": "labels.customer_tier", "op": "eq", "value": "premium"}],
    ),
]


class CreateRule(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A message that meets `trigger` and `when` is dealt with as `then` says. The first rule that matches
    wins."""

    name: Slug
    trigger: Trigger
    then: Then
    queue: QueueName | None = None
    position: Position | None = None
    when: Tree = None
    enabled: bool = True


class ChangeRule(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    name: Slug | UnsetType = UNSET
    trigger: Trigger | UnsetType = UNSET
    then: Then | UnsetType = UNSET
    queue: QueueName | UnsetType | None = UNSET
    position: Position | UnsetType = UNSET
    when: Tree | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET


class BreakerView(msgspec.Struct):
    """`open`: the rule matched too often and is passed over for a while; `half-open`: it is being tried."""

    state: str
    since: str | None
    matches: int


class Rule(msgspec.Struct, kw_only=True):
    id: str
    scope_id: str
    name: str
    queue: str | None
    trigger: str
    position: int
    when: Any
    then: Then
    enabled: bool
    breaker: BreakerView
    version: int
    created_at: str
    updated_at: str


class _RawCreate(CreateRule, forbid_unknown_fields=True, kw_only=True):
    """`when` and `then` are checked by themselves: what is wrong with them is an invalid rule."""

    then: Raw  # type: ignore[assignment]


class _RawChange(ChangeRule, forbid_unknown_fields=True, kw_only=True):
    then: Raw | UnsetType = UNSET  # type: ignore[assignment]


_create, _change = msgspec.json.Decoder(_RawCreate), msgspec.json.Decoder(_RawChange)
_then = msgspec.json.Decoder(Then)
_ERRORS = (Code.SCAIQUEUE_INVALID_RULE, Code.SLUG_CONFLICT)


def _read_then(raw: Raw) -> Then:
    try:
        return decode(_then, bytes(raw), "then")
    except QueueError as error:
        if error.code is not Code.VALIDATION_ERROR:
            raise
        raise invalid_rule(*error.details) from None


async def _scope(call: Call) -> ScopeRow:
    """The scope, for who may see all of its queues."""
    scope = await call.fresh_scope()
    await call.every_queue(scope.id)
    return scope


async def _rule(call: Call) -> tuple[ScopeRow, RuleRow]:
    scope = await _scope(call)
    row = await rows.find(call.services.engine, scope.id, call.path("rule"))
    if row is None:
        raise QueueError(Code.SCAIQUEUE_RULE_NOT_FOUND)
    return scope, row


def _view(row: RuleRow, breaker: Breaker) -> Rule:
    definition = decode_definition(row.definition)
    return Rule(
        id=row.id,
        scope_id=row.scope_id,
        name=row.name,
        queue=row.queue or None,
        trigger=row.trigger,
        position=row.position,
        when=definition.when,
        then=definition.then,
        enabled=row.enabled,
        breaker=BreakerView(breaker.state, moments.optional_text(breaker.since), breaker.matches),
        version=row.version,
        created_at=moments.text(row.created_at),
        updated_at=moments.text(row.updated_at),
    )


async def _views(call: Call, scope: ScopeRow, found: Sequence[RuleRow]) -> list[Rule]:
    breakers = await call.services.rules.breakers(call.services.redis, keys_of(scope), found)
    return [_view(row, breaker) for row, breaker in zip(found, breakers, strict=True)]


async def _show(call: Call, scope: ScopeRow, row: RuleRow, status: int = 200) -> Rendered:
    (shown,) = await _views(call, scope, [row])
    return call.one(shown, status)


@routing(
    "POST /scopes/{scope}/routing-rules",
    "Create a routing rule",
    body=CreateRule,
    answer=Rule,
    status=201,
    errors=_ERRORS,
)
async def create_rule(call: Call) -> Rendered:
    """In force when it answers, for every message from then on. A scope has at most 200 rules."""
    scope = await _scope(call)
    body = await call.body(_create)
    asked = Asked(
        name=body.name,
        queue=body.queue or "",
        trigger=body.trigger,
        position=body.position,
        when=body.when,
        then=_read_then(body.then),
        enabled=body.enabled,
    )
    return await _show(call, scope, await call.services.rules.create(scope, keys_of(scope), asked), 201)


@routing("GET /scopes/{scope}/routing-rules", "List a scope's rules in their order", answer=Rule, many=True)
async def list_rules(call: Call) -> Rendered:
    """All of them: there are at most 200."""
    scope = await _scope(call)
    found = await rows.book(call.services.engine, scope.id)
    return call.many(await _views(call, scope, found.rules[:MAX_RULES]))


@routing("GET /scopes/{scope}/routing-rules/{rule}", "Get a rule", answer=Rule)
async def get_rule(call: Call) -> Rendered:
    return await _show(call, *await _rule(call))


@routing(
    "PATCH /scopes/{scope}/routing-rules/{rule}",
    "Change a rule",
    body=ChangeRule,
    answer=Rule,
    errors=_ERRORS,
)
async def change_rule(call: Call) -> Rendered:
    scope, row = await _rule(call)
    body = await call.body(_change)
    before = decode_definition(row.definition)
    asked = Asked(
        name=row.name if body.name is UNSET else body.name,
        queue=row.queue if body.queue is UNSET else body.queue or "",
        trigger=row.trigger if body.trigger is UNSET else body.trigger,
        position=None if body.position is UNSET else body.position,
        when=before.when if body.when is UNSET else body.when,
        then=before.then if body.then is UNSET else _read_then(body.then),
        enabled=row.enabled if body.enabled is UNSET else body.enabled,
    )
    changed = await call.services.rules.change(scope, keys_of(scope), row, asked)
    return await _show(call, scope, changed)


@routing("DELETE /scopes/{scope}/routing-rules/{rule}", "Delete a rule", answer=Deleted)
async def delete_rule(call: Call) -> Rendered:
    scope, row = await _rule(call)
    await call.services.rules.remove(keys_of(scope), row)
    return call.one(Deleted(row.id))


@routing(
    "POST /scopes/{scope}/routing-rules/{rule}/enable",
    "Put a rule in force",
    answer=Rule,
    errors=(Code.SCAIQUEUE_INVALID_RULE,),
)
async def enable_rule(call: Call) -> Rendered:
    scope, row = await _rule(call)
    return await _show(call, scope, await call.services.rules.turn(scope, keys_of(scope), row, True))


@routing("POST /scopes/{scope}/routing-rules/{rule}/disable", "Take a rule out of force", answer=Rule)
async def disable_rule(call: Call) -> Rendered:
    scope, row = await _rule(call)
    return await _show(call, scope, await call.services.rules.turn(scope, keys_of(scope), row, False))


@routing("POST /scopes/{scope}/routing-rules/{rule}/reset-breaker", "Close a rule's breaker", answer=Rule)
async def reset_breaker(call: Call) -> Rendered:
    """A rule that matched too often is passed over for half a minute; this ends it at once."""
    scope, row = await _rule(call)
    await call.services.rules.close_breaker(keys_of(scope), row)
    return await _show(call, scope, row)
