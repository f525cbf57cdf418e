"""Types, places and ids of events."""

from __future__ import annotations

import re
from contextlib import ExitStack
from pathlib import Path
from uuid import UUID

import pytest

from scaiqueue.errors import QueueError
from scaiqueue.events.envelope import event_id
from scaiqueue.events.feed import MOST_LISTENERS, Feed
from scaiqueue.events.kinds import TYPES, Choice, is_pattern, types_of
from scaiqueue.events.pulse import Pulse
from scaiqueue.events.reader import EventReader
from scaiqueue.events.transitions import events_of
from scaiqueue.rows.engine import open_engine
from scaiqueue.rows.events import ALL, FIRST, Place, StoredEvents
from scaiqueue_lua import __file__ as lua_folder

SCOPE = "0191d2f0-0000-7000-8000-000000000001"
ONE, TWO = "0191d2f0-0000-7000-8000-00000000000a", "0191d2f0-0000-7000-8000-00000000000b"


def _row(transitions: str, detail: str = "") -> StoredEvents:
    return StoredEvents(1, 5, 0, "1-5", "default", SCOPE, "op", "orders", 1, transitions, detail)


def test_all_that_the_scripts_journal_has_a_type() -> None:
    sources = "".join(path.read_text() for path in Path(lua_folder).parent.rglob("*.lua"))
    named = set(re.findall(r'(?:log_event|event)\([^()]*?, "([a-z_]+)"', sources))
    named |= set(re.findall(r'note_step\(out, "([a-z_]+)"', sources))
    assert {"published", "claimed", "completed", "breaker_tripped", "decided", "routed"} <= named
    assert {kind for name in named for kind in types_of(name)} <= set(TYPES)


def test_a_row_is_told_part_by_part() -> None:
    row = _row(
        f'[["decided","orders",1,"ada","","{ONE}{TWO}"],["breaker_tripped","orders",0,"","r","{ONE}"]]',
        '{"event_type":"queue.paused","payload":{"queue":"orders"}}',
    )
    told = [(event.part, event.event_type, event.message_id) for event in events_of(row)]
    assert told == [
        (1, "hitl.decided", ONE),
        (2, "scaiqueue.message.completed", ONE),
        (3, "hitl.decided", TWO),
        (4, "scaiqueue.message.completed", TWO),
        (5, "routing.breaker_tripped", ONE),
        (6, "queue.paused", ""),
    ]
    for after in range(7):
        assert [event.part for event in events_of(row, after)] == list(range(after + 1, 7))
    assert list(events_of(row, ALL)) == []


def test_what_happened_to_a_stream_is_told() -> None:
    detail = '{"stream":"s1","seqs":[3,4],"bytes":9,"event":"stream.appended","queue":"orders","actor":"k"}'
    (event,) = events_of(_row("[]", detail))
    assert (event.event_type, event.queue, event.part) == ("stream.appended", "orders", 1)
    assert event.payload == {
        "scope_id": SCOPE, "stream_id": "s1", "queue": "orders", "actor": "k", "reason": None,
        "message_id": None, "chunks": 2, "bytes": 9,
    }  # fmt: skip


@pytest.mark.parametrize("detail", ["something else", "{", '{"a":1}', '{"event":1}', '{"event_type":2}'])
def test_details_of_the_scripts_are_nobodys_event(detail: str) -> None:
    assert list(events_of(_row("[]", detail))) == []


def test_an_id_is_that_of_its_place() -> None:
    assert event_id(SCOPE, "1-5", 1) == event_id(SCOPE, "1-5", 1)
    others = {event_id(SCOPE, "1-5", 2), event_id(SCOPE, "1-6", 1), event_id(ONE, "1-5", 1)}
    assert len({event_id(SCOPE, "1-5", 1), *others}) == 4
    assert UUID(event_id(SCOPE, "1-5", 1)).version == 5


@pytest.mark.parametrize("place", [FIRST, Place(3, -1, 2, 1), Place(1, 2**40, 0, 1000), Place(1, 2)])
def test_places_are_written_and_read(place: Place) -> None:
    assert Place.parse(str(place)) == place


@pytest.mark.parametrize(
    "text", ["", "1", "1.2.3", "1.-2.0.0", "1.2.3.4.5", "a.1.0.0", "1.1.0.0\n", "9" * 60]
)
def test_other_texts_are_no_places(text: str) -> None:
    with pytest.raises(ValueError, match="is no place"):
        Place.parse(text)


def test_patterns_choose() -> None:
    assert all(map(is_pattern, [*TYPES, "*", "scaiqueue.*", "scaiqueue.message.*", "hitl.*"]))
    wrong = ("", "scaiqueue", "hitl*", "nothing.*", "scaiqueue.message.complete", "*.completed", "**")
    assert not any(map(is_pattern, wrong))
    choice = Choice(["scaiqueue.message.completed", "queue.*"])
    assert choice.has("queue.paused")
    assert choice.has("scaiqueue.message.completed")
    assert not choice.has("scaiqueue.message.claimed")
    assert Choice(["*"]).has("scope.created")
    assert not Choice([]).has("scope.created")


async def test_a_process_takes_so_many_listeners(sqlite_url: str) -> None:
    engine = open_engine(sqlite_url)
    feed = Feed(EventReader(engine), Pulse())
    with ExitStack() as listeners:
        for _ in range(MOST_LISTENERS):
            feed.require_room()
            listeners.enter_context(feed.listening("sse"))
        with pytest.raises(QueueError) as refused:
            feed.require_room()
    feed.require_room()
    await engine.dispose()
    assert (refused.value.code.name, refused.value.retry_after) == ("RATE_LIMITED", 5)
