"""Cases of cancel, erase, redrive, decide, purge, sweep, age, forget, restore and configure."""

from __future__ import annotations

from typing import Any

from scaiqueue.records import Record, encode_record
from scaiqueue.scripts import binding
from scaiqueue.scripts.runner import Call
from tests.scripts.conformance_recorder import Recorder, story

Told = tuple[Call, list[list[Any]]]


@story("cancel", "waiting, claimed, ended, unknown")
def _(b: Recorder) -> Told:
    claimed, (waiting,) = b.claimed(), b.publish("jobs")
    items = [binding.CancelItem(id, "op") for id in (waiting, claimed, waiting, b.new_id())]
    first = [["OK", "cancelled"], ["OK", "cancel_requested"]]
    return binding.cancel_call(b.keys, items), [*first, ["INVALID_STATE", "cancelled"], ["NOT_FOUND"]]


@story("erase", "waiting, claimed, delayed, in the dead letter, ended, unknown")
def _(b: Recorder) -> Told:
    held, dead = b.claimed(), b.dead()
    (waiting,), (late,) = b.publish("jobs"), b.publish("jobs", delay_ms=50)
    (ended,) = b.publish("jobs")
    b.run(binding.cancel_call(b.keys, [binding.CancelItem(ended, "op")]))
    ids = (waiting, held, late, dead, ended, b.new_id())
    items = [binding.EraseItem(id, b'{"type":"t"}\nnull') for id in ids]
    return binding.erase_call(b.keys, 0, "op", items), [["OK", "cancelled"]] * 5 + [["NOT_FOUND"]]


@story("erase", "what stays, with other content")
def _(b: Recorder) -> Told:
    held, (waiting,) = b.claimed(), b.publish("jobs")
    items = [binding.EraseItem(id, b'{"type":"t"}\n0', b"\x92\xa0\xa1x") for id in (held, waiting)]
    return binding.erase_call(b.keys, 1, "op", items), [["OK", "claimed"], ["OK", "pending"]]


@story("redrive", "to its origin, to another queue, twice, unknown")
def _(b: Recorder) -> Told:
    b.queue("other", ordering="priority")
    one, two = b.dead(), b.dead()
    pairs = [(one, ""), (two, "other"), (one, ""), (b.new_id(), "")]
    replies = [["OK", "jobs"], ["OK", "other"], ["INVALID_STATE", "pending"], ["NOT_FOUND", "message"]]
    return binding.redrive_call(b.keys, [binding.RedriveItem(id, "op", to) for id, to in pairs]), replies


@story("redrive", "queues that take none")
def _(b: Recorder) -> Told:
    id, states = b.dead(), ("paused", "draining", "archived")
    for state in states:
        b.queue(state, state=state)
    targets = [*states, "_dead_letter", "none"]
    call = binding.redrive_call(b.keys, [binding.RedriveItem(id, "op", to) for to in targets])
    words = ["PAUSED", "DRAINING", "ARCHIVED", "READONLY", "NOT_FOUND"]
    return call, [[word, "queue"] for word in words]


@story("decide", "the version that was seen, an older one, no review, unknown")
def _(b: Recorder) -> Told:
    one, two = b.publish("jobs", 2, review_ms=500)
    (three,) = b.publish("jobs")
    versions = [(one, "1-0"), (two, "1-7"), (three, "1-1"), (b.new_id(), "1-0")]
    call = binding.decide_call(b.keys, [binding.DecideItem(id, v, "rev", "[]") for id, v in versions])
    refused = [["CONFLICT", "1-0"], ["INVALID_STATE", "pending"], ["NOT_FOUND"]]
    return call, [["OK", "completed"], *refused]


@story("purge", "all that waits; what is claimed stays")
def _(b: Recorder) -> Told:
    b.claimed()
    b.publish("jobs", 2)
    b.publish("jobs", delay_ms=5)
    return binding.purge_call(b.keys, b.keys.queue("jobs"), 1000, "op"), [["OK", 3]]


@story("purge", "in bounded steps")
def _(b: Recorder) -> Told:
    b.publish("jobs", 3)
    return binding.purge_call(b.keys, b.keys.queue("jobs"), 2, "op"), [["MORE", 2]]


@story("sweep", "a lost lease, a delay, an expiry")
def _(b: Recorder) -> Told:
    b.claimed()
    b.publish("jobs", delay_ms=5)
    b.publish("jobs", ttl_ms=5)
    b.now += 30000
    return binding.sweep_call(b.keys.shard, 100), [["OK", b.keys.queue("jobs").root, 3, 1, 1, 1, 0]]


@story("sweep", "in bounded steps")
def _(b: Recorder) -> Told:
    b.publish("jobs", 3, delay_ms=5)
    b.now += 5
    return binding.sweep_call(b.keys.shard, 2), [["MORE", b.keys.queue("jobs").root, 2, 0, 2, 0, 0]]


@story("sweep", "nothing due yet")
def _(b: Recorder) -> Told:
    b.publish("jobs", delay_ms=5)
    return binding.sweep_call(b.keys.shard, 2), [["EMPTY", b.now + 5]]


@story("sweep", "nothing that ever will be")
def _(b: Recorder) -> Told:
    return binding.sweep_call(b.keys.shard, 2), [["EMPTY", -1]]


