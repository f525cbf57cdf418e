"""Publish: drafts of messages into queues of one scope, many callers to a script call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from uuid_utils import uuid7

from scaiqueue.errors import QueueError
from scaiqueue.keys import QueueKeys
from scaiqueue.persister.watermarks import Watermarks
from scaiqueue.queueing import metrics, refusals
from scaiqueue.queueing.batching import Batchers
from scaiqueue.queueing.configure import Repairer
from scaiqueue.queueing.directory import ScopeEntry
from scaiqueue.queueing.header import Header
from scaiqueue.records import Version, join_envelope
from scaiqueue.scripts import binding
from scaiqueue.scripts.binding import PublishItem, PublishOptions
from scaiqueue.scripts.runner import ScriptRunner

# The script's own default: tier normal, score 500.
DEFAULT_RANK = 2500
_encode = msgspec.json.Encoder().encode


@dataclass(slots=True)
class Draft:
    """A message to be published. `header` is `written`, encoded; `key` the Redis key of its idempotency key,
    "" for none."""

    queue: QueueKeys
    actor: str
    header: bytes
    written: Header
    body: bytes
    rank: int
    delay_ms: int = 0
    ttl_ms: int | None = None
    deadline: int | None = None
    max_retries: int | None = None
    key: str = ""
    digest: str = ""
    key_ms: int = 0
    committed: bool = True

    @property
    def size(self) -> int:
        return len(self.header) + len(self.body)


@dataclass(frozen=True, slots=True)
class Published:
    """`replay`: the message was there already, from the same idempotency key; then only `id` is known."""

    id: str
    state: str = ""
    created_at: int = 0
    replay: bool = False


@dataclass(frozen=True, slots=True)
class _Answer:
    id: str
    entry: Version | None
    reply: list[Any]
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
        self.batchers: Batchers[Draft, _Answer] = Batchers()

    async def publish(self, scope: ScopeEntry, drafts: Sequence[Draft]) -> list[Published | QueueError]:
        """One result per draft, in order.

        Raises QueueError where nothing is known of any: SCAIQUEUE_UNAVAILABLE also when the commit was
        not seen in time; then the messages may exist.
        """
        answers = await self._submit(scope, drafts)
        unknown = [i for i, answer in enumerate(answers) if answer.reply[0] == "NOT_FOUND"]
        if unknown and await self._repairer.repair(scope, {drafts[i].queue.slug for i in unknown}):
            again = await self._submit(scope, [drafts[i] for i in unknown])
            for i, answer in zip(unknown, again, strict=True):
                answers[i] = answer
        results = [_result(answer) for answer in answers]
        fresh = sum(isinstance(result, Published) and not result.replay for result in results)
        metrics.count(scope.row.tenant_id, scope.row.slug, "publish", fresh)
        await self._committed(scope, drafts, answers, results)
        return results

    async def _submit(self, scope: ScopeEntry, drafts: Sequence[Draft]) -> list[_Answer]:
        batcher = self.batchers.of(scope.id, lambda batch: self._call(scope, batch))
        return await batcher.submit(
            drafts,
            weight=sum(draft.size for draft in drafts),
            queues=frozenset(draft.queue.slug for draft in drafts),
        )

    async def _call(self, scope: ScopeEntry, drafts: list[Draft]) -> list[_Answer]:
        metrics.call_items.labels("publish").observe(len(drafts))
        queues = list({draft.queue.slug: draft.queue for draft in drafts}.values())
        places = {queue.slug: place for place, queue in enumerate(queues, 1)}
        keys = list(dict.fromkeys(draft.key for draft in drafts if draft.key))
        key_places = {key: place for place, key in enumerate(keys, 1)}
        actor = drafts[0].actor
        items = [
            PublishItem(
                str(uuid7()),
                join_envelope(draft.header, draft.body),
                _options(draft, places[draft.queue.slug], key_places.get(draft.key), actor),
            )
            for draft in drafts
        ]
        reply = await binding.publish(self._runner, scope.keys, queues, keys, actor, 1, items)
        return [
            _Answer(str(item.id), reply.entry, answer, reply.at)
            for item, answer in zip(items, reply.items, strict=True)
        ]

    async def _committed(
        self,
        scope: ScopeEntry,
        drafts: Sequence[Draft],
        answers: Sequence[_Answer],
        results: Sequence[Published | QueueError],
    ) -> None:
        entries: set[Version] = set()
        replayed = False
        for draft, answer, result in zip(drafts, answers, results, strict=True):
            if draft.committed and isinstance(result, Published):
                if result.replay:
                    replayed = True
                elif answer.entry is not None:
                    entries.add(answer.entry)
        shard, timeout = scope.keys.shard.number, self._commit_timeout_s
        seen = [await self._watermarks.wait(shard, entry, timeout) for entry in sorted(entries)]
        if replayed:
            seen.append(await self._watermarks.wait_journal_end(shard, timeout))
        if not all(seen):
            raise refusals.unavailable("The rows' commit was not seen in time.")


def _options(draft: Draft, queue: int, key: int | None, actor: str) -> bytes | str:
    """What the item says besides id and envelope; nothing where all is as it mostly is."""
    options = PublishOptions(
        queue=None if queue == 1 else queue,
        rank=None if draft.rank == DEFAULT_RANK else draft.rank,
        delay_ms=draft.delay_ms or None,
        ttl_ms=draft.ttl_ms,
        deadline=draft.deadline,
        max_retries=draft.max_retries,
        actor=None if draft.actor == actor else draft.actor,
    )
    if key is not None:
        options.idem, options.digest, options.idem_ms = key, draft.digest, draft.key_ms
    encoded = _encode(options)
    return "" if encoded == b"{}" else encoded


def _result(answer: _Answer) -> Published | QueueError:
    reply = answer.reply
    if reply[0] == "OK":
        return Published(answer.id, reply[1].decode(), answer.at)
    if reply[0] == "DUPLICATE":
        return Published(reply[1].decode(), replay=True)
    return refusals.of_reply(reply)
