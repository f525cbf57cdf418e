"""What awaits a human, and the human's decision."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta, Raw

from scaiqueue import moments
from scaiqueue.api.answers import Rendered
from scaiqueue.api.endpoint import Call, Registry
from scaiqueue.api.paging import Page, after, cursor_for, cut
from scaiqueue.api.routes.reading import is_stale, queue_slug
from scaiqueue.api.validation import invalid
from scaiqueue.api.words import ShortText
from scaiqueue.errors import Code, Detail
from scaiqueue.queueing.directory import ScopeEntry
from scaiqueue.queueing.header import Priority, read_header
from scaiqueue.review.spec import SYSTEM
from scaiqueue.rows import messages as rows
from scaiqueue.rows import queues
from scaiqueue.rows.messages import Filter, MessageRow

reviews = Registry("Human review")


class ReviewPage(Page, frozen=True, kw_only=True):
    """`queue` is an id or a slug."""

    queue: ShortText | None = None
    type: ShortText | None = None
    correlation_id: ShortText | None = None


class Review(msgspec.Struct, kw_only=True):
    """A message that awaits a decision; `id` is the message's. At `deadline`, in `remaining_s`, `on_timeout`
    holds. `version` goes with the decision, to decide nothing but what was seen."""

    id: str
    queue: str
    message_type: str
    correlation_id: str | None
    labels: dict[str, str]
    priority_tier: str
    priority_score: int
    hitl_spec: Any
    escalated: bool
    created_at: str
    age_s: float
    deadline: str
    remaining_s: float
    on_timeout: str
    version: str


class Decide(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """`decision` is one of the options' ids, `fields` the inputs by their names. `reviewer` is who decided;
    absent, the key's id."""

    decision: ShortText
    fields: dict[ShortText, Any] = {}
    note: Annotated[str, Meta(max_length=4096)] | None = None
    reviewer: ShortText | None = None
    version: (
        Annotated[str, Meta(pattern=r"^[0-9]{1,10}-[0-9]{1,15}$(?!\n)", max_length=26, examples=["1-42"])]
        | None
    ) = None


class Decided(msgspec.Struct):
    """The message is completed; `response` is what its consumer reads."""

    id: str
    state: str
    response: Any


_decide = msgspec.json.Decoder(Decide)


def _view(row: MessageRow, now: int) -> Review:
    record, header = row.record, read_header(row.header, row.overlay)
    spec = header.hitl_spec if isinstance(header.hitl_spec, dict) else {}
    priority = Priority.of_rank(record.rank)
    escalated = record.verb == "escalate"
    if header.priority is not None and not escalated:
        priority = header.priority
    return Review(
        id=row.id,
        queue=record.queue,
        message_type=header.type,
        correlation_id=header.correlation_id,
        labels=header.labels,
        priority_tier=priority.tier,
        priority_score=priority.score,
        hitl_spec=header.hitl_spec,
        escalated=escalated,
        created_at=moments.text(record.created_at),
        age_s=max(0, now - record.created_at) / 1000,
        deadline=moments.text(record.due_at),
        remaining_s=max(0, record.due_at - now) / 1000,
        on_timeout=str(spec.get("on_timeout") or "expire"),
        version=str(record.version),
    )


@reviews(
    "GET /scopes/{scope}/reviews",
    "List what awaits a decision, oldest first",
    answer=Review,
    many=True,
    query=ReviewPage,
)
async def list_reviews(call: Call) -> Rendered:
    """Sees what was done before the call; if the rows are too far behind, `meta.stale` is true."""
    scope = await call.scope()
    asked = call.query(ReviewPage)
    slug, allowed = await queue_slug(call, scope, asked.queue), await call.allowed_slugs(scope)
    if slug is None and allowed is None:
        allowed = await queues.slugs(call.services.engine, scope.id)
    by = Filter(
        queue=slug,
        queues=allowed,
        type=asked.type,
        correlation_id=asked.correlation_id,
    )
    start = after(asked.cursor)
    stale = await is_stale(call, scope)
    found = await rows.in_review(call.services.engine, scope.id, by, start, asked.limit + 1)
    shown, more = cut(found, asked.limit)
    now = moments.now_ms()
    return call.many([_view(row, now) for row in shown], cursor_for(shown[-1].id) if more else None, stale)


@reviews(
    "POST /scopes/{scope}/messages/{message}/decision",
    "Decide about a message that awaits a human",
    body=Decide,
    answer=Decided,
    errors=(Code.SCAIQUEUE_HITL_INVALID_DECISION, Code.SCAIQUEUE_INVALID_STATE),
)
async def decide(call: Call) -> Rendered:
    """Completes the message with `response` = `{decision, fields, reviewer, decided_at}`, and answers when
    the rows hold it. Of two reviewers at once one wins; the other hears SCAIQUEUE_INVALID_STATE."""
    scope: ScopeEntry = await call.scope()
    message_id = await call.message_id(scope)
    asked = await call.body(_decide)
    if asked.reviewer is not None and asked.reviewer.startswith(SYSTEM):
        raise invalid(Detail("reviewer", f"{SYSTEM} is nobody's name"))
    said = await call.services.reviews.decide(
        scope,
        message_id,
        decision=asked.decision,
        fields=asked.fields,
        note=asked.note,
        reviewer=asked.reviewer or call.principal.key_id,
        actor=call.principal.key_id,
        version=asked.version,
    )
    return call.one(Decided(message_id, "completed", Raw(said)))
