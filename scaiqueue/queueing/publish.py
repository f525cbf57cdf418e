"""Publish: drafts of messages into queues of one scope, many callers to a script call."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
from uuid_utils import uuid7

from scaiqueue.errors import QueueError
from scaiqueue.keys import QueueKeys
from scaiqueue.persister.watermarks import Watermarks
from scaiqueue.queueing import metrics, refusals
from scaiqueue.queueing.batching import Batchers
from scaiqueue.queueing.configure import Repairer
from scaiqueue.queueing.directory import ScopeEntry
from scaiqueue.records import Version, join_envelope
from scaiqueue.scripts import binding
from scaiqueue.scripts.binding import PublishItem, PublishOptions
from scaiqueue.scripts.runner import ScriptRunner

_encode_options = msgspec.json.Encoder().encode


class Draft(msgspec.Struct):
    """A message to be published. `key` is the Redis key of its idempotency key, "" for none; `options`
    what most messages don't have."""

    queue: QueueKeys
    actor: str
    header: bytes
    body: bytes
    committed: bool = True
    key: str = ""
    options: PublishOptions | None = None


class Published(msgspec.Struct):
    """`replay`: the message was there already, from the same idempotency key; then only `id` is known.
    `routed`: a rule changed what was sent."""

    id: str
    state: str = ""
    created_at: int = 0
    replay: bool = False
    routed: bool = False


# What became of a draft: its id, and the script's words.
_Sent = tuple[str, list[Any]]


class _Call(NamedTuple):
    """Of the call that carried drafts: its journal entry, and its time."""

    entry: Version | None
    at: int


class Publisher:
    """Sends drafts through the `publish` script and waits until their rows are committed where asked."""

    def __init__(
        self, runner: ScriptRunner, watermarks: Watermarks, repairer: Repairer, commit_timeout_s: float
    ) -> None:
        self._runner = runner
        self._watermarks = watermarks
        self._repairer = repairer
        self._commit_timeout_s = commit_timeout_s
        self.batchers: Batchers[Draft, _Call, _Sent] = Batchers()

    async def publish(self, scope: ScopeEntry, drafts: Sequence[Draft]) -> list[Published | QueueError]:
        """One result per draft, in order.

        Raises QueueError where nothing is known of any: SCAIQUEUE_UNAVAILABLE also when the commit was
        not seen in time; then the messages may exist.
        """
        epoch = self._watermarks.mark(scope.keys.shard.number).epoch
        call, sent = await self._submit(scope, drafts)
        results: list[Published | QueueError] = []
        fresh, at = 0, call.at
        for message_id, words in sent:
            if words[0] == "OK":
                fresh += 1
                state = _states.get(words[1]) or words[1].decode()
                results.append(Published(message_id, state, at, routed=len(words) > 2))
            else:
                results.append(_refused(words))
        entries = [call.entry]
        if fresh < len(results):
            fresh += await self._repaired(scope, drafts, sent, results, entries)
        metrics.count(scope.row.tenant_id, scope.row.slug, "publish", fresh)
        for draft in drafts:
            if draft.committed:
                await self._committed(scope, drafts, entries, results, epoch)
                break
        return results

    async def _repaired(
        self,
        scope: ScopeEntry,
        drafts: Sequence[Draft],
        sent: Sequence[_Sent],
        results: list[Published | QueueError],
        entries: list[Version | None],
    ) -> int:
        """How many more are published once their queues are known again to the index."""
        unknown = [place for place, (_, words) in enumerate(sent) if words[0] == "NOT_FOUND"]
        if not unknown or not await self._repairer.repair(scope, {drafts[i].queue.slug for i in unknown}):
            return 0
        call, again = await self._submit(scope, [drafts[i] for i in unknown])
        entries.append(call.entry)
        for place, (message_id, words) in zip(unknown, again, strict=True):
            ok = words[0] == "OK"
            results[place] = (
                Published(message_id, words[1].decode(), call.at, routed=len(words) > 2)
                if ok
                else _refused(words)
            )
        return sum(words[0] == "OK" for _, words in again)

    def _submit(
        self, scope: ScopeEntry, drafts: Sequence[Draft]
    ) -> asyncio.Future[tuple[_Call, Sequence[_Sent]]]:
        return self.batchers.of(scope.id, lambda batch: self._call(scope, batch)).submit(
            drafts,
            weight=sum([len(draft.header) + len(draft.body) for draft in drafts]),
            queues=frozenset({draft.queue.slug for draft in drafts}),
        )

    async def _call(self, scope: ScopeEntry, drafts: list[Draft]) -> tuple[_Call, list[_Sent]]:
        metrics.count_call("publish", len(drafts))
        queues: dict[str, QueueKeys] = {}
        places: dict[str, int] = {}
        keys: dict[str, int] = {}
        actor = drafts[0].actor
        ids, items = [], []
        for draft in drafts:
            place = places.get(draft.queue.slug)
            if place is None:
                place = places[draft.queue.slug] = len(places) + 1
                queues[draft.queue.slug] = draft.queue
            options = draft.options
            if options is None and (place > 1 or draft.actor != actor or draft.key):
                options = PublishOptions()
            if options is not None:
                options.queue = place if place > 1 else None
                options.actor = draft.actor if draft.actor != actor else None
                options.idem = keys.setdefault(draft.key, len(keys) + 1) if draft.key else None
            message_id = str(uuid7())
            ids.append(message_id)
            items.append(
                PublishItem(
                    message_id,
                    join_envelope(draft.header, draft.body),
                    "" if options is None else _encode_options(options),
                )
            )
        reply = await binding.publish(self._runner, scope.keys, [*queues.values()], [*keys], actor, 1, items)
        if reply.items[0][0] == "SPLIT":
            half = len(drafts) // 2
            first, sent = await self._call(scope, drafts[:half])
            second, more = await self._call(scope, drafts[half:])
            return _Call(second.entry or first.entry, second.at), sent + more
        return _Call(reply.entry, reply.at), list(zip(ids, reply.items, strict=True))

    async def _committed(
        self,
        scope: ScopeEntry,
        drafts: Sequence[Draft],
        entries: Sequence[Version | None],
        results: Sequence[Published | QueueError],
        epoch: int,
    ) -> None:
        waiting = [
            result.replay
            for draft, result in zip(drafts, results, strict=True)
            if draft.committed and isinstance(result, Published)
        ]
        shard, timeout = scope.keys.shard.number, self._commit_timeout_s
        seen = []
        if not all(waiting):
            seen = [await self._watermarks.wait(shard, entry, timeout) for entry in entries if entry]
        if any(waiting):
            seen.append(await self._watermarks.wait_replayed(shard, epoch, timeout))
        if not all(seen):
            raise refusals.unavailable("The rows' commit was not seen in time.")


_states = {b"pending": "pending", b"scheduled": "scheduled"}


def _refused(words: list[Any]) -> Published | QueueError:
    return Published(words[1].decode(), replay=True) if words[0] == "DUPLICATE" else refusals.of_reply(words)
