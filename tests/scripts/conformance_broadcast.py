"""Cases of subscribe and backfill, and of what publish does in a broadcast queue."""

from __future__ import annotations

from typing import Any

from scaiqueue.broadcast.filters import Filter, encode_filter
from scaiqueue.broadcast.program import compile_roster
from scaiqueue.records import encode_record
from scaiqueue.rows.subscriptions import Roster, SubscriptionRow
from scaiqueue.scripts import binding
from scaiqueue.scripts.runner import Call
from tests.scripts.conformance_recorder import Recorder, story
from tests.scripts.direct import publish_item

Told = tuple[Call, list[Any]]
SPORT = Filter(types=["sport"])


def _row(number: int, name: str, chosen: Filter, window_s: int) -> SubscriptionRow:
    return SubscriptionRow(
        id=f"01900000-0000-7000-8000-0000000000b{number}", tenant_id="acme", scope_id="0", queue="news",
        name=name, slug=f"news.{name}", filter=encode_filter(chosen).decode(), start="latest",
        delivery="pull", dedup_window_s=window_s, state="active", fill_before=-1, filled_to="", filled=0,
        version=1, created_at=0, updated_at=0,
    )  # fmt: skip


def _subscribe(b: Recorder, version: int = 7, **subscriptions: Filter) -> Call:
    rows = [_row(number, name, chosen, 60) for number, (name, chosen) in enumerate(subscriptions.items())]
    return binding.subscribe_call(
        b.keys, b.keys.queue("news"), version, compile_roster(Roster(version, rows))
    )


def _news(b: Recorder, **settings: str | int) -> None:
    """A broadcast queue with a subscription for all and one for some."""
    b.queue("news", access="broadcast", **settings)
    for name in ("all", "sport"):
        b.queue(f"news.{name}", access="copies", **settings)
    b.run(_subscribe(b, all=Filter(), sport=SPORT))


@story("subscribe", "subscriptions, and newer ones")
def _(b: Recorder) -> Told:
    _news(b)
    b.publish("news")
    return _subscribe(b, 8, all=Filter()), [["OK", 1]]


@story("subscribe", "none any more")
def _(b: Recorder) -> Told:
    _news(b)
    return _subscribe(b, 8), [["OK", 0]]


@story("subscribe", "older ones")
def _(b: Recorder) -> Told:
    _news(b)
    return _subscribe(b, 6), [["CONFLICT", 7]]


@story("publish", "copies for subscriptions")
def _(b: Recorder) -> Told:
    _news(b)
    items = [
        publish_item(b.new_id(), '{"type":"sport"}', "1", idem=1, digest="d"),
        publish_item(b.new_id(), '{"type":"fire"}', "2", delay_ms=500, ttl_ms=900),
    ]
    keys = [b.keys.idempotency("news", "k")]
    done = ["OK", "completed"]
    return binding.publish_call(b.keys, [b.keys.queue("news")], keys, "pat", 0, items), [done, done]


@story("publish", "a subscription without room")
def _(b: Recorder) -> Told:
    _news(b, max_depth=1, overflow="dead_letter")
    b.publish("news")
    return b.publish_call("news"), [["OK", "completed"]]


@story("claim", "a copy")
def _(b: Recorder) -> Told:
    _news(b)
    b.publish("news")
    (copy,) = b.members("news.all", "pending")
    record = b.record(copy)
    record.state, record.attempts, record.due_at, record.holder = 3, 1, b.now + 1000, "anna"
    record.token, record.touched_n, record.updated_at = "1.1", record.touched_n + 1, b.now
    items = [binding.ClaimItem("anna", 1, 1000)]
    call = binding.claim_call(b.keys, [b.keys.queue("news.all")], [], "ordered", items)
    return call, [
        ["OK", "1.1", b.now + 1000, [], copy, {"hex": encode_record(record).hex()}, {"hex": "7b7d0a7b7d"}]
    ]


@story("erase", "the envelope that a message and its copies share")
def _(b: Recorder) -> Told:
    _news(b)
    (id,) = b.publish("news")
    (copy,) = b.members("news.all", "pending")
    items = [binding.EraseItem(id, b'{"type":"t"}\nnull'), binding.EraseItem(copy, b"")]
    return binding.erase_call(b.keys, 0, "op", items), [["OK", "completed"], ["OK", "cancelled"]]


@story("erase", "a copy that shares its envelope no longer")
def _(b: Recorder) -> Told:
    _news(b)
    (id,) = b.publish("news")
    (copy,) = b.members("news.all", "pending")
    items = [
        binding.EraseItem(id, b'{"type":"t"}\nnull'),
        binding.EraseItem(copy, b'{"type":"u"}\nnull', "", 1),
    ]
    return binding.erase_call(b.keys, 1, "op", items), [["OK", "completed"], ["OK", "pending"]]


@story("forget", "the last who shares an envelope")
def _(b: Recorder) -> Told:
    b.queue("news", access="broadcast")
    (id,) = b.publish("news")
    return binding.forget_call(b.keys, "", [binding.ForgetItem(id, str(b.record(id).version))]), [["OK"]]


def _stored(b: Recorder, id: str) -> binding.BackfillItem:
    envelope = b.client.hget(b.keys.key("shared"), id)
    assert envelope is not None
    return binding.BackfillItem(id, encode_record(b.record(id)), envelope)


@story("backfill", "one that is wanted, one that is not")
def _(b: Recorder) -> Told:
    b.queue("news", access="broadcast")
    ids = b.publish("news", header='{"type":"sport"}') + b.publish("news")
    _news(b)
    items = [_stored(b, id) for id in ids]
    call = binding.backfill_call(b.keys, b.keys.queue("news"), "news.sport", "pat", items)
    return call, [["OK", "01900000-0000-7d73-968d-3cae12007679"], ["KEPT"]]


@story("backfill", "a subscription that is gone")
def _(b: Recorder) -> Told:
    _news(b)
    (id,) = b.publish("news")
    items = [_stored(b, id)]
    call = binding.backfill_call(b.keys, b.keys.queue("news"), "news.gone", "pat", items)
    return call, [["NOT_FOUND", "subscription"]]
