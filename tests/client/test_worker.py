"""The worker, on a real server and on the queue in memory."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from scaiqueue.client import (
    App,
    Backoff,
    Claimed,
    Client,
    Context,
    DeadLetter,
    Draft,
    Hooks,
    Refused,
    RetryLater,
    ThreadContext,
    Unreachable,
    Worker,
)
from scaiqueue.client.memory import MemoryQueue
from scaiqueue.client.transport import Answer
from tests.client.conftest import Ground
from tests.eventually import eventually


class Email(msgspec.Struct):
    to: str
    subject: str = ""


class Ends(Hooks):
    """What became of each message, by type."""

    def __init__(self) -> None:
        self.results: list[tuple[str, str]] = []
        self.shares: list[tuple[float, str]] = []

    def ended(self, message: Claimed, result: str, seconds: float, error: BaseException | None) -> None:
        self.results.append((message.type, result))

    def progressed(self, message: Claimed, share: float, note: str) -> None:
        self.shares.append((share, note))


async def shown(ground: Ground, id: str) -> Any:
    return await ground.client.call("GET", f"/scopes/{ground.scope}/messages/{id}")


async def test_jobs_are_typed_from_end_to_end(ground: Ground) -> None:
    app = App(ground.client, queue=await ground.queue())
    seen: list[Email] = []

    @app.job("email:send")
    async def send(email: Email) -> dict[str, str]:
        seen.append(email)
        return {"sent": email.to}

    sent = await send.submit(Email("a@example.org"))
    await app.submit("email:send", {"to": "b@example.org"})
    await ground.client.publish_many(send.queue, [send.draft(Email("c@example.org"))])
    assert await Worker(app).run(until_empty=True)
    assert seen == [Email("a@example.org"), Email("b@example.org"), Email("c@example.org")]
    assert (await shown(ground, sent.id))["response"] == {"sent": "a@example.org"}
    assert await send(Email("d@example.org")) == {"sent": "d@example.org"}


async def test_failures_by_exception(ground: Ground) -> None:
    queue = await ground.queue(backoff={"strategy": "fixed", "base_s": 300, "jitter": "none"})
    app, ends = App(ground.client, queue=queue), Ends()

    @app.job("listed", dead_letter=(LookupError,), retry_after_s={OSError: 60})
    async def listed(name: str) -> None:
        raise {"key": KeyError, "os": OSError, "other": ArithmeticError}[name](name)

    @app.job("raised")
    def raised(name: str) -> None:
        raise DeadLetter("no such customer") if name == "dead" else RetryLater(120, "busy")

    @app.job("typed")
    async def typed(email: Email) -> None:
        raise AssertionError("never called")

    @app.job("slow", timeout_s=0.01)
    async def slow(_: None) -> None:
        await asyncio.Event().wait()

    sent = {
        name: await ground.client.publish(queue, type, body)
        for name, type, body in (
            ("key", "listed", "key"),
            ("os", "listed", "os"),
            ("other", "listed", "other"),
            ("dead", "raised", "dead"),
            ("busy", "raised", "busy"),
            ("unfit", "typed", {"to": 1}),
            ("slow", "slow", None),
            ("unknown", "unknown", None),
        )
    }
    await Worker(app, hooks=[ends]).run(until_empty=True)
    found = {name: await shown(ground, one.id) for name, one in sent.items()}
    dead = {name: one["failure_reason"] for name, one in found.items() if one["queue"] == "_dead_letter"}
    assert dead == {
        "key": "KeyError: 'key'",
        "dead": "no such customer",
        "unfit": "PayloadError: not Email: Expected `str`, got `int` - at `$.to`",
    }
    retried = {name: one["failure_reason"] for name, one in found.items() if one["state"] == "scheduled"}
    assert retried == {
        "os": "OSError: os",
        "other": "ArithmeticError: other",
        "busy": "busy",
        "slow": "TimeoutError",
        "unknown": f"NoHandler: no handler for type 'unknown' in queue '{queue}'",
    }
    assert found["os"]["visible_at"] < found["busy"]["visible_at"] < found["other"]["visible_at"]
    assert sorted(result for _, result in ends.results) == ["dead_letter"] * 3 + ["failed"] * 5


async def test_concurrency_is_a_bound_and_prefetch_another(ground: Ground) -> None:
    app = App(ground.client, queue=await ground.queue())
    go, running, most = asyncio.Event(), 0, 0

    @app.job("t")
    async def handle(_: int) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await go.wait()
        running -= 1

    await ground.client.publish_many(app.queue, [Draft("t", number) for number in range(20)])
    async with Worker(app, concurrency=3, prefetch=4):
        await eventually(lambda: running == 3)
        assert await ground.depths(app.queue) == (13, 7, 0)
        go.set()

        async def done() -> bool:
            return await ground.depths(app.queue) == (0, 0, 0)

        await eventually(done)
    assert most == 3


async def test_a_queue_has_a_handler_for_what_no_job_handles(ground: Ground) -> None:
    app = App(ground.client, queue=await ground.queue())
    seen: list[tuple[str, Any, int]] = []

    @app.job("typed")
    async def typed(number: int, context: Context) -> None:
        seen.append(("typed", number, context.attempt))

    @app.handle(app.queue)
    async def rest(message: Claimed) -> None:
        seen.append((message.type, message.json(), message.attempts))

    for type in ("typed", "other"):
        await ground.client.publish(app.queue, type, 1)
    await Worker(app, concurrency=1).run(until_empty=True)
    assert seen == [("typed", 1, 1), ("other", 1, 1)]


async def test_threads(ground: Ground) -> None:
    app, ends = App(ground.client, queue=await ground.queue()), Ends()
    together = threading.Barrier(3, timeout=20)

    @app.job("t")
    def handle(number: int, context: ThreadContext) -> int:
        together.wait()
        context.extend(60)
        context.progress(0.5, "half")
        return number + context.attempt

    sent = [await handle.submit(number) for number in range(3)]
    await Worker(app, concurrency=3, hooks=[ends]).run(until_empty=True)
    assert [(await shown(ground, one.id))["response"] for one in sent] == [1, 2, 3]
    assert ends.shares == [(0.5, "half")] * 3


async def test_leases_are_kept_alive_by_one_call(ground: Ground) -> None:
    app, go = App(ground.client, queue=await ground.queue()), asyncio.Event()
    began = 0

    @app.job("t")
    async def handle(_: int) -> None:
        nonlocal began
        began += 1
        await go.wait()

    sent = [await handle.submit(number) for number in range(4)]
    async with Worker(app, concurrency=2, prefetch=2, visibility_timeout_s=1):
        await eventually(lambda: began == 2)
        first = [(await shown(ground, one.id))["visible_at"] for one in sent]

        async def extended() -> bool:
            now = [await shown(ground, one.id) for one in sent]
            assert {one["attempts"] for one in now} == {1}
            return all(one["visible_at"] > then for one, then in zip(now, first, strict=True))

        await eventually(extended)
        go.set()


async def test_a_lost_lease_ends_the_handler(ground: Ground) -> None:
    app, ends = App(ground.client, queue=await ground.queue()), Ends()
    cancelled = asyncio.Event()

    @app.job("t")
    async def handle(_: int, context: Context) -> None:
        try:
            # Behind the worker's back, as if the lease had ended.
            await ground.client.fail(context.message, retry_after_s=60)
            await asyncio.Event().wait()
        finally:
            assert context.cancelled
            cancelled.set()

    sent = await handle.submit(1)
    async with Worker(app, visibility_timeout_s=1, hooks=[ends]):
        await asyncio.wait_for(cancelled.wait(), 20)
        await eventually(lambda: ("t", "lost") in ends.results)
    assert sent.id


async def test_who_is_asked_to_cancel_hears_of_it(ground: Ground) -> None:
    app = App(ground.client, queue=await ground.queue())

    @app.job("t")
    async def handle(_: int, context: Context) -> None:
        await ground.client.call("POST", f"/scopes/{ground.scope}/messages/{context.message.id}/cancel")
        await eventually(lambda: context.cancelled)
        raise RuntimeError("as you wish")

    running, waiting = [await handle.submit(number) for number in range(2)]
    async with Worker(app, concurrency=1, prefetch=1, visibility_timeout_s=1):

        async def both_cancelled() -> bool:
            return all([(await shown(ground, one.id))["state"] == "cancelled" for one in (running, waiting)])

        await eventually(both_cancelled)


async def test_a_stop_lets_handlers_end_and_returns_the_rest(ground: Ground) -> None:
    app, began, go = App(ground.client, queue=await ground.queue()), asyncio.Event(), asyncio.Event()

    @app.job("t")
    async def handle(_: int) -> None:
        began.set()
        await go.wait()

    sent = [await handle.submit(number) for number in range(3)]
    worker = Worker(app, concurrency=1, prefetch=1)
    running = asyncio.create_task(worker.run())
    await began.wait()
    worker.stop()

    async def returned() -> bool:
        return await ground.depths(app.queue) == (2, 1, 0)

    await eventually(returned)
    go.set()
    assert await running
    found = [await shown(ground, one.id) for one in sent]
    assert [(one["state"], one["attempts"]) for one in found] == [
        ("completed", 1),
        ("pending", 0),
        ("pending", 0),
    ]


@pytest.mark.parametrize("threaded", [False, True])
async def test_a_second_stop_cancels_and_costs_no_attempt(ground: Ground, threaded: bool) -> None:
    app, ends = App(ground.client, queue=await ground.queue()), Ends()
    began, told = threading.Event(), threading.Event()

    if threaded:

        @app.job("t")
        def in_thread(_: int, context: ThreadContext) -> None:
            began.set()
            while not context.cancelled:
                told.wait(0.01)
            raise RuntimeError("stopped")

    else:

        @app.job("t")
        async def in_loop(_: int) -> None:
            began.set()
            await asyncio.Event().wait()

    sent = await app.submit("t", 1)
    worker = Worker(app, grace_s=3600, hooks=[ends])
    running = asyncio.create_task(worker.run())
    await eventually(began.is_set)
    worker.stop()
    worker.stop()
    assert not await running
    found = await shown(ground, sent.id)
    assert (found["state"], found["attempts"]) == ("pending", 0)
    assert ends.results == [("t", "released")]


async def test_several_queues_are_served_by_turns(ground: Ground) -> None:
    app, seen = App(ground.client), list[str]()
    one, two = await ground.queue(), await ground.queue()

    @app.job("one", queue=one)
    async def first(_: None) -> None:
        seen.append("one")

    @app.job("two", queue=two)
    async def second(_: None) -> None:
        seen.append("two")

    for type in ("one", "two"):
        for _ in range(4):
            await app.submit(type, None)
    await Worker(app, concurrency=1, prefetch=1).run(until_empty=True)
    assert sorted(seen) == ["one"] * 4 + ["two"] * 4
    assert set(seen[:2]) == {"one", "two"}


class Away(MemoryQueue):
    """Hears nothing of calls whose path ends so, as often as is said."""

    def __init__(self, verb: str, times: int) -> None:
        super().__init__({"s": ["q"]})
        self.verb, self.times = verb, times

    async def send(
        self, method: str, path: str, content: bytes | None, headers: Mapping[str, str], timeout_s: float
    ) -> Answer:
        if path.endswith(self.verb) and self.times:
            self.times -= 1
            raise Unreachable("away")
        return await super().send(method, path, content, headers, timeout_s)

    def app(self) -> App:
        return App(Client(scope="s", transport=self, backoff=Backoff(attempts=1)), queue="q")


async def test_a_lease_that_cannot_be_extended_is_lost_when_its_time_is_over() -> None:
    app, ends, cancelled = Away("/extend", 1000).app(), Ends(), asyncio.Event()

    @app.job("t")
    async def handle(_: None) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    await handle.submit(None)
    async with Worker(app, concurrency=1, prefetch=0, visibility_timeout_s=1, hooks=[ends]):
        await asyncio.wait_for(cancelled.wait(), 20)
        await eventually(lambda: ("t", "lost") in ends.results)


@pytest.mark.parametrize("verb", ["/complete", "/claim"])
async def test_a_worker_outlives_a_queue_that_is_away(verb: str) -> None:
    queue = Away(verb, 1)
    app, done = queue.app(), list[int]()

    @app.job("t")
    async def handle(number: int) -> None:
        done.append(number)

    sent = await handle.submit(1)
    async with Worker(app):

        async def completed() -> bool:
            shown = await app.client.call("GET", f"/scopes/s/messages/{sent.id}")
            return bool(shown["state"] == "completed")

        await eventually(completed)
    assert done == [1]


async def test_a_response_that_cannot_be_kept_is_for_a_person_to_see(ground: Ground) -> None:
    app = App(ground.client, queue=await ground.queue())

    @app.job("t")
    async def handle(size: int) -> str:
        return "x" * size

    # Larger than a body may be, and than a whole request.
    *large, small = [await handle.submit(size) for size in (300_000, 9_000_000, 3)]
    await Worker(app).run(until_empty=True)
    assert (await shown(ground, small.id))["response"] == "xxx"
    for sent in large:
        found = await shown(ground, sent.id)
        assert found["queue"] == "_dead_letter"
        assert "SCAIQUEUE_MESSAGE_TOO_LARGE" in found["failure_reason"]


async def test_a_worker_that_may_claim_nothing_says_so(ground: Ground) -> None:
    app = App(ground.client, queue="missing")

    @app.job("t")
    async def handle(_: int) -> None: ...

    with pytest.raises(Refused, match="SCAIQUEUE_QUEUE_NOT_FOUND"):
        await Worker(app).run()


async def test_a_handler_may_submit_and_settle_for_itself(ground: Ground) -> None:
    """A chain of jobs, the next submitted by the one before."""
    app, seen = App(ground.client, queue=await ground.queue()), list[int]()

    @app.job("count")
    async def count(number: int) -> None:
        seen.append(number)
        if number:
            await app.submit("count", number - 1)

    await count.submit(5)
    await Worker(app).run(until_empty=True)
    assert seen == [5, 4, 3, 2, 1, 0]