@story("sweep", "reviews that nobody decided: by option, to consumers, escalated twice, expired")
def _(b: Recorder) -> Told:
    for how in ("auto:yes", "requeue", "escalate", "expire"):
        b.publish("jobs", review_ms=5, header=f'{{"hitl_spec":{{"on_timeout":"{how}"}}}}')
    b.publish("jobs", review_ms=12)
    b.now += 5
    b.run(binding.sweep_call(b.keys.shard, 100))
    b.now += 7
    return binding.sweep_call(b.keys.shard, 100), [["OK", b.keys.queue("jobs").root, 2, 0, 0, 2, 0]]


@story("age", "what has waited long enough")
def _(b: Recorder) -> Told:
    b.queue("rank", ordering="priority", aging="1000 500 1000")
    b.publish("rank", 2, rank=0)
    b.now += 1000
    b.publish("rank", rank=0)
    return binding.age_call(b.keys, b.keys.queue("rank"), 1000, ""), [["OK", 2, 0]]


@story("age", "in bounded steps")
def _(b: Recorder) -> Told:
    b.queue("rank", ordering="priority", aging="1000 500 1000")
    b.publish("rank", 3, rank=0)
    b.now += 1000
    return binding.age_call(b.keys, b.keys.queue("rank"), 2, ""), [["MORE", 2, 1]]


@story("forget", "ended and committed; still live; newer than the rows")
def _(b: Recorder) -> Told:
    one, (two,) = b.claimed(), b.publish("jobs", delay_ms=9)
    (three,) = b.publish("jobs")
    b.run(binding.complete_call(b.keys, [binding.CompleteItem(one, "", "anna", "[]")]))
    b.run(binding.cancel_call(b.keys, [binding.CancelItem(three, "op")]))
    versions = [(one, "1-4"), (two, "1-2"), (three, "1-3")]
    call = binding.forget_call(b.keys, 3, [binding.ForgetItem(id, version) for id, version in versions])
    return call, [["OK"], ["KEPT"], ["KEPT"]]


@story("restore", "waiting, claimed, ended; an older row")
def _(b: Recorder) -> Told:
    def row(number: int, state: int, due_at: int = 0) -> binding.RestoreItem:
        # fmt: off
        record = Record("jobs", state, 1, number, 2500, 0, 0, 5, "1.1", "anna", "",
                        1, 5, -1, b.now, 0, due_at, b.now)
        # fmt: on
        return binding.RestoreItem(b.new_id(), encode_record(record), b"{}\n{}")

    rows = [row(1, 2), row(2, 3, due_at=9), row(3, 1, due_at=99), row(4, 5)]
    b.command("DEL", b.keys.shard.epoch)
    b.run(binding.restore_call(b.keys, 0, 0, rows[:1], epoch=2))
    return binding.restore_call(b.keys, 40, 50, rows, epoch=2), [["KEPT"], ["OK"], ["OK"], ["OK"]]


@story("repair", "in no set, in the wrong sets, known to the rows alone, to nobody, and a key of nobody")
def _(b: Recorder) -> Told:
    held = b.claimed()
    lost, wrong = b.publish("jobs", 2)
    jobs, dead = b.keys.queue("jobs"), b.keys.queue("_dead_letter")
    b.command("ZREM", jobs.key("pending"), lost)
    b.command("ZADD", dead.key("claimed"), "5", wrong)
    b.command("ZADD", dead.key("pending"), "5", nobody := b.new_id())
    b.command("DEL", b.keys.shard.due)
    b.command("HSET", b.keys.key("overlay"), nobody, "{}")
    b.command("SET", b.keys.idempotency("jobs", "k"), f"{nobody} d", "PX", "1000")
    # fmt: off
    record = Record("jobs", 3, 1, 9, 2500, 0, 0, 5, "1.1", "anna", "", 1, 5, -1, b.now, 0, b.now + 9, b.now)
    # fmt: on
    items = [
        binding.RepairItem(lost, "unplaced"),
        binding.RepairItem(wrong, "lease_without_claim"),
        binding.RepairItem(held, "due_missing"),
        binding.RepairItem(b.new_id(), "not_indexed", encode_record(record), b"{}\n{}"),
        binding.RepairItem(nobody, "unknown_member", idem=1),
    ]
    call = binding.repair_call(b.keys, [jobs, dead], [b.keys.idempotency("jobs", "k")], 40, 0, items)
    return call, [["OK"], ["OK"], ["OK"], ["OK"], ["NOT_FOUND"]]


def _configure(b: Recorder, version: int, **fields: str) -> Call:
    items = [binding.ConfigureItem(name, value) for name, value in fields.items()]
    return binding.configure_call(b.keys, [b.keys.queue("jobs")], version, items)


@story("configure", "a setting, and one taken away")
def _(b: Recorder) -> Told:
    return _configure(b, 9, max_depth="5", max_retries=""), [["OK"]]


@story("configure", "an older version than the one in force")
def _(b: Recorder) -> Told:
    return _configure(b, 1, max_depth="5"), [["CONFLICT", b.version]]


@story("configure", "removing a queue that is empty")
def _(b: Recorder) -> Told:
    return _configure(b, 9, state="removed"), [["OK"]]


@story("configure", "removing a queue that is not empty")
def _(b: Recorder) -> Told:
    b.publish("jobs")
    return _configure(b, 9, state="removed"), [["INVALID_STATE", 1]]
