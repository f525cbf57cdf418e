"""Spliced answers are those that encoding the whole model gives."""

from __future__ import annotations

import base64
from typing import Any

import msgspec
import pytest

from scaiqueue import moments
from scaiqueue.keys import ScopeKeys, Shard
from scaiqueue.queueing.claim import Lease
from scaiqueue.queueing.header import Header, Priority, Source, encode_header, read_header
from scaiqueue.queueing.message import NO_OUTCOME, ClaimedMessage, Message, Place, fields_of
from scaiqueue.queueing.publish import Draft, Published
from scaiqueue.queueing.splicing import claimed_json, published_json
from scaiqueue.records import Flag, Outcome, Record, State, encode_record, join_envelope
from scaiqueue.scripts.binding import PublishOptions

PLACE = Place("default", "scope-id", "queue-id")
QUEUE = ScopeKeys(Shard(1), "default", "scope-id").queue("jobs")
ID = "0191d2f0-0000-7000-8000-000000000001"
AT = 1_732_551_234_567
HEADERS = [
    Header(type="t"),
    Header(type='"\\é\0', labels={"a": "\0", "b": '"'}, source=Source("shop", "1"), correlation_id="c"),
    Header(type="t", content_type="application/vnd.a+json; v=1", ttl_seconds=1.5, parent_id=ID),
    Header(type="t", priority=Priority("high", 7), idempotency_key="k" * 200),
    Header(type="t", labels={str(n): "x" * 200 for n in range(64)}),
    Header(type="t", idempotency_key="k1", priority=Priority("low")),
    Header(type="t", idempotency_key='é"\\'),
    Header(type="t", labels={"idempotency_key": "k1"}),
    Header(type="t", labels={"idempotency_key": "k1"}, idempotency_key="k1"),
]


def record(**fields: Any) -> Record:
    given: dict[str, Any] = {
        "queue": "jobs", "state": int(State.claimed), "attempts": 3, "seq": 9, "rank": 2500, "deadline": 0,
        "expires_at": 0, "size": 10, "token": "1.42", "holder": "key-id/wörker", "verb": "",
        "touched_epoch": 1, "touched_n": 5, "max_retries": -1, "created_at": AT, "flags": 0,
        "due_at": AT + 30_000, "updated_at": AT + 5,
    }  # fmt: skip
    return Record(**given | fields)


def whole(record: Record, header: Header, body: bytes, outcome: Outcome = NO_OUTCOME) -> bytes:
    return msgspec.json.encode(
        ClaimedMessage(
            **fields_of(PLACE, ID, record, header, body, outcome),
            claim_token="1.42",
            lease_expires_at=moments.text(record.due_at),
        )
    )


def lease(record: Record, header: Header, body: bytes, **extras: tuple[bytes, bytes]) -> Lease:
    message = [ID.encode(), encode_record(record), join_envelope(encode_header(header), body)]
    return Lease(b"1.42", message, {name.encode(): extra for name, extra in extras.items()})


@pytest.mark.parametrize("header", HEADERS)
def test_claimed_messages(header: Header) -> None:
    records = [
        record(),
        record(attempts=65535, holder="k", created_at=AT - 999, rank=0),
        record(due_at=AT + 1, updated_at=AT + 2),
    ]
    bodies = [b'{"n":1}', b'"\xc3\xa9"', b"null"]
    leases = [lease(kind, header, body) for kind in records for body in bodies]
    expected = [whole(kind, header, body) for kind in records for body in bodies]
    for _ in range(2):  # the second time templates are kept
        assert claimed_json({"jobs": PLACE}, leases) == b"[" + b",".join(expected) + b"]"


def test_messages_that_differ_in_their_keys() -> None:
    def batch(*labels: str) -> tuple[Lease, bytes]:
        messages, expected = list[bytes](), list[bytes]()
        for number, label in enumerate(labels):
            named = {"idempotency_key": label} if label else {}
            # One by one they share a shape, a template, or neither.
            for header in (
                Header(type="t", idempotency_key=f"k{number}", labels=named),
                Header(type="t", labels={"idempotency_key": f"k{number}"}),
                Header(type="t", labels=named, idempotency_key=None if number % 2 else "same"),
            ):
                messages += (ID.encode(), encode_record(record()), join_envelope(encode_header(header), b"1"))
                expected.append(whole(record(), header, b"1"))
        return Lease(b"1.42", messages, {}), b",".join(expected)

    for labels in (("", "", ""), ("same", "k1", "k0"), ("", "k1", "")):
        for _ in range(2):
            given, expected = batch(*labels)
            assert claimed_json({"jobs": PLACE}, [given]) == b"[%b]" % expected


