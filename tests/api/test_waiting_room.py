"""Who is woken, and who passes it on. No server is asked here: the room only keeps seats."""

from __future__ import annotations

from contextlib import ExitStack

from redis.asyncio import Redis

from scaiqueue.keys import QueueKeys, ScopeKeys, Shard
from scaiqueue.queueing.waiting import Seat, WaitingRoom

QUEUE: QueueKeys = ScopeKeys(Shard(0), "acme", "scope").queue("tasks")
OTHER: QueueKeys = ScopeKeys(Shard(0), "acme", "scope").queue("other")


def awake(seats: list[Seat]) -> list[int]:
    return [place for place, seat in enumerate(seats) if seat.woken.is_set()]


async def test_a_wake_up_reaches_the_one_who_has_waited_longest() -> None:
    room = WaitingRoom(Redis())
    with room.seat([OTHER]) as elsewhere, room.seat([QUEUE]) as first, room.seat([QUEUE]) as second:
        room.wake(QUEUE.root)
        assert awake([elsewhere, first, second]) == [1]
        room.wake(QUEUE.root)
        assert awake([elsewhere, first, second]) == [1, 2]


async def test_who_leaves_with_messages_wakes_two_more_and_who_saw_nothing_none() -> None:
    room = WaitingRoom(Redis())
    with ExitStack() as waiting:
        with room.seat([QUEUE]):
            seats = [waiting.enter_context(room.seat([QUEUE])) for _ in range(4)]
        assert awake(seats) == [0, 1]
        with room.seat([QUEUE]) as content:
            content.pass_on = False
        assert awake(seats) == [0, 1]


async def test_closing_wakes_everyone() -> None:
    room = WaitingRoom(Redis())
    with room.seat([QUEUE]) as one, room.seat([QUEUE]) as two, room.seat([OTHER]) as three:
        room.close()
        assert awake([one, two, three]) == [0, 1, 2]
