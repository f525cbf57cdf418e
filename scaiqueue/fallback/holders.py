"""complete, fail, release and extend: what the holders of leases say."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from scaiqueue.fallback.call import Call, Item, data, number, reply, text
from scaiqueue.fallback.rules import Rules
from scaiqueue.fallback.transitions import finish, give_back, refusal
from scaiqueue.fallback.work import Message, Work
from scaiqueue.keys import DEAD_LETTER
from scaiqueue.records import Flag, State

Settle = Callable[[Work, Message, Rules, Item], list[Any]]
Verb = Callable[[Work, Call], Awaitable[list[list[Any]]]]


def _complete(work: Work, message: Message, rules: Rules, item: Item) -> list[Any]:
    record, response = message.record, data(item["response"])
    record.verb = "complete"
    finish(record, State.completed)
    work.change(message, "completed", text(item["holder"]))
    if response:
        work.set_outcome(message, response, "")
    return ["OK", "completed", 0, record.queue]


def _fail(work: Work, message: Message, rules: Rules, item: Item) -> list[Any]:
    record, reason = message.record, text(item["reason"])
    delay = number(item["retry_after_ms"])
    if delay is None:
        delay = rules.retry_delay(record.attempts)
    last = text(item["retryable"]) == "0" or rules.exhausted(record)
    record.verb = "fail"
    work.set_outcome(message, b"", reason)
    event = give_back(record, "failed", reason, delay, last, work.now)
    work.change(message, event, text(item["holder"]), reason)
    return ["OK", State(record.state).name, record.due_at, record.queue]


def _release(work: Work, message: Message, rules: Rules, item: Item) -> list[Any]:
    record = message.record
    record.verb, record.attempts = "release", record.attempts - 1
    event = give_back(record, "released", "", number(item["delay_ms"]) or 0, False, work.now)
    work.change(message, event, text(item["holder"]))
    return ["OK", State(record.state).name, record.due_at, record.queue]


def _extend(work: Work, message: Message, rules: Rules, item: Item) -> list[Any]:
    record = message.record
    record.due_at = work.now + (number(item["visibility_ms"]) or rules.visibility_ms)
    if not work.changed(message.id):
        work.change(message, "extended", text(item["holder"]))
    return ["OK", record.due_at, int(bool(record.flags & Flag.cancel_requested))]


def _verb(settle: Settle) -> Verb:
    async def run(work: Work, call: Call) -> list[list[Any]]:
        found = await work.load([text(item["id"]) for item in call.items])
        await work.load_rules(message.record.queue for message in found if message)
        replies = []
        for message, item in zip(found, call.items, strict=True):
            rules = work.rules(message.record.queue if message else DEAD_LETTER)
            refused = refusal(
                message.record if message else None,
                rules,
                text(item["token"]),
                text(item["holder"]),
                call.name,
                work.epoch,
            )
            if refused is None and message is not None:
                replies.append(reply(*settle(work, message, rules, item)))
            else:
                replies.append(reply(*refused or ()))
        return replies

    return run


complete, fail, release, extend = map(_verb, (_complete, _fail, _release, _extend))
