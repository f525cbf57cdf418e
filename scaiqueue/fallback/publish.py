"""publish: new messages, written into their rows at once, so that every one of them is committed."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from scaiqueue.fallback import rows
from scaiqueue.fallback.call import Call, data, reply, text
from scaiqueue.fallback.rows import Counters
from scaiqueue.fallback.rules import Rules
from scaiqueue.fallback.transitions import bury, enter, finish
from scaiqueue.fallback.work import Message, Work
from scaiqueue.keys import DEAD_LETTER
from scaiqueue.records import Record, State, split_envelope
from scaiqueue.rows.bulk import IdempotencyRow
from scaiqueue.scripts.binding import PublishOptions
from scaiqueue.scripts.replies import NotReadyError

NORMAL = 2500
KEY_MS = 86_400_000
_decode_options = msgspec.json.Decoder(PublishOptions).decode


class _Item(NamedTuple):
    """What the call says of one message; `key` is the (queue, hash) of its idempotency key."""

    id: str
    header: bytes
    body: bytes
    actor: str
    options: PublishOptions
    key: tuple[str, str] | None


def _items(call: Call) -> list[_Item]:
    keys = [(queue, key_hash) for _, queue, key_hash in (key.rsplit(":", 2) for key in call.item_keys)]
    found = []
    for item in call.items:
        raw = data(item["options"])
        options = _decode_options(raw) if raw else PublishOptions()
        actor = options.actor or text(call.arguments["actor"])
        key = keys[options.idem - 1] if options.idem else None
        found.append(_Item(text(item["id"]), *split_envelope(data(item["envelope"])), actor, options, key))
    return found


class _Room:
    """How many more a bounded queue takes, and what makes room in it."""

    def __init__(self, work: Work, call: Call) -> None:
        self._work = work
        self._most = len(call.items)
        self._depths: dict[str, int] = {}
        self._oldest: dict[str, list[Message]] = {}

    async def enter(self, rules: Rules, waits: bool) -> str | None:
        """The queue that one more message goes to; None where there is no room. `waits`: it will count."""
        work, slug = self._work, rules.slug
        if slug not in self._depths:
            self._depths[slug] = await rows.depth(work.conn, work.scope.scope_id, slug)
        if self._depths[slug] < rules.max_depth:
            self._depths[slug] += waits
            return slug
        if rules.overflow == "dead_letter":
            return DEAD_LETTER
        if rules.overflow == "drop_oldest" and await self._drop_oldest(slug):
            self._depths[slug] -= not waits
            return slug
        return None

    async def _drop_oldest(self, slug: str) -> bool:
        """The oldest makes room, unless this very call published it."""
        if slug not in self._oldest:
            ids = await rows.oldest_waiting(self._work.conn, self._work.scope.scope_id, slug, self._most)
            self._oldest[slug] = [message for message in await self._work.load(ids) if message]
        if not self._oldest[slug]:
            return False
        message = self._oldest[slug].pop(0)
        finish(message.record, State.cancelled)
        self._work.change(message, "cancelled", "", "overflow")
        return True


async def publish(work: Work, call: Call, max_body: int) -> list[list[Any]]:
    if await rows.routes_publishing(work.conn, work.scope.scope_id):
        raise NotReadyError("the scope's routing rules need Redis, which is away")
    scope_state = await rows.scope_state(work.conn, work.scope)
    await work.load_rules(call.queues)
    if any(work.rules(slug).access == "broadcast" for slug in call.queues):
        raise NotReadyError("copies for subscriptions need Redis, which is away")
    items = _items(call)
    owners: dict[tuple[str, str], tuple[str, str]] = {}
    if hashes := {item.key[1] for item in items if item.key}:
        owners = await rows.idempotency_owners(work.conn, work.scope.scope_id, hashes, work.now)
    known = await rows.known_ids(work.conn, [item.id for item in items])
    room, counters = _Room(work, call), await work.counters()
    seq = counters.seq
    replies: list[list[Any]] = []
    for item in items:
        rules = work.rules(call.queues[(item.options.queue or 1) - 1])
        refused = rules.refuses(scope_state, entering=True) or _repeated(item, owners, known, max_body)
        target: str | None = rules.slug
        if not refused and rules.max_depth > 0:
            target = await room.enter(rules, waits=item.options.review_ms is None)
        if refused or target is None:
            replies.append(reply(*refused or ["FULL"]))
            continue
        seq += 1
        message = _admit(work, item, rules.slug, target, seq)
        known.add(message.id)
        if item.key:
            owners[item.key] = (item.id, item.options.digest or "")
            _remember(work, item, item.key)
        replies.append(reply("OK", State(message.record.state).name))
    if seq > counters.seq:
        work.published = seq - counters.seq
        await work.set_counters(Counters(seq, counters.token))
    return replies


def _repeated(
    item: _Item, owners: dict[tuple[str, str], tuple[str, str]], known: set[str], max_body: int
) -> list[object] | None:
    if len(item.body) > max_body:
        return ["TOO_LARGE", max_body]
    if item.key in owners:
        owner, digest = owners[item.key]
        return ["DUPLICATE" if digest == (item.options.digest or "") else "CONFLICT", owner]
    return ["DUPLICATE", item.id] if item.id in known else None


def _admit(work: Work, item: _Item, slug: str, target: str, seq: int) -> Message:
    options = item.options
    deadline = options.deadline or 0
    ends = [work.now + options.ttl_ms] if options.ttl_ms else []
    record = Record(
        queue=slug,
        state=State.pending,
        attempts=0,
        seq=seq,
        rank=NORMAL if options.rank is None else options.rank,
        deadline=deadline,
        expires_at=min([*ends, *([deadline] if deadline else [])], default=0),
        size=len(item.header) + 1 + len(item.body),
        token="",
        holder="",
        verb="",
        touched_epoch=0,
        touched_n=0,
        max_retries=-1 if options.max_retries is None else options.max_retries,
        created_at=work.now,
        flags=0,
        due_at=0,
        updated_at=work.now,
    )
    message = Message(item.id, record, content=(item.header, item.body))
    if target != slug:
        bury(record, "overflow", work.now)
        work.change(message, "dead_lettered", item.actor, "overflow")
        return message
    if options.review_ms:
        record.state, record.due_at = State.awaiting_review, work.now + options.review_ms
    else:
        enter(record, slug, work.now + (options.delay_ms or 0), work.now)
    work.change(message, "published", item.actor)
    return message


def _remember(work: Work, item: _Item, key: tuple[str, str]) -> None:
    ends = work.now + (item.options.idem_ms or KEY_MS)
    work.idempotency.append(
        IdempotencyRow(work.scope.scope_id, *key, item.id, item.options.digest or "", ends)
    )
