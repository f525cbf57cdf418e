"""Brings scopes and queues from their rows into the index, by the `configure` script."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from sqlalchemy.ext.asyncio import AsyncEngine

from scaiqueue.broadcast.program import compile_roster
from scaiqueue.errors import Code, Detail, QueueError
from scaiqueue.keys import QueueKeys, ScopeKeys, Shard
from scaiqueue.queueing.configuration import queue_fields, scope_fields
from scaiqueue.queueing.directory import ScopeEntry
from scaiqueue.queueing.rulebook import Rulebooks
from scaiqueue.rows import queues, scopes, subscriptions
from scaiqueue.rows.queues import QueueRow
from scaiqueue.rows.scopes import ScopeRow
from scaiqueue.rows.subscriptions import Roster
from scaiqueue.scripts import binding
from scaiqueue.scripts.binding import ConfigureItem
from scaiqueue.scripts.replies import parse_reply
from scaiqueue.scripts.runner import Call, ScriptRunner


def keys_of(scope: ScopeRow) -> ScopeKeys:
    return ScopeKeys(Shard(scope.shard), scope.tenant_id, scope.id)


def _call(scope: ScopeKeys, queues: Sequence[QueueKeys], version: int, fields: Mapping[str, str]) -> Call:
    items = [ConfigureItem(name, value) for name, value in fields.items()]
    return binding.configure_call(scope, queues, version, items)


def scope_call(scope: ScopeRow) -> Call:
    """The call that makes the index obey the scope's row."""
    return _call(keys_of(scope), [], scope.version, scope_fields(scope))


def queue_call(scope: ScopeRow, queue: QueueRow) -> Call:
    """The call that makes the index obey the queue's row."""
    return _call(keys_of(scope), [keys_of(scope).queue(queue.slug)], queue.version, queue_fields(queue))


def roster_call(queue: QueueKeys, roster: Roster) -> Call:
    """The call that makes the index obey the queue's subscriptions."""
    return binding.subscribe_call(queue.scope, queue, roster.version, compile_roster(roster))


async def stored_roster_calls(
    engine: AsyncEngine, scope: ScopeKeys, queues: Sequence[QueueRow]
) -> list[Call]:
    """The same for each broadcast queue among these, of its subscriptions as the rows hold them now."""
    return [
        roster_call(scope.queue(queue.slug), await subscriptions.roster(engine, scope.scope_id, queue.slug))
        for queue in queues
        if queue.parsed.consumer_mode == "broadcast"
    ]


class Configurator:
    """An older version than the index has changes nothing: a later change is already there."""

    def __init__(self, runner: ScriptRunner) -> None:
        self._runner = runner

    async def apply(self, scope: ScopeRow, queues: Sequence[QueueRow] = (), *, itself: bool = True) -> None:
        """The scope (`itself`) and queues of it, in one round trip."""
        calls = [scope_call(scope)] if itself else []
        calls += [queue_call(scope, queue) for queue in queues]
        for answer in await self._runner.run_many(calls):
            if isinstance(answer, Exception):
                raise answer
            parse_reply(answer)

    async def subscribe(self, queue: QueueKeys, roster: Roster) -> int:
        """The number of the newest message that was published without regard to these subscriptions."""
        reply = parse_reply(await self._runner.run(*roster_call(queue, roster)))
        word, number = reply.items[0]
        if word == "CONFLICT":
            # A later change is in force, and knows of this one.
            return 2**53 - 2
        return int(number)

    async def repair(self, scope: ScopeKeys, engine: AsyncEngine, queues: Sequence[QueueRow]) -> None:
        """Brings the subscriptions of these queues into force again."""
        for call in await stored_roster_calls(engine, scope, queues):
            parse_reply(await self._runner.run(*call))

    async def remove_queue(self, scope: ScopeRow, queue: QueueRow) -> None:
        """Take an empty queue out of the index. Raises SCAIQUEUE_NOT_EMPTY."""
        keys = keys_of(scope).queue(queue.slug)
        reply = await binding.configure(
            self._runner, keys.scope, [keys], queue.version, [ConfigureItem("state", "removed")]
        )
        if reply.items[0][0] == "INVALID_STATE":
            raise QueueError(Code.SCAIQUEUE_NOT_EMPTY, details=(Detail("live", str(int(reply.items[0][1]))),))

    async def remove_scope(self, scope: ScopeRow) -> None:
        """Take a scope whose queues are gone out of the index."""
        await binding.configure(
            self._runner, keys_of(scope), [], scope.version, [ConfigureItem("state", "removed")]
        )


class Repairer:
    """Puts into the index what the rows know and it doesn't: a change that Redis lost, or never heard of."""

    def __init__(self, engine: AsyncEngine, configurator: Configurator, rulebooks: Rulebooks) -> None:
        self._engine = engine
        self._configurator = configurator
        self._rulebooks = rulebooks

    async def repair(self, scope: ScopeEntry, slugs: Collection[str]) -> bool:
        """True if the scope exists and was configured, with those of its queues that exist."""
        row = await scopes.find(self._engine, scope.row.tenant_id, scope.id)
        if row is None:
            return False
        found = [await queues.find(self._engine, scope.id, slug) for slug in sorted(slugs)]
        known = [queue for queue in found if queue is not None]
        await self._configurator.apply(row, known)
        await self._configurator.repair(scope.keys, self._engine, known)
        await self._rulebooks.repair(scope.keys)
        return True
