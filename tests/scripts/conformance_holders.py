"""Cases of claim, complete, fail, release and extend."""

from __future__ import annotations

from typing import Any

from scaiqueue.records import Record, encode_record
from scaiqueue.scripts import binding
from scaiqueue.scripts.runner import Call
from tests.scripts.conformance_recorder import Recorder, story

Told = tuple[Call, list[Any]]
COMPLETED = "OK completed 0 jobs"


def _claim(b: Recorder, *wants: int, slugs: tuple[str, ...] = ("jobs",), claim: str = "") -> Call:
    keys = [b.keys.claim("anna", claim)] if claim else []
    items = [binding.ClaimItem("anna", want, "", 1 if claim else "") for want in wants]
    return binding.claim_call(b.keys, [b.keys.queue(slug) for slug in slugs], keys, "ordered", items)


def _given(b: Recorder, token: str, *ids: str, **record: Any) -> list[Any]:
    """The reply to a request of anna's that got these messages."""
    fields: dict[str, Any] = {
        "queue": "jobs", "state": 3, "attempts": 1, "seq": 1, "rank": 2500, "deadline": 0, "expires_at": 0,
        "size": 5, "token": token, "holder": "anna", "verb": "", "touched_epoch": 1, "touched_n": 1,
        "max_retries": -1, "created_at": b.now, "flags": 0, "due_at": b.now + 30000, "updated_at": b.now,
        **record,
    }  # fmt: skip
    reply: list[Any] = ["OK", token, b.now + 30000, []]
    for place, id in enumerate(ids):
        packed = encode_record(Record(**{**fields, "seq": fields["seq"] + place}))
        reply += [id, {"hex": packed.hex()}, {"hex": "7b7d0a7b7d"}]
    return reply


@story("claim", "one message")
def _(b: Recorder) -> Told:
    (id,) = b.publish("jobs")
    return _claim(b, 2), [_given(b, "1.1", id)]


@story("claim", "two requests in one call")
def _(b: Recorder) -> Told:
    one, two = b.publish("jobs", 2)
    return _claim(b, 1, 5), [_given(b, "1.1", one), _given(b, "1.2", two, seq=2)]


@story("claim", "nothing there")
def _(b: Recorder) -> Told:
    b.publish("jobs", delay_ms=1)
    return _claim(b, 1), [["EMPTY"]]


@story("claim", "a lost lease returns first, a delayed message at its time")
def _(b: Recorder) -> Told:
    id = b.claimed()
    created, b.now = b.now, b.now + 30000
    return _claim(b, 1), [_given(b, "1.2", id, attempts=2, touched_n=2, created_at=created)]


@story("claim", "several messages of one request share its token")
def _(b: Recorder) -> Told:
    return _claim(b, 5), [_given(b, "1.1", *b.publish("jobs", 2))]


@story("claim", "what failed before comes with its reason")
def _(b: Recorder) -> Told:
    id = b.claimed()
    b.run(binding.fail_call(b.keys, [binding.FailItem(id, "1.1", "anna", "no")]))
    created, b.now = b.now, b.now + 1000
    reply = _given(b, "1.2", id, attempts=2, touched_n=3, created_at=created, flags=2)
    reply[3] = [id, "", {"msgpack": ["", "no"]}]
    return _claim(b, 1), [reply]


@story("claim", "the same claim id")
def _(b: Recorder) -> Told:
    one, _ = b.publish("jobs", 2)
    b.run(_claim(b, 1, claim="c1"))
    return _claim(b, 1, claim="c1"), [_given(b, "1.1", one)]


@story("claim", "more than a call gives back at once")
def _(b: Recorder) -> Told:
    b.publish("jobs", 101, ttl_ms=1)
    b.now += 1
    return _claim(b, 1), [["MORE"]]


@story("claim", "a queue that is not there")
def _(b: Recorder) -> Told:
    return _claim(b, 1, slugs=("none",)), [["NOT_FOUND", "queue"]]


@story("claim", "an archived scope")
def _(b: Recorder) -> Told:
    b.scope_state("archived")
    return _claim(b, 1), [["ARCHIVED", "scope"]]


@story("claim", "a paused queue")
def _(b: Recorder) -> Told:
    b.queue("jobs", state="paused")
    return _claim(b, 1, 1), [["PAUSED", "queue"]] * 2


@story("claim", "a view")
def _(b: Recorder) -> Told:
    b.queue("jobs", access="readonly")
    return _claim(b, 1), [["READONLY", "queue"]]


@story("complete", "once and again, by token and by holder")
def _(b: Recorder) -> Told:
    one, two = b.claimed(), b.claimed()
    first = binding.CompleteItem(one, b.token(one), "anna", '{"ok":true}')
    items = [first, first, binding.CompleteItem(two, "", "anna"), binding.CompleteItem(two, "", "anna")]
    again = ["OK", "completed", 0, "jobs"]
    replies = [COMPLETED, again, COMPLETED, ["INVALID_STATE", "completed"]]
    return binding.complete_call(b.keys, items), replies


