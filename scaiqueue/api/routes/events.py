"""Events of a scope as they are committed, and waiting for one message."""

from __future__ import annotations

import time
from typing import Annotated

import msgspec
from msgspec import Meta

from scaiqueue.api.answers import Rendered
from scaiqueue.api.endpoint import Call, Parameter, Registry
from scaiqueue.api.listening import Listen, Listener
from scaiqueue.api.server_sent_events import MEDIA_TYPE, EventStream, Frames, frame
from scaiqueue.api.validation import invalid
from scaiqueue.errors import Code, Detail
from scaiqueue.events.envelope import Envelope
from scaiqueue.keys import DEAD_LETTER
from scaiqueue.persister.tasks import happens_within
from scaiqueue.queueing.message import Message
from scaiqueue.records import Record, State
from scaiqueue.rows import messages as rows
from scaiqueue.rows.events import Place

# More often than a beat, which leaves the place as it is.
MARK_EVERY_S = 10.0

events = Registry("Events")


class Wait(msgspec.Struct, frozen=True, kw_only=True):
    timeout_s: (
        Annotated[float, Meta(ge=0, le=3600, description="At most so long; absent: as long as a claim may.")]
        | None
    ) = None


@events(
    "GET /scopes/{scope}/events",
    "Listen to events",
    answer=Envelope,
    query=Listen,
    parameters=(Parameter("Last-Event-ID", "The `id` of the last event received.", place="header"),),
    errors=(Code.SCAIQUEUE_EVENTS_GONE, Code.RATE_LIMITED),
    produces=MEDIA_TYPE,
)
async def stream_events(call: Call) -> Rendered:
    """Server-Sent Events, or WebSocket where the request asks for an upgrade. Each event has been committed;
    at least once, and in order for each message. Goes on until the caller leaves; a listener that comes back
    with `Last-Event-ID` misses nothing."""
    listener = await Listener.of(call)
    call.services.feed.require_room()
    return EventStream(b"", frames=_frames(call, listener))


async def _frames(call: Call, listener: Listener) -> Frames:
    marked = time.monotonic()
    with call.services.feed.listening("sse"):
        yield b"retry: 1000\n" + _mark(listener.place)
        async for told in listener.told("sse"):
            if told:
                yield b"".join(
                    frame(event.body, event=event.event_type, id=str(event.place)) for event in told
                )
            elif time.monotonic() - marked >= MARK_EVERY_S:
                marked = time.monotonic()
                yield _mark(listener.place)


def _mark(place: Place) -> bytes:
    """Moves what a listener resumes from, though nothing was for it; no event comes of it."""
    return f"id: {place}\n\n".encode()


@events(
    "GET /scopes/{scope}/messages/{message}/wait",
    "Wait until a message has ended",
    answer=Message,
    query=Wait,
)
async def wait_for_message(call: Call) -> Rendered:
    """Answers when it is completed, expired, cancelled, archived or in the dead letter, and the rows hold
    that; after `timeout_s` with the message as it is then. Nothing polls meanwhile."""
    scope = await call.scope()
    message_id = await call.message_id(scope)
    most = call.services.settings.max_wait_s
    asked = call.query(Wait).timeout_s
    if asked is not None and asked > most:
        raise invalid(Detail("timeout_s", f"At most {most}"))
    await call.services.reader.record(scope, message_id)
    deadline = time.monotonic() + (most if asked is None else asked)
    async with call.services.waits.seat(scope.keys, message_id) as moved:
        while True:
            moved.clear()
            row = await rows.find(call.services.engine, scope.id, message_id)
            ended = row is not None and _has_ended(row.record)
            left = deadline - time.monotonic()
            if ended or left <= 0 or call.services.pulse.closing:
                break
            await happens_within(moved, left)
    if row is not None and ended:
        (message,) = await call.services.reader.from_rows(scope, [row])
        return call.one(message)
    return call.one(await call.services.reader.get(scope, message_id))


def _has_ended(record: Record) -> bool:
    return State(record.state).terminal or record.queue == DEAD_LETTER
