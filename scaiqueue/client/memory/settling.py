"""complete, fail, release, extend and cancel, on messages in memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from scaiqueue.api.settlements import Complete, Extend, Fail, Holding, Release, SettledItem, extended, moved
from scaiqueue.client.memory.scope import EPOCH, MemoryScope, holder
from scaiqueue.client.memory.stored import Stored
from scaiqueue.errors import Code, Detail, QueueError
from scaiqueue.fallback.rules import Rules
from scaiqueue.fallback.transitions import finish, give_back, refusal
from scaiqueue.queueing import refusals
from scaiqueue.queueing.message import is_json
from scaiqueue.records import Flag, Outcome, State
from scaiqueue.settings import Settings

Settle = Callable[[MemoryScope, Stored, Rules, Any], None]


def _complete(scope: MemoryScope, message: Stored, rules: Rules, asked: Complete) -> None:
    response = bytes(asked.response)
    if len(response) > Settings().max_body_bytes:
        raise QueueError(Code.SCAIQUEUE_MESSAGE_TOO_LARGE, "The response is larger than a body may be.")
    if response and not is_json(response):
        raise QueueError(Code.VALIDATION_ERROR, details=(Detail("response", "Not JSON"),))
    finish(message.record, State.completed)
    message.outcome = Outcome(response, "")
    scope.tell("completed", message)


def _fail(scope: MemoryScope, message: Stored, rules: Rules, asked: Fail) -> None:
    record = message.record
    if asked.retry_after_s is None:
        delay = rules.retry_delay(record.attempts)
    else:
        delay = round(asked.retry_after_s * 1000)
    last = asked.retryable is False or rules.exhausted(record)
    message.outcome = Outcome(b"", asked.reason)
    scope.tell(give_back(record, "failed", asked.reason, delay, last, scope.now()), message)


def _release(scope: MemoryScope, message: Stored, rules: Rules, asked: Release) -> None:
    message.record.attempts -= 1
    delay = round((asked.delay_s or 0) * 1000)
    scope.tell(give_back(message.record, "released", "", delay, False, scope.now()), message)


def _extend(scope: MemoryScope, message: Stored, rules: Rules, asked: Extend) -> None:
    lease_s = asked.visibility_timeout_s
    message.record.due_at = scope.now() + (rules.visibility_ms if lease_s is None else round(lease_s * 1000))
    scope.tell("extended", message)


_VERBS: dict[str, Settle] = {"complete": _complete, "fail": _fail, "release": _release, "extend": _extend}


def settle(scope: MemoryScope, verb: str, message_id: str, asked: Holding) -> SettledItem:
    """Raises QueueError."""
    scope.sweep()
    message = scope.messages.get(message_id)
    rules = scope.queues[message.record.queue] if message is not None else Rules("")
    token = asked.claim_token or ""
    record = None if message is None else message.record
    answer = refusal(record, rules, token, holder(asked.consumer_id), verb, EPOCH)
    if answer is not None and answer[0] != "OK":
        raise refusals.of_reply(answer)
    assert message is not None
    assert record is not None
    if answer is None:
        _VERBS[verb](scope, message, rules, asked)
        record.verb = verb
    if verb == "extend":
        return extended(message_id, ["OK", record.due_at, bool(record.flags & Flag.cancel_requested)])
    return moved(message_id, ["OK", State(record.state).name.encode(), record.due_at, record.queue.encode()])


def cancel(scope: MemoryScope, message_id: str) -> SettledItem:
    scope.sweep()
    message = scope.messages.get(message_id)
    if message is None:
        raise QueueError(Code.SCAIQUEUE_MESSAGE_NOT_FOUND)
    state = State(message.record.state)
    if state == State.claimed:
        message.record.flags |= Flag.cancel_requested
        return SettledItem(id=message_id, state=state.name, cancel_requested=True)
    if state.terminal:
        raise refusals.invalid_state(state.name)
    finish(message.record, State.cancelled)
    scope.tell("cancelled", message)
    return SettledItem(id=message_id, state=State.cancelled.name, cancel_requested=False)
