"""Reads of messages: one, many, and their history."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from scaiqueue import moments
from scaiqueue.api.answers import Rendered
from scaiqueue.api.endpoint import Call, Parameter, Registry
from scaiqueue.api.paging import Page, after, cursor_for
from scaiqueue.api.validation import invalid
from scaiqueue.api.words import Moment, ShortText
from scaiqueue.audit import view as audited
from scaiqueue.errors import Detail
from scaiqueue.integrity import view
from scaiqueue.queueing.directory import ScopeEntry
from scaiqueue.queueing.message import Message
from scaiqueue.records import State
from scaiqueue.rows import history
from scaiqueue.rows import messages as rows
from scaiqueue.rows.messages import Filter

reads = Registry("Messages")

LABEL = "label."
STALE_AFTER_S = 1.0
MAX_TRACED = 500

StateName = Literal[
    "scheduled",
    "pending",
    "claimed",
    "awaiting_review",
    "completed",
    "expired",
    "cancelled",
    "archived",
    "transferring",
]


class Filters(Page, frozen=True, kw_only=True):
    """`queue` is an id or a slug. Labels are asked for as `label.<name>=<value>`."""

    correlation_id: ShortText | None = None
    state: StateName | None = None
    queue: ShortText | None = None
    type: ShortText | None = None
    source_id: ShortText | None = None
    created_after: Moment | None = None
    created_before: Moment | None = None


class Transition(msgspec.Struct):
    """One step of a message. `attempts` as they were after it."""

    event: str
    queue: str
    attempts: int
    actor: str
    detail: str | None
    at: str
    version: str


class History(msgspec.Struct):
    """Every transition in order; `skipped` older ones are no longer kept."""

    message_id: str
    transitions: list[Transition]
    skipped: int


class TracedTransition(Transition):
    message_id: Annotated[str, Meta(description="The message that it is a step of.")]


def _labels(call: Call) -> dict[str, str]:
    labels: dict[str, str] = {}
    for name, value in call.request.query_params.multi_items():
        if name.startswith(LABEL):
            label = name.removeprefix(LABEL)
            if not 1 <= len(label) <= 256 or '"' in label or "\\" in label or not label.isprintable():
                raise invalid(Detail(name, "No label that can be asked for: 1 to 256 characters, no quotes"))
            labels[label] = value
    return labels


def _bound(moment: Any) -> int | None:
    return None if moment is None else moments.milliseconds(moment)


async def is_stale(call: Call, scope: ScopeEntry) -> bool:
    """Wait until the rows hold what the index held when the call came; True if they don't in time."""
    watermarks = call.services.persister.watermarks
    return not await watermarks.wait_journal_end(scope.keys.shard.number, STALE_AFTER_S)


async def queue_slug(call: Call, scope: ScopeEntry, name: str | None) -> str | None:
    if name is None:
        return None
    return (await call.queue_named(scope, name)).slug


@reads("GET /scopes/{scope}/messages/{message}", "Get a message", answer=Message)
async def get_message(call: Call) -> Rendered:
    """In whatever state, archived ones too."""
    scope = await call.scope()
    return call.one(await call.services.reader.get(scope, await call.message_id(scope)))


@reads(
    "GET /scopes/{scope}/messages",
    "List messages, newest first",
    answer=Message,
    many=True,
    query=Filters,
    parameters=(Parameter("label.<name>", "Only messages with this label.", free_names=True),),
)
async def list_messages(call: Call) -> Rendered:
    """Sees what was done before the call; if the rows are too far behind, `meta.stale` is true. A page
    ends early when its bodies reach 8 MiB. The queues `_integrity` and `_corrections` show what the
    consistency checker found and put right, `_audit` the calls, whatever the other conditions."""
    scope = await call.scope()
    asked = call.query(Filters, also=LABEL)
    slug = await queue_slug(call, scope, asked.queue)
    if slug in (view.FINDINGS, view.CORRECTIONS):
        place = await call.services.reader.place(scope, slug)
        bounds = (after(asked.cursor), asked.limit)
        noted, more = await view.page(call.services.engine, scope, place, slug, *bounds)
        return call.many(noted, cursor_for(noted[-1].id) if more else None, False)
    if slug == audited.CALLS:
        await call.services.audit.settle()
        place = await call.services.reader.place(scope, slug)
        bounds = (after(asked.cursor), asked.limit)
        calls, more = await audited.page(call.services.engine, scope, place, *bounds)
        return call.many(calls, cursor_for(calls[-1].id) if more else None, False)
    by = Filter(
        correlation_id=asked.correlation_id,
        state=None if asked.state is None else State[asked.state].value,
        queue=slug,
        queues=await call.allowed_slugs(scope),
        type=asked.type,
        source_id=asked.source_id,
        created_after=_bound(asked.created_after),
        created_before=_bound(asked.created_before),
        labels=_labels(call),
    )
    before = after(asked.cursor)
    stale = await is_stale(call, scope)
    found, more = await rows.page(call.services.engine, scope.id, by, before, asked.limit)
    shown = await call.services.reader.from_rows(scope, found)
    return call.many(shown, cursor_for(found[-1].id) if more else None, stale)


def _shown(step: history.Transition) -> dict[str, Any]:
    return {
        "event": step.event,
        "queue": step.queue,
        "attempts": step.attempts,
        "actor": step.actor,
        "detail": step.detail or None,
        "at": moments.text(step.at),
        "version": f"{step.epoch}-{step.n}",
    }


@reads("GET /scopes/{scope}/messages/{message}/history", "Every transition of a message", answer=History)
async def message_history(call: Call) -> Rendered:
    scope = await call.scope()
    message_id = await call.message_id(scope)
    await is_stale(call, scope)
    row = await call.services.reader.row(scope, message_id)
    steps = [Transition(**_shown(step)) for step in history.parse(row.history)]
    return call.one(History(message_id, steps, row.history_skipped))


@reads(
    "GET /scopes/{scope}/audit/trace/{correlation_id}",
    "Every transition of all messages with a correlation id",
    answer=TracedTransition,
    many=True,
)
async def trace(call: Call) -> Rendered:
    """In order, across queues, of the 500 oldest messages that carry it."""
    scope = await call.scope()
    allowed = await call.allowed_slugs(scope)
    stale = await is_stale(call, scope)
    correlation_id = call.path("correlation_id")
    found = await rows.of_correlation(call.services.engine, scope.id, correlation_id, MAX_TRACED)
    kept = [row for row in found if allowed is None or row.record.queue in allowed]
    steps = history.trace((row.id, row.history) for row in kept)
    shown = [TracedTransition(**_shown(step), message_id=message_id) for message_id, step in steps]
    return call.many(shown, None, stale)
