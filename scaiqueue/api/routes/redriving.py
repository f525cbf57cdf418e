"""Redrive of the dead letter, and the jobs that do it."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from scaiqueue import moments
from scaiqueue.api.answers import Rendered
from scaiqueue.api.drafts import Labels
from scaiqueue.api.endpoint import Call, Registry
from scaiqueue.api.paging import Page, after, cursor_for, cut
from scaiqueue.api.validation import invalid
from scaiqueue.api.words import Moment, ShortText
from scaiqueue.errors import Code, Detail, QueueError
from scaiqueue.keys import SYSTEM_QUEUES
from scaiqueue.queueing.directory import ScopeEntry
from scaiqueue.queueing.redrive import RedriveFilter, RedriveParameters, RedriveProgress
from scaiqueue.rows import jobs as rows
from scaiqueue.rows.jobs import JobRow

redriving = Registry("Dead letter")

Rate = Annotated[float, Meta(gt=0, le=100_000, description="Messages a second at most.")]


class Which(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """All that is given must hold. `queue` and `reason` are of where the message came from."""

    type: ShortText | None = None
    correlation_id: ShortText | None = None
    source_id: ShortText | None = None
    queue: ShortText | None = None
    reason: ShortText | None = None
    labels: Labels = msgspec.field(default_factory=dict)
    created_after: Moment | None = None
    created_before: Moment | None = None


class Redrive(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Without `target` each message goes back to the queue that it came from. `dry_run` only counts."""

    filter: Which = msgspec.field(default_factory=Which)
    target: ShortText | None = None
    rate: Rate | None = None
    dry_run: bool = False


class Job(msgspec.Struct, kw_only=True):
    """`state` is running, completed or cancelled."""

    id: str
    scope_id: str
    kind: str
    state: str
    parameters: RedriveParameters
    progress: RedriveProgress
    cancel_requested: bool
    created_at: str
    updated_at: str


_redrive = msgspec.json.Decoder(Redrive)


def view(row: JobRow) -> Job:
    return Job(
        id=row.id,
        scope_id=row.scope_id,
        kind=row.kind,
        state=row.state,
        parameters=msgspec.json.decode(row.parameters, type=RedriveParameters),
        progress=msgspec.json.decode(row.progress, type=RedriveProgress),
        cancel_requested=row.cancel_requested,
        created_at=moments.text(row.created_at),
        updated_at=moments.text(row.updated_at),
    )


async def _found(call: Call, scope: ScopeEntry) -> JobRow:
    row = await rows.find(call.services.engine, scope.id, call.path("job").lower())
    if row is None:
        raise QueueError(Code.SCAIQUEUE_JOB_NOT_FOUND)
    return row


def _bound(moment: Any) -> int | None:
    return None if moment is None else moments.milliseconds(moment)


@redriving(
    "POST /scopes/{scope}/dead-letter/redrive",
    "Send messages of the dead letter back to work",
    body=Redrive,
    body_optional=True,
    answer=Job,
    status=202,
    errors=(Code.SCAIQUEUE_QUEUE_NOT_FOUND, Code.SCAIQUEUE_SYSTEM_QUEUE_READONLY),
    names_queues=True,
)
async def redrive(call: Call) -> Rendered:
    """A job with progress; a small one has ended when the answer comes. Attempts start again at 0."""
    scope = await call.scope()
    asked = await call.body(_redrive, optional=True)
    target = ""
    if asked.target is not None:
        queue = await call.queue_named(scope, asked.target)
        if queue.slug in SYSTEM_QUEUES:
            raise QueueError(Code.SCAIQUEUE_SYSTEM_QUEUE_READONLY)
        target = queue.slug
    else:
        # Each message goes back to where it came from, which may be any queue.
        await call.every_queue(scope.id)
    which = asked.filter
    if any('"' in name or "\\" in name or not name.isprintable() for name in which.labels):
        raise invalid(Detail("filter.labels", "No label that can be asked for: no quotes"))
    origin = which.queue
    if origin is not None:
        origin = (await call.services.directory.queue(scope, origin)).slug
    parameters = RedriveParameters(
        filter=RedriveFilter(
            type=which.type,
            correlation_id=which.correlation_id,
            source_id=which.source_id,
            queue=origin,
            reason=which.reason,
            created_after=_bound(which.created_after),
            created_before=_bound(which.created_before),
            labels=which.labels,
        ),
        target=target,
        rate=asked.rate or 0.0,
        dry_run=asked.dry_run,
    )
    job = await call.services.redriver.begin(scope, call.principal.key_id, parameters)
    return call.one(view(job), 202)


@redriving(
    "GET /scopes/{scope}/jobs",
    "List a scope's jobs in the order of their creation",
    answer=Job,
    many=True,
    query=Page,
)
async def list_jobs(call: Call) -> Rendered:
    scope = await call.scope()
    page = call.query(Page)
    found = await rows.page(call.services.engine, scope.id, after(page.cursor), page.limit + 1)
    shown, more = cut(found, page.limit)
    return call.many([view(row) for row in shown], cursor_for(shown[-1].id) if more else None)


@redriving("GET /scopes/{scope}/jobs/{job}", "Get a job with its progress", answer=Job)
async def get_job(call: Call) -> Rendered:
    return call.one(view(await _found(call, await call.scope())))


@redriving("POST /scopes/{scope}/jobs/{job}/cancel", "Cancel a job; what it has done stays", answer=Job)
async def cancel_job(call: Call) -> Rendered:
    scope = await call.scope()
    await rows.request_cancel(call.services.engine, (await _found(call, scope)).id)
    return call.one(view(await _found(call, scope)))
