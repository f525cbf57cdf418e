"""Complete, fail, release, extend, cancel: what is said of messages named by id."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from scaiqueue.errors import Code, QueueError
from scaiqueue.keys import ScopeKeys
from scaiqueue.persister.watermarks import Watermarks
from scaiqueue.queueing import metrics, refusals
from scaiqueue.queueing.batching import Batchers
from scaiqueue.queueing.directory import ScopeEntry
from scaiqueue.records import Version
from scaiqueue.scripts import binding
from scaiqueue.scripts.binding import CancelItem, CompleteItem, ExtendItem, FailItem, ReleaseItem
from scaiqueue.scripts.replies import Reply
from scaiqueue.scripts.runner import ScriptRunner

Item = TypeVar("Item", bound=tuple[Any, ...])
Script = Callable[[ScriptRunner, ScopeKeys, Sequence[Item]], Awaitable[Reply]]


@dataclass(frozen=True, slots=True)
class RowFacts:
    """What a row knows of a message that the index has forgotten."""

    state: str
    token: str
    verb: str
    queue: str


RowLookup = Callable[[str, str], Awaitable[RowFacts | None]]


Settled = list[Any]
"""A reply that is no refusal: OK, and what the script says."""


class Verb(Generic[Item]):
    """One script over ids of a scope. `settle` gives one result per item, in order."""

    def __init__(self, runner: ScriptRunner, script: Script[Item], name: str, look_up: RowLookup) -> None:
        self._runner = runner
        self._script = script
        self._name = name
        self._look_up = look_up
        self.batchers: Batchers[Item, Version | None, list[Any]] = Batchers()

    async def settle(
        self, scope: ScopeEntry, items: Sequence[Item]
    ) -> tuple[Version | None, list[Settled | QueueError]]:
        """The journal entry, and one result per item, in order."""
        batcher = self.batchers.of(scope.id, lambda batch: self._call(scope, batch))
        entry, answers = await batcher.submit(items, weight=sum([_size(item) for item in items]))
        settled = sum([answer[0] == "OK" for answer in answers])
        metrics.count(scope.row.tenant_id, scope.row.slug, self._name, settled)
        if settled == len(items):
            return entry, [*answers]
        return entry, [
            answer if answer[0] == "OK" else await self._refused(scope, item, answer)
            for item, answer in zip(items, answers, strict=True)
        ]

    async def one(self, scope: ScopeEntry, item: Item) -> tuple[Version | None, Settled]:
        """Raises the item's error."""
        entry, (result,) = await self.settle(scope, [item])
        if isinstance(result, QueueError):
            raise result
        return entry, result

    async def _call(self, scope: ScopeEntry, items: list[Item]) -> tuple[Version | None, list[list[Any]]]:
        metrics.count_call(self._name, len(items))
        reply = await self._script(self._runner, scope.keys, items)
        if reply.items[0][0] == "SPLIT":
            half = len(items) // 2
            first, answers = await self._call(scope, items[:half])
            second, more = await self._call(scope, items[half:])
            return second or first, answers + more
        return reply.entry, reply.items

    async def _refused(self, scope: ScopeEntry, item: Item, reply: list[Any]) -> Settled | QueueError:
        """The index keeps a message only until its end is committed: then the row answers."""
        if reply[0] != "NOT_FOUND":
            return refusals.of_reply(reply)
        row = await self._look_up(scope.id, str(item[0]))
        if row is None:
            return QueueError(Code.SCAIQUEUE_MESSAGE_NOT_FOUND)
        token = str(item[1])
        if self._name != "cancel" and token:
            if token != row.token:
                return QueueError(Code.SCAIQUEUE_CLAIM_LOST)
            if row.verb == self._name:
                return ["OK", row.state.encode(), 0, row.queue.encode()]
        return refusals.invalid_state(row.state)


def _size(item: tuple[Any, ...]) -> int:
    """Of a response, which stands last; nothing else is large."""
    last = item[-1]
    return len(last) if isinstance(last, bytes) else 0


class Settlement:
    """The verbs of holders, and cancel, which anyone who may publish can ask for."""

    def __init__(
        self, runner: ScriptRunner, watermarks: Watermarks, look_up: RowLookup, commit_timeout_s: float
    ) -> None:
        self._watermarks = watermarks
        self._commit_timeout_s = commit_timeout_s
        self.complete: Verb[CompleteItem] = Verb(runner, binding.complete, "complete", look_up)
        self.fail: Verb[FailItem] = Verb(runner, binding.fail, "fail", look_up)
        self.release: Verb[ReleaseItem] = Verb(runner, binding.release, "release", look_up)
        self.extend: Verb[ExtendItem] = Verb(runner, binding.extend, "extend", look_up)
        self.cancelling: Verb[CancelItem] = Verb(runner, binding.cancel, "cancel", look_up)

    async def cancel(self, scope: ScopeEntry, item: CancelItem) -> Settled:
        """Answers when the rows hold it."""
        entry, settled = await self.cancelling.one(scope, item)
        if entry is not None:
            seen = await self._watermarks.wait(scope.keys.shard.number, entry, self._commit_timeout_s)
            if not seen:
                raise refusals.unavailable("The rows' commit was not seen in time.")
        return settled
