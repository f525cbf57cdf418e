"""Every table has its place in the registry, and every subject its messages."""

from __future__ import annotations

import msgspec
import pytest

from scaiqueue.erasure.places import KEPT, OF_MESSAGES, OF_STREAMS, OF_SUBJECT, table_names
from scaiqueue.erasure.subject import Subject
from scaiqueue.erasure.tombstone import Content, erased, redacted
from scaiqueue.records import Outcome
from scaiqueue.rows.tables import metadata


def test_every_table_is_erased_or_says_why_not() -> None:
    assert set(metadata.tables) == table_names(), (
        "say in scaiqueue/erasure/places.py what becomes of its rows"
    )
    parts = (OF_MESSAGES, OF_STREAMS, OF_SUBJECT, KEPT)
    assert sum(map(len, parts)) == len(table_names())


HEADER = msgspec.json.encode(
    {
        "type": "t",
        "labels": {"customer": "42", "Ada L.": "x"},
        "source": {"type": "crm", "id": "c-42"},
        "correlation_id": "order/1",
        "causation_id": "Ada's order",
    }
)
BODY = b'{"customer":{"id":"42","tags":["new",7,true,null]},"Ada L.":1.5}'


@pytest.mark.parametrize(
    ("fields", "fits"),
    [
        ({"source_id": "c-42"}, True),
        ({"source_id": "c-4"}, False),
        ({"correlation_id": "order/1", "source_id": "c-42"}, True),
        ({"correlation_id": "order/1", "source_id": "c-43"}, False),
        ({"labels": {"customer": "42"}}, True),
        ({"labels": {"customer": "4"}}, False),
        ({"labels": {"region": "eu"}}, False),
        ({"body": {"customer.id": "42"}}, True),
        ({"body": {"customer.id": 42}}, False),
        ({"body": {"customer.tags.1": 7}}, True),
        ({"body": {"customer.tags.1": 7.0}}, True),
        ({"body": {"customer.tags.2": 1}}, False),
        ({"body": {"customer.tags.3": None}}, True),
        ({"body": {"customer.tags.9": None}}, False),
        ({"body": {"customer.id.deeper": "42"}}, False),
        ({"body": {"customer.id": "42"}, "labels": {"customer": "43"}}, False),
    ],
)
def test_what_a_subject_fits(fields: dict[str, object], fits: bool) -> None:
    assert msgspec.convert(fields, Subject).fits(HEADER, b"", BODY) is fits


def test_labels_count_as_published_and_as_rules_left_them() -> None:
    overlay = b'{"labels":{"customer":"43"}}'
    assert Subject(labels={"customer": "42"}).fits(HEADER, overlay, BODY)
    assert Subject(labels={"customer": "43"}).fits(HEADER, overlay, BODY)
    assert not Subject(body={"a": 1}).fits(HEADER, b"", b"\x00no json")


def test_what_is_left() -> None:
    content = Content(HEADER, BODY, b"", Outcome(b'"Ada"', "because of Ada"))
    gone = erased(content)
    assert (gone.header, gone.body, gone.overlay, gone.outcome) == (
        b'{"type":"t"}',
        b"null",
        b"",
        Outcome(b"", ""),
    )
    left = redacted(content)
    assert msgspec.json.decode(left.header) == {
        "type": "t",
        "labels": {"customer": "[redacted]", "[redacted]": "[redacted]"},
        "source": {"type": "crm", "id": "[redacted]"},
    }
    assert msgspec.json.decode(left.body) == {
        "customer": {"id": "[redacted]", "tags": ["[redacted]", 0, True, None]},
        "[redacted]": 0,
    }
    assert left.outcome == Outcome(b'"[redacted]"', "[redacted]")
    opaque = msgspec.json.encode({"type": "t", "content_type": "text/plain"})
    assert redacted(Content(opaque, b"Ada")).body == b""
    assert redacted(Content(HEADER, b"Ada")).body == b"null"


def test_a_redacted_spec_keeps_the_names_that_decisions_are_checked_against() -> None:
    spec = {
        "sections": [
            {"type": "context", "title": "For Ada", "content": {"name": "Ada"}},
            {"type": "decision", "field": "refund", "options": [{"id": "yes", "label": "Pay Ada"}]},
        ]
    }
    header = msgspec.json.encode({"type": "t", "hitl_spec": spec})
    left = msgspec.json.decode(redacted(Content(header, b"null")).header)["hitl_spec"]
    assert left == {
        "sections": [
            {"type": "context", "title": "[redacted]", "content": {"name": "[redacted]"}},
            {
                "type": "decision",
                "field": "refund",
                "options": [{"id": "yes", "label": "[redacted]"}],
            },
        ]
    }


def test_what_a_rule_asked_a_human_says_nothing_any_more() -> None:
    spec = {"sections": [{"type": "context", "title": "Ada ordered", "content": ["Ada"]}], "timeout_s": 60}
    asked = {"hitl_spec": msgspec.json.encode(spec).decode(), "review_ms": 60_000, "hops": 1}
    left = redacted(Content(HEADER, BODY, msgspec.json.encode(asked)))
    assert b"Ada" not in left.header + left.overlay
    assert msgspec.json.decode(left.header)["hitl_spec"]["timeout_s"] == 60
