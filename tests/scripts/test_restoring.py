"""Restore: void leases, granted cancel requests, and an index that is older than the rows."""

from __future__ import annotations

import pytest
from redis import Redis

from scaiqueue.records import Record, State, encode_record
from scaiqueue.scripts import binding
from scaiqueue.scripts.replies import NotReadyError
from tests.scripts.bench import Bench
from tests.scripts.shard import decode_entry


@pytest.fixture
def bench(client: Redis) -> Bench:
    bench = Bench(client)
    bench.queue("one")
    return bench


def _row(bench: Bench, id: str) -> binding.RestoreItem:
    envelope = bench.client.hget(bench.keys.key("body"), id)
    return binding.RestoreItem(id, bench.client.hget(bench.keys.key("state"), id), envelope)


def _restore(bench: Bench, rows: list[binding.RestoreItem]) -> list[list[str]]:
    bench.client.delete(bench.keys.shard.epoch)
    replies = bench.words(binding.restore_call(bench.keys, 50, 60, rows, epoch=2))
    bench.client.set(bench.keys.shard.epoch, 2)
    return replies


def test_a_cancel_request_is_granted_when_the_lease_is_void(bench: Bench) -> None:
    ids = bench.publish("one", 2)
    bench.claim("one", want=2)
    bench.run(binding.cancel_call(bench.keys, [binding.CancelItem(ids[0], "op")]))
    rows = [_row(bench, id) for id in ids]
    bench.client.flushall()
    bench = Bench(bench.client)
    bench.queue("one")
    assert _restore(bench, rows) == [["OK"], ["OK"]]
    assert bench.claim("one", want=2) == ("OK", ids[1:])
    assert [bench.record(id).state for id in ids] == [State.cancelled, State.claimed]
    assert [bench.record(ids[1]).attempts, bench.record(ids[1]).token] == [2, "2.61"]
    (_, first), _ = bench.client.xrange(bench.keys.shard.journal)
    events = {id: lines[0][0] for id, lines in decode_entry(first).events.items()}
    assert events == {ids[0]: "cancelled", ids[1]: "restored"}


def test_a_newer_row_leaves_nothing_of_the_older_index(bench: Bench) -> None:
    """The index still has the message waiting with a TTL; in the rows it went to the dead letter."""
    (id,) = bench.publish("one", ttl_ms=1000)
    old = bench.record(id)
    new = Record(**{**{f: getattr(old, f) for f in old.__struct_fields__}, "touched_n": 9, "expires_at": 0})
    new.queue, new.origin = "_dead_letter", ("one", "gone wrong", 0, bench.now)
    row = _row(bench, id)._replace(record=encode_record(new))
    assert _restore(bench, [row]) == [["OK"]]
    assert bench.members("one", "pending") == bench.members("one", "expiry") == []
    assert bench.members("_dead_letter", "pending") == [id]
    assert _restore(bench, [row]) == [["KEPT"]]


def test_only_while_the_shard_is_closed(bench: Bench) -> None:
    ids = bench.publish("one")
    with pytest.raises(NotReadyError):
        bench.run(binding.restore_call(bench.keys, 0, 0, [_row(bench, ids[0])], epoch=2))
    bench.client.delete(bench.keys.shard.epoch)
    with pytest.raises(NotReadyError):
        bench.claim("one")