@story("complete", "another's claim, and none")
def _(b: Recorder) -> Told:
    id = b.claimed()
    wrong = [("1.9", "anna"), ("", "ben"), ("", "anna/2")]
    items = [binding.CompleteItem(id, token, holder) for token, holder in wrong]
    items.append(binding.CompleteItem(b.new_id(), "1.1", "anna"))
    return binding.complete_call(b.keys, items), [["CLAIM_LOST"]] * 3 + [["NOT_FOUND"]]


@story("complete", "by holder where the queue asks for the token")
def _(b: Recorder) -> Told:
    b.queue("jobs", require_token=1)
    id = b.claimed()
    return binding.complete_call(b.keys, [binding.CompleteItem(id, "", "anna")]), [["CLAIM_LOST"]]


@story("fail", "tried again, dead at last, and repeated")
def _(b: Recorder) -> Told:
    one, two, three = b.claimed(), b.claimed(max_retries=1), b.claimed()
    items = [binding.FailItem(id, b.token(id), "anna", "boom") for id in (one, two)]
    items.append(binding.FailItem(three, b.token(three), "anna", "boom", "", 50))
    retried = ["OK", "scheduled", b.now + 1000, "jobs"]
    dead, soon = ["OK", "pending", 0, "_dead_letter"], ["OK", "scheduled", b.now + 50, "jobs"]
    return binding.fail_call(b.keys, [*items, items[0]]), [retried, dead, soon, retried]


@story("fail", "cancelled meanwhile, expired meanwhile")
def _(b: Recorder) -> Told:
    one, two = b.claimed(), b.claimed(ttl_ms=100)
    b.run(binding.cancel_call(b.keys, [binding.CancelItem(one, "op")]))
    b.now += 100
    items = [binding.FailItem(id, b.token(id), "anna") for id in (one, two)]
    return binding.fail_call(b.keys, items), [["OK", "cancelled", 0, "jobs"], ["OK", "expired", 0, "jobs"]]


@story("fail", "not held")
def _(b: Recorder) -> Told:
    one, two = b.claimed(), b.claimed()
    b.run(binding.complete_call(b.keys, [binding.CompleteItem(two, "", "anna")]))
    items = [(one, "1.9"), (two, b.token(two)), (b.new_id(), "1.1")]
    call = binding.fail_call(b.keys, [binding.FailItem(id, token, "anna") for id, token in items])
    return call, [["CLAIM_LOST"], ["INVALID_STATE", "completed"], ["NOT_FOUND"]]


@story("release", "at once, with a delay, and repeated")
def _(b: Recorder) -> Told:
    one, two = b.claimed(), b.claimed()
    items = [binding.ReleaseItem(one, "1.1", "anna"), binding.ReleaseItem(two, "1.2", "anna", 70)]
    back = ["OK", "pending", 0, "jobs"]
    call = binding.release_call(b.keys, [*items, items[0]])
    return call, [back, ["OK", "scheduled", b.now + 70, "jobs"], back]


@story("release", "not held")
def _(b: Recorder) -> Told:
    one, two = b.claimed(), b.claimed()
    b.run(binding.complete_call(b.keys, [binding.CompleteItem(two, "", "anna")]))
    items = [(one, "1.9"), (two, "1.2"), (b.new_id(), "1.1")]
    call = binding.release_call(b.keys, [binding.ReleaseItem(id, token, "anna") for id, token in items])
    return call, [["CLAIM_LOST"], ["INVALID_STATE", "completed"], ["NOT_FOUND"]]


@story("extend", "by the queue's lease and by one's own, with a cancel request")
def _(b: Recorder) -> Told:
    one, two = b.claimed(), b.claimed()
    b.run(binding.cancel_call(b.keys, [binding.CancelItem(two, "op")]))
    b.now += 100
    items = [binding.ExtendItem(one, "1.1", "anna"), binding.ExtendItem(two, "", "anna", 7)]
    return binding.extend_call(b.keys, items), [["OK", b.now + 30000, 0], ["OK", b.now + 7, 1]]


@story("extend", "not held")
def _(b: Recorder) -> Told:
    one, two = b.claimed(), b.claimed()
    b.run(binding.complete_call(b.keys, [binding.CompleteItem(two, "", "anna")]))
    items = [(one, "1.9"), (two, "1.2"), (b.new_id(), "1.1")]
    call = binding.extend_call(b.keys, [binding.ExtendItem(id, token, "anna") for id, token in items])
    return call, [["CLAIM_LOST"], ["INVALID_STATE", "completed"], ["NOT_FOUND"]]
