"""The dry run of a scope's routing rules, by the code that the other scripts obey them with."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from scaiqueue import moments
from scaiqueue.api.answers import Rendered
from scaiqueue.api.drafts import Publish, make_draft
from scaiqueue.api.endpoint import Call, Registry
from scaiqueue.api.routes.routing import QueueName, Trigger
from scaiqueue.api.validation import invalid
from scaiqueue.api.words import Uuid
from scaiqueue.errors import Code, Detail
from scaiqueue.keys import OUTBOUND
from scaiqueue.queueing.header import read_header
from scaiqueue.records import join_envelope
from scaiqueue.scripts import binding
from scaiqueue.scripts.binding import EvaluateItem

evaluating = Registry("Routing rules")
SAMPLE_ID = "01939d2e-6f0c-7d52-b8c6-7a2f6c1f0a11"


class Evaluate(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A sample, with the queue that it would be in, or the id of a stored message."""

    trigger: Trigger = "message_published"
    queue: QueueName | None = None
    message: Publish | None = None
    message_id: Uuid | None = None
    attempts: Annotated[int, Meta(ge=0, le=65535)] | None = None


class Step(msgspec.Struct):
    """`event` is routed, transformed, escalated, archived, dead_lettered or breaker_tripped; `detail` as in
    history."""

    event: str
    queue: str
    detail: str
    rule_id: str


class Transfer(msgspec.Struct):
    """Another scope, and its queue: the message waits in `_outbound` and is sent on after the transition, if
    that scope's trust lets it in then."""

    scope: str
    queue: str


class CopyMade(msgspec.Struct):
    """`queue` is where the copy ends up; a sample's ids are made up."""

    id: str
    queue: str
    reason: str | None
    steps: list[Step]


class Evaluation(msgspec.Struct, kw_only=True):
    """`outcome`: unmatched (no rule), unmoved, routed, awaiting_review, then with what a human is asked in
    `hitl_spec` and for how long, archived or dead_lettered, then with its `reason`. `message_type`, `labels`
    and `priority_rank` are those afterwards."""

    matched: bool
    outcome: Literal["unmatched", "unmoved", "routed", "awaiting_review", "archived", "dead_lettered"]
    queue: str
    reason: str | None
    message_type: str
    labels: dict[str, str]
    priority_rank: int
    delay_s: float
    expires_at: str | None
    transfer: Transfer | None
    hitl_spec: Any
    review_timeout_s: float | None
    steps: list[Step]
    copies: list[CopyMade]


_evaluate = msgspec.json.Decoder(Evaluate)


@evaluating(
    "POST /scopes/{scope}/routing-rules/evaluate",
    "See what the rules would do",
    body=Evaluate,
    answer=Evaluation,
    errors=(Code.SCAIQUEUE_QUEUE_NOT_FOUND, Code.SCAIQUEUE_MESSAGE_NOT_FOUND),
)
async def evaluate_rules(call: Call) -> Rendered:
    """Nothing is changed. Enabled rules alone count, and rooms and states of queues as they are now."""
    scope = await call.scope()
    asked = await call.body(_evaluate)
    if (asked.message is None) == (asked.message_id is None):
        raise invalid(Detail("message", "Give either message or message_id"))
    slug, message_id, header, body, overlay, rank, attempts = await _subject(call, asked)
    queue = await call.queue_named(scope, asked.queue or slug)
    attempts = attempts if asked.attempts is None else asked.attempts
    item = EvaluateItem(message_id, join_envelope(header, body), overlay, rank, attempts)
    trigger = asked.trigger.removeprefix("message_")
    reply = await binding.evaluate(call.services.runner, scope.keys, queue.keys, trigger, [item])
    return call.one(_evaluation(queue.slug, header, reply.items[0]))


async def _subject(call: Call, asked: Evaluate) -> tuple[str, str, bytes, bytes, bytes, int, int]:
    """Queue, id, header, body, overlay, rank and attempts of the message asked about."""
    scope = await call.scope()
    if asked.message is not None:
        if asked.queue is None:
            raise invalid(Detail("queue", "Required for a sample"))
        place = await call.services.directory.queue(scope, asked.queue)
        draft = make_draft(asked.message, place, call.principal.key_id, call.services.settings)
        rank = asked.message.priority.rank
        return place.slug, SAMPLE_ID, draft.header, draft.body, b"", rank, 0
    assert asked.message_id is not None
    await call.require_message(scope, asked.message_id)
    record, header, body, overlay = await call.services.reader.stored(scope, asked.message_id)
    return record.queue, asked.message_id, header, body, overlay, record.rank, record.attempts


def _evaluation(queue: str, header: bytes, reply: list[Any]) -> Evaluation:
    _, matched, to, ended, rank, delay_ms, expires, overlay, steps, copies, review_ms = reply
    after = read_header(header, overlay)
    reason = ended.decode()
    outcome: Any = "unmoved" if matched else "unmatched"
    if reason:
        outcome = "archived" if reason == "archived" else "dead_lettered"
    elif review_ms:
        outcome = "awaiting_review"
    elif to:
        outcome = "routed"
    return Evaluation(
        matched=bool(matched),
        outcome=outcome,
        queue="_dead_letter" if outcome == "dead_lettered" else to.decode() or queue,
        reason=reason if outcome == "dead_lettered" else None,
        message_type=after.type,
        labels=after.labels,
        priority_rank=int(rank),
        delay_s=int(delay_ms) / 1000,
        expires_at=moments.optional_text(int(expires)),
        transfer=_transfer(overlay) if to.decode() == OUTBOUND and not reason else None,
        hitl_spec=after.hitl_spec if outcome == "awaiting_review" else None,
        review_timeout_s=int(review_ms) / 1000 if outcome == "awaiting_review" else None,
        steps=_steps(steps),
        copies=[
            CopyMade(
                child.decode(),
                "_dead_letter" if end and end != b"archived" else place.decode(),
                end.decode() or None,
                _steps(log),
            )
            for child, place, end, log in copies
        ],
    )


def _transfer(overlay: bytes) -> Transfer:
    scope_id, _, queue = msgspec.json.decode(overlay)["outbound"].partition("/")
    return Transfer(scope_id, queue)


def _steps(found: list[list[bytes]]) -> list[Step]:
    return [Step(*(part.decode() for part in step)) for step in found]
