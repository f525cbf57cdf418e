"""What each script must answer, told in Python.

`python -m tests.scripts.conformance_cases` writes the JSON files.
"""

from __future__ import annotations

import json
from typing import Any

from redis import Redis

from scaiqueue.scripts import binding
from scaiqueue.scripts.runner import Call
from tests.scripts import (
    conformance_broadcast,
    conformance_holders,
    conformance_operators,
    conformance_rules,
    conformance_streams,
)
from tests.scripts.conformance_format import FOLDER, as_text, run_case
from tests.scripts.conformance_recorder import STORIES, Recorder, story
from tests.scripts.direct import publish_item
from tests.scripts.shard import load_scripts
from tests.servers import RedisServer

# Their stories register themselves.
MODULES = (
    conformance_broadcast,
    conformance_holders,
    conformance_operators,
    conformance_rules,
    conformance_streams,
)
Told = tuple[Call, list[Any]]


def _publish(b: Recorder, *items: dict[str, Any], idem: tuple[str, ...] = ()) -> Call:
    made = [publish_item(**{"id": b.new_id(), **item}) for item in items]
    keys = [b.keys.idempotency("jobs", key) for key in idem]
    return binding.publish_call(b.keys, [b.keys.queue("jobs")], keys, "pat", 0, made)


def _ids(*numbers: int) -> list[str]:
    return [f"01900000-0000-7000-8000-{n:012x}" for n in numbers]


PLAIN, PENDING = "OK pending", ["OK", "pending"]


@story("publish", "pending, delayed, under review")
def _(b: Recorder) -> Told:
    call = _publish(
        b, {}, {"rank": 4100}, {"delay_ms": 500, "ttl_ms": 900}, {"review_ms": 700, "max_retries": 0}
    )
    return call, [PLAIN, PENDING, ["OK", "scheduled"], ["OK", "awaiting_review"]]


@story("publish", "the same idempotency key: same digest, other digest, and within one call")
def _(b: Recorder) -> Told:
    b.run(_publish(b, {"idem": 1, "digest": "d1"}, idem=("k1",)))
    items = ({"idem": 1, "digest": "d1"}, {"idem": 1, "digest": "d2"}, {"idem": 2}, {"idem": 2})
    one, four = _ids(1, 4)
    replies = [["DUPLICATE", one], ["CONFLICT", one], PENDING, ["DUPLICATE", four]]
    return _publish(b, *items, idem=("k1", "k2")), replies


@story("publish", "an id that exists, and one twice in a call")
def _(b: Recorder) -> Told:
    (id,) = b.publish("jobs")
    (new,) = _ids(2)
    replies = [["DUPLICATE", id], PLAIN, ["DUPLICATE", new]]
    return _publish(b, {"id": id}, {"id": new}, {"id": new}), replies


@story("publish", "a full queue that rejects")
def _(b: Recorder) -> Told:
    b.queue("jobs", max_depth=1)
    return _publish(b, {}, {}), [PENDING, ["FULL"]]


@story("publish", "a full queue that drops its oldest")
def _(b: Recorder) -> Told:
    b.queue("jobs", max_depth=1, overflow="drop_oldest")
    b.publish("jobs")
    return _publish(b, {}), [PENDING]


@story("publish", "a full queue that overflows to the dead letter")
def _(b: Recorder) -> Told:
    b.queue("jobs", max_depth=1, overflow="dead_letter")
    b.publish("jobs")
    return _publish(b, {}), [PENDING]


@story("publish", "the rows are too far behind")
def _(b: Recorder) -> Told:
    b.command("HSET", b.keys.shard.limits, "backlog_limit", "1")
    return _publish(b, {}, {}), [PLAIN, ["BACKLOG"]]


@story("publish", "a body over the limit")
def _(b: Recorder) -> Told:
    b.command("HSET", b.keys.shard.limits, "max_body", "3")
    return _publish(b, {"body": "1234"}), [["TOO_LARGE", 3]]


@story("publish", "a scope that is not there")
def _(b: Recorder) -> Told:
    b.command("DEL", b.keys.key("meta"))
    return _publish(b, {}), [["NOT_FOUND", "scope"]]


@story("publish", "the shard is not ready")
def _(b: Recorder) -> Told:
    b.command("DEL", b.keys.shard.epoch)
    return _publish(b, {}), []


for _word, _state in (("PAUSED", "paused"), ("DRAINING", "draining"), ("ARCHIVED", "archived")):

    @story("publish", f"a {_state} queue")
    def _(b: Recorder, word: str = _word, state: str = _state) -> Told:
        b.queue("jobs", state=state)
        return _publish(b, {}), [[word, "queue"]]


@story("publish", "a queue that takes none")
def _(b: Recorder) -> Told:
    b.queue("jobs", access="noput")
    return _publish(b, {}), [["READONLY", "queue"]]


def record(client: Redis) -> dict[str, list[dict[str, Any]]]:
    """Every case by script, as its file holds it. The replies are those that were told."""
    found: dict[str, list[dict[str, Any]]] = {}
    for script, stories in sorted(STORIES.items()):
        for about, told in stories:
            client.flushall()
            bench = Recorder(client)
            call, replies = told(bench)
            name, keys, args = bench.timed(call)
            case = {
                "name": about,
                "setup": bench.commands,
                "call": {"script": name, "keys": keys, "args": args},
            }
            reply, held = run_case(client, case)
            assert as_text(reply[1:]) == as_text(replies), f"{script}, {about}: {reply}"
            found.setdefault(script, []).append({**case, "reply": reply, "keys": held})
    return found


def as_file(cases: list[dict[str, Any]]) -> str:
    return json.dumps(cases, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    with RedisServer() as server, server.client() as connected:
        load_scripts(connected)
        for script, cases in record(connected).items():
            (FOLDER / f"{script}.json").write_text(as_file(cases))
