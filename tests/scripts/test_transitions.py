"""A tour through the transition table: every row is taken once, with every key compared after each step."""

from __future__ import annotations

from typing import Any

import pytest
from redis import Redis

from scaiqueue.records import State
from scaiqueue.scripts import binding
from tests.scripts import model, model_core, model_holders
from tests.scripts.machine_base import SHARD
from tests.scripts.machine_operators import Operators
from tests.scripts.model_parts import DEAD_QUEUE
from tests.scripts.transitions import TRANSITIONS, check_allowed

CONTENT = {"actor": "pat", "header": b"{}", "body": b"", "idem_key": "", "digest": ""}


class Tour(Operators):
    """One scope; each method is one call on the message that it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.here = self.scope(0)

    def put(self, slug: str, **fields: Any) -> str:
        self.publish(0, [{"queue": slug, **CONTENT, **fields}])
        self.every_key_is_as_in_the_model()
        return max(self.here.messages)

    def take(self, slug: str, visibility_ms: int | None = None) -> str:
        """Claims the first of a queue."""
        keys = self.keys[0]
        items = [binding.ClaimItem("anna", 1, visibility_ms or "")]
        raw = self.call(binding.claim_call(keys, [keys.queue(slug)], [], "ordered", items))
        request = {"holder": "anna", "want": 1, "visibility_ms": visibility_ms, "claim": ""}
        ((word, id),) = self.model.claim(self.here, [slug], "ordered", [request], raw)
        assert (raw[0][0], word) == ("OK", "OK")
        self.every_key_is_as_in_the_model()
        return str(id)

    def held(self, slug: str, visibility_ms: int | None = None, **fields: Any) -> str:
        self.put(slug, **fields)
        return self.take(slug, visibility_ms)

    def give_up(self, id: str, retry_after_ms: int | None = None, retryable: int | None = None) -> None:
        extra = {"reason": "no", "retryable": retryable, "retry_after_ms": retry_after_ms}
        item = {**self.named(id), **extra}
        given = binding.FailItem(**{name: "" if value is None else value for name, value in item.items()})
        call = binding.fail_call(self.keys[0], [given])
        self.agree(call, lambda answered: self.model.fail(self.here, [item], answered))
        self.every_key_is_as_in_the_model()

    def let_go(self, id: str, delay_ms: int | None = None) -> None:
        item = self.named(id)
        call = binding.release_call(self.keys[0], [binding.ReleaseItem(**item, delay_ms=delay_ms or "")])
        self.agree(call, lambda _: self.model.release(self.here, [{**item, "delay_ms": delay_ms}]))
        self.every_key_is_as_in_the_model()

    def named(self, id: str) -> dict[str, str]:
        return {"id": id, "token": self.here.messages[id].record.token, "holder": "anna"}

    def stop(self, id: str) -> None:
        items = [{"id": id, "actor": "op"}]
        call = binding.cancel_call(self.keys[0], [binding.CancelItem(**items[0])])
        self.agree(call, lambda _: self.model.cancel(self.here, items))
        self.every_key_is_as_in_the_model()

    def wipe(self, id: str) -> None:
        envelope = b"{}\nnull"
        call = binding.erase_call(self.keys[0], 0, "op", [binding.EraseItem(id, envelope)])
        self.agree(call, lambda _: self.model.erase(self.here, [id], envelope, False, "op"))
        self.every_key_is_as_in_the_model()

    def wait(self, ms: int) -> None:
        """Time passes, and the sweep settles what is due."""
        self.model.now += ms
        while self.model.sweep(0, self.due())[0][0] != "EMPTY":
            self.sweep(100)
            self.every_key_is_as_in_the_model()

    def due(self) -> list[tuple[str, int]]:
        return [
            (root.decode(), int(at)) for root, at in self.client.zrange(SHARD.due, 0, -1, withscores=True)
        ]

    def dead(self) -> str:
        id = self.held("strict")
        self.give_up(id)
        return id


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> set[tuple[str, str, str]]:
    """The transitions that the model makes."""
    seen: set[tuple[str, str, str]] = set()

    def note(state: str, verb: str, to: str) -> None:
        check_allowed(state, verb, to)
        seen.add((state, verb, to))

    for module in (model, model_core, model_holders):
        monkeypatch.setattr(module, "check_allowed", note)
    return seen


def test_every_row_of_the_table_is_taken(client: Redis, taken: set[tuple[str, str, str]]) -> None:
    Tour.client = client
    tour = Tour()
    _waiting_and_ended(tour)
    _held(tour)
    _dead(tour)
    _lost_redis(tour)
    assert sorted({row[:3] for row in TRANSITIONS} - taken) == []


def _waiting_and_ended(tour: Tour) -> None:
    kinds: tuple[dict[str, Any], ...] = ({}, {"delay_ms": 500}, {"review_ms": 5000})
    for fields in kinds:
        tour.stop(tour.put("jobs", **fields))
        tour.wipe(tour.put("jobs", **fields))
        tour.put("jobs", **fields)
        tour.purge(0, "jobs", 1000)
    for fields in kinds:
        tour.put("jobs", ttl_ms=100, **fields)
    tour.wait(100)
    tour.put("small", delay_ms=9000)
    for _ in range(3):
        tour.put("small")
    tour.put("jobs", delay_ms=10)
    tour.put("jobs", review_ms=10)
    for how in ("escalate", "requeue", "auto:yes"):
        tour.put("jobs", review_ms=10, header=b'{"hitl_spec":{"on_timeout":"%b"}}' % how.encode())
    tour.wait(10)
    reviewed = tour.put("jobs", review_ms=10)
    version = str(tour.here.messages[reviewed].record.version)
    item = {"id": reviewed, "version": version, "actor": "rev", "response": b"{}"}
    call = binding.decide_call(tour.keys[0], [binding.DecideItem(**item)])
    tour.agree(call, lambda _: tour.model.decide(tour.here, [item]))
    tour.purge(0, "jobs", 1000)
    ended = [m for m in tour.here.messages.values() if m.record.state >= State.completed]
    items = [{"id": m.id, "version": str(m.record.version)} for m in ended]
    call = binding.forget_call(tour.keys[0], "", [binding.ForgetItem(**i) for i in items])
    tour.agree(call, lambda _: tour.model.forget(tour.here, items, None))
    tour.every_key_is_as_in_the_model()


def _held(tour: Tour) -> None:
    tour.wipe(tour.held("jobs"))
    id = tour.held("jobs")
    for call, change in (
        (binding.extend_call(tour.keys[0], [binding.ExtendItem(**tour.named(id))]),
         lambda _: tour.model.extend(tour.here, [{**tour.named(id), "visibility_ms": None}])),
        (binding.complete_call(tour.keys[0], [binding.CompleteItem(**tour.named(id))]),
         lambda _: tour.model.complete(tour.here, [{**tour.named(id), "response": b""}])),
    ):  # fmt: skip
        tour.agree(call, change)
    tour.let_go(tour.held("jobs"))
    tour.let_go(tour.take("jobs"), 70)
    tour.give_up(tour.held("jobs"), 60)
    tour.give_up(tour.held("jobs"), 0)
    tour.purge(0, "jobs", 1000)
    tour.held("jobs", 50)
    tour.held("jobs", 50, max_retries=0)
    tour.wait(50)
    tour.purge(0, "jobs", 1000)
    for end in (tour.give_up, tour.let_go, lambda _: tour.wait(50)):
        id = tour.held("jobs", 50)
        tour.stop(id)
        end(id)
        id = tour.held("jobs", 50, ttl_ms=20)
        tour.model.now += 20
        end(id)


def _dead(tour: Tour) -> None:
    tour.purge(0, DEAD_QUEUE, 1000)
    tour.put("spill")
    tour.put("spill")
    tour.let_go(tour.take(DEAD_QUEUE))
    tour.give_up(tour.take(DEAD_QUEUE), 10)
    tour.wait(10)
    tour.take(DEAD_QUEUE, 10)
    tour.wait(10)
    tour.stop(tour.dead())
    tour.wipe(tour.dead())
    id = tour.dead()
    items = [{"id": id, "actor": "op", "target": ""}]
    call = binding.redrive_call(tour.keys[0], [binding.RedriveItem(**items[0])])
    tour.agree(call, lambda _: tour.model.redrive(tour.here, items))
    tour.every_key_is_as_in_the_model()


def _lost_redis(tour: Tour) -> None:
    tour.dead()
    tour.take(DEAD_QUEUE)
    tour.held("prio")
    tour.stop(tour.held("prio"))
    tour.lose_redis()
    tour.every_key_is_as_in_the_model()
