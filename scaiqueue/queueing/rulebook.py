"""Routing rules: rows first, then, with the scope's version, what the scripts obey."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, cast

import msgspec
from msgspec.structs import replace
from sqlalchemy.ext.asyncio import AsyncEngine
from uuid_utils import uuid7

from scaiqueue.errors import Code, Detail, QueueError
from scaiqueue.keys import SYSTEM_QUEUES, ScopeKeys
from scaiqueue.moments import now_ms
from scaiqueue.routing.actions import Route, Then
from scaiqueue.routing.checks import NO_TRUST, Abroad, checked, invalid_rule
from scaiqueue.routing.escalation import PLACE, ruled_spec
from scaiqueue.routing.program import compile_rules
from scaiqueue.routing.stored import Definition, compiled, decode_definition, encode_definition
from scaiqueue.rows import documents, queues, routing_rules, scopes
from scaiqueue.rows.routing_rules import Rulebook, RuleNameTaken, RuleRow
from scaiqueue.rows.scopes import ScopeRow
from scaiqueue.scripts import binding
from scaiqueue.scripts.binding import InstructItem
from scaiqueue.scripts.replies import parse_reply
from scaiqueue.scripts.runner import Call, ScriptRunner
from scaiqueue.transfers.terms import terms_between

MAX_RULES = 200
POSITION_STEP = 10


class Asked(msgspec.Struct, kw_only=True):
    """A rule as a caller wants it; `queue` "" is any, `position` None the last."""

    name: str
    queue: str
    trigger: str
    position: int | None
    when: Any
    then: Then
    enabled: bool


class Breaker(msgspec.Struct):
    """`state` is closed, open or half-open, since a moment, with so many matches since then."""

    state: str = "closed"
    since: int = 0
    matches: int = 0


class Rulebooks:
    """Brings the rules of scopes into force."""

    def __init__(self, engine: AsyncEngine, runner: ScriptRunner, max_hops: int, max_matches: int) -> None:
        self._engine = engine
        self._runner = runner
        self._limits = max_hops, max_matches

    def call(self, keys: ScopeKeys, book: Rulebook, closing: Sequence[str] = ()) -> Call:
        """The call that makes the index obey the rules; the breakers of rules `closing` are closed."""
        program = compile_rules(compiled(book), *self._limits)
        items = [InstructItem(rule) for rule in closing]
        return binding.instruct_call(keys, book.version, program.contents, program.content, items)

    async def stored_call(self, keys: ScopeKeys) -> Call:
        """The same, of the rules as the rows hold them now."""
        return self.call(keys, await routing_rules.book(self._engine, keys.scope_id))

    async def apply(self, keys: ScopeKeys, book: Rulebook, closing: Sequence[str] = ()) -> None:
        parse_reply(await self._runner.run(*self.call(keys, book, closing)))

    async def repair(self, keys: ScopeKeys) -> None:
        parse_reply(await self._runner.run(*await self.stored_call(keys)))


class RuleKeeper:
    """Creates, changes and removes rules. Each change is in the rows and in force when it returns."""

    def __init__(
        self,
        engine: AsyncEngine,
        books: Rulebooks,
        announce: Callable[[str], Awaitable[None]],
        open_outbound: Callable[[ScopeRow], Awaitable[None]],
    ) -> None:
        """`open_outbound` makes the queue where messages for other scopes wait."""
        self._engine = engine
        self._open_outbound = open_outbound
        self._books = books
        self._announce = announce

    async def create(self, scope: ScopeRow, keys: ScopeKeys, asked: Asked) -> RuleRow:
        """Raises SCAIQUEUE_INVALID_RULE and SLUG_CONFLICT."""
        columns = await self._columns(scope, asked)
        now, rule_id = now_ms(), str(uuid7())
        if columns["position"] is None:
            columns["position"] = await routing_rules.last_position(self._engine, scope.id) + POSITION_STEP
        row = RuleRow(
            id=rule_id, tenant_id=scope.tenant_id, scope_id=scope.id, version=1, created_at=now,
            updated_at=now, **columns,
        )  # fmt: skip
        try:
            book = await routing_rules.create(self._engine, row, MAX_RULES)
        except RuleNameTaken:
            raise _taken(asked.name) from None
        if book is None:
            raise invalid_rule(Detail("rules", f"A scope has at most {MAX_RULES} rules"))
        await self._in_force(keys, book)
        return row

    async def change(self, scope: ScopeRow, keys: ScopeKeys, rule: RuleRow, asked: Asked) -> RuleRow:
        """Raises as `create`."""
        columns = await self._columns(scope, asked, decode_definition(rule.definition))
        if columns["position"] is None:
            del columns["position"]
        try:
            book = await routing_rules.change(self._engine, rule, **columns)
        except RuleNameTaken:
            raise _taken(asked.name) from None
        await self._in_force(keys, book)
        found = next((row for row in book.rules if row.id == rule.id), None)
        if found is None:
            raise QueueError(Code.SCAIQUEUE_RULE_NOT_FOUND)
        return found

    async def turn(self, scope: ScopeRow, keys: ScopeKeys, rule: RuleRow, enabled: bool) -> RuleRow:
        """Raises SCAIQUEUE_INVALID_RULE where a trust that it needs is gone."""
        route = decode_definition(rule.definition).then.route
        if enabled and route is not None and not await self._trusted(scope, route):
            raise invalid_rule(Detail("then.route.scope", NO_TRUST))
        book = await routing_rules.change(self._engine, rule, enabled=enabled)
        await self._in_force(keys, book)
        return next((row for row in book.rules if row.id == rule.id), rule)

    async def distrusted(self, scope: ScopeRow, keys: ScopeKeys, by: str) -> list[str]:
        """Disables the rules that no trust of the scope `by` covers any more, and returns their names."""
        names = []
        for rule in (await routing_rules.book(self._engine, scope.id)).rules:
            route = decode_definition(rule.definition).then.route
            if not rule.enabled or route is None or route.scope != by:
                continue
            if not await self._trusted(scope, route):
                await self.turn(scope, keys, rule, False)
                names.append(rule.name)
        return names

    async def remove(self, keys: ScopeKeys, rule: RuleRow) -> None:
        book = await routing_rules.remove(self._engine, rule)
        await self._in_force(keys, book, [rule.id])

    async def close_breaker(self, keys: ScopeKeys, rule: RuleRow) -> None:
        book = await routing_rules.book(self._engine, keys.scope_id)
        await self._books.apply(keys, book, [rule.id])

    async def breakers(self, redis: Any, keys: ScopeKeys, rules: Sequence[RuleRow]) -> list[Breaker]:
        """Of each rule, in order."""
        if not rules:
            return []
        found = await redis.hmget(keys.key("breakers"), [rule.id for rule in rules])
        return [_breaker(text) for text in cast(list[bytes | None], found)]

    async def _in_force(self, keys: ScopeKeys, book: Rulebook, closing: Sequence[str] = ()) -> None:
        await self._books.apply(keys, book, closing)
        await self._announce(keys.scope_id)

    async def _refuse_broadcast(self, scope: ScopeRow, then: Then) -> None:
        """Rules send messages to queues, here or in another scope, not to subscriptions."""
        abroad = then.route.scope if then.route is not None else None
        for name, action in (("route", then.route), ("escalate", then.escalate)):
            if action is None or not action.queue:
                continue
            place = (abroad if name == "route" else None) or scope.id
            row = await queues.find(self._engine, place, action.queue)
            settings = None if row is None else row.parsed
            if settings and (settings.consumer_mode == "broadcast" or settings.access == "copies"):
                why = "A broadcast queue and its subscriptions can't be targets"
                raise invalid_rule(Detail(f"then.{name}.queue", why))

    async def _columns(
        self, scope: ScopeRow, asked: Asked, before: Definition | None = None
    ) -> dict[str, Any]:
        async def find_queue(reference: str) -> str | None:
            row = await queues.find(self._engine, scope.id, reference)
            return None if row is None else row.slug

        async def find_abroad(reference: str, queue: str) -> Abroad | None:
            return await self._abroad(scope, reference, queue)

        queue, definition = await checked(
            asked.trigger, asked.queue, asked.when, asked.then, find_queue, find_abroad
        )
        await self._refuse_broadcast(scope, definition.then)
        definition = await self._with_review(scope, definition, before)
        if definition.then.route is not None and definition.then.route.scope is not None:
            await self._open_outbound(scope)
        return {
            "name": asked.name,
            "queue": queue,
            "trigger": asked.trigger,
            "position": asked.position,
            "definition": encode_definition(definition).decode(),
            "enabled": asked.enabled,
        }

    async def _trusted(self, scope: ScopeRow, route: Route) -> bool:
        return route.scope is None or await self._abroad(scope, route.scope, route.queue) is not None

    async def _abroad(self, scope: ScopeRow, reference: str, queue: str) -> Abroad | None:
        """A queue of a scope that trusts this one; of this one itself, whatever it is."""
        other = await scopes.find(self._engine, scope.tenant_id, reference)
        if other is None:
            return None
        if other.id == scope.id:
            return Abroad(None, queue)
        target = await queues.find(self._engine, other.id, queue)
        if target is None or target.slug in SYSTEM_QUEUES:
            return None
        terms = await terms_between(self._engine, scope.id, other.id)
        return Abroad(other.id, target.slug) if any(each.lets_into(target.id) for each in terms) else None

    async def _with_review(
        self, scope: ScopeRow, definition: Definition, before: Definition | None
    ) -> Definition:
        """With what the pattern that it names makes; `before` is kept where that is the same, though the
        pattern may be gone. Raises SCAIQUEUE_INVALID_RULE."""
        escalate = definition.then.escalate
        use = escalate.hitl_pattern if escalate is not None else None
        if escalate is None or use is None:
            return definition
        known = before.then.escalate if before is not None else None
        if before is not None and known is not None and known.hitl_pattern == use:
            return replace(definition, review=before.review)
        pattern = await documents.patterns.find(self._engine, scope.id, use.reference)
        if pattern is None:
            raise invalid_rule(Detail(PLACE, f"The scope has no pattern {use.reference}"))
        try:
            review = ruled_spec(pattern, use)
        except QueueError as error:
            raise invalid_rule(*error.details) from None
        escalate = replace(escalate, hitl_pattern=replace(use, version=pattern.version))
        return replace(definition, then=replace(definition.then, escalate=escalate), review=review)


def _taken(name: str) -> QueueError:
    return QueueError(
        Code.SLUG_CONFLICT,
        f"The name {name} is taken.",
        details=(Detail("name", "Taken by another rule of the scope"),),
    )


def _breaker(text: bytes | None) -> Breaker:
    if text is None:
        return Breaker()
    state, since, matches = text.decode().split(" ")
    return Breaker(state, int(since), int(matches))