def test_a_header_that_says_it_twice() -> None:
    """As a direct caller may write it: what counts is what a reader finds."""
    for text in (
        b'{"type":"t","labels":{"idempotency_key":"k"},"idempotency_key": "k"}',
        b'{"type":"t","labels":{"idempotency_key":"k"},"idempotency\\u005fkey":"k"}',
        b'{"type":"t","idempotency_key":"k","idempotency_key":"l"}',
        b'{"type":"t","idempotency_key":"","labels":{}}',
        b'{"type":"t","idempotency_key":"k',
    ):
        envelope = join_envelope(text, b"1")
        expected = whole(record(), read_header(text), b"1")
        for _ in range(2):
            given = Lease(b"1.42", [ID.encode(), encode_record(record()), envelope], {})
            assert claimed_json({"jobs": PLACE}, [given]) == b"[%b]" % expected


@pytest.mark.parametrize(
    ("fields", "header", "body"),
    [
        ({}, Header(type="t"), b"no json"),
        ({}, Header(type="t"), b'"\xff"'),
        ({}, Header(type="t", content_type="text/plain"), b"{}"),
        ({"deadline": AT + 1, "expires_at": AT + 2}, Header(type="t"), b"{}"),
        ({"origin": ("other", "failed", 3, AT)}, Header(type="t"), b"{}"),
    ],
)
def test_claimed_messages_with_something_special(fields: Any, header: Header, body: bytes) -> None:
    special = record(**fields)
    plain = lease(record(), Header(type="t"), b"1")
    given = claimed_json({"jobs": PLACE}, [lease(special, header, body), plain])
    assert given == b"[%b,%b]" % (whole(special, header, body), whole(record(), Header(type="t"), b"1"))


def test_the_outcome_of_an_earlier_attempt() -> None:
    failed = record(flags=int(Flag.outcome))
    packed = msgspec.msgpack.encode(("", "timeout"))
    given = claimed_json({"jobs": PLACE}, [lease(failed, HEADERS[0], b"1", **{ID: (b"", packed)})])
    assert given == b"[%b]" % whole(failed, HEADERS[0], b"1", Outcome(b"", "timeout"))


def test_nothing_claimed() -> None:
    assert claimed_json({"jobs": PLACE}, []) == b"[]"


@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.parametrize("by_rank", [False, True])
def test_published_messages(header: Header, by_rank: bool) -> None:
    rank = header.priority.rank if header.priority else 2500
    options = PublishOptions(rank=rank) if header.priority else None
    draft = Draft(QUEUE, "key-id", encode_header(header), b'{"n":1}', options=options)
    expected = msgspec.json.encode(
        Message(
            **fields_of(
                PLACE,
                ID,
                record(
                    state=State.pending, rank=rank, attempts=0, holder="", token="", due_at=0, updated_at=AT
                ),
                header,
                draft.body,
                NO_OUTCOME,
                rank if by_rank else None,
            )
        )
    )
    for _ in range(2):
        assert published_json(PLACE, draft, Published(ID, "pending", AT), by_rank=by_rank) == expected


def test_published_messages_with_something_special() -> None:
    options = PublishOptions(delay_ms=1000, deadline=AT + 5000)
    draft = Draft(QUEUE, "key-id", encode_header(HEADERS[0]), b"{}", options=options)
    delayed = msgspec.json.decode(published_json(PLACE, draft, Published(ID, "scheduled", AT), by_rank=True))
    assert delayed["visible_at"] == moments.text(AT + 1000)
    assert delayed["deadline"] == moments.text(AT + 5000)
    assert delayed["effective_rank"] is None
    text = Draft(QUEUE, "key-id", encode_header(Header(type="t", content_type="text/plain")), b"hello")
    shown = msgspec.json.decode(published_json(PLACE, text, Published(ID, "pending", AT), by_rank=False))
    assert base64.b64decode(shown["body"]) == b"hello"
