"""A rule that matches too often rests, is tried again, and acts as before."""

from __future__ import annotations

from tests.routing.rules import clear_breaker, events, instruct, rule
from tests.scripts.bench import Bench

WINDOW, REST = 10_000, 30_000
MOVE = rule("published", {"route": {"queue": "b"}}, name="hot", queue="a")


def _moved(bench: Bench, number: int) -> int:
    """How many of so many messages the rule moved."""
    before = len(bench.members("b", "pending"))
    bench.publish("a", number)
    return len(bench.members("b", "pending")) - before


def test_open_half_open_closed(bench: Bench) -> None:
    instruct(bench, MOVE, matches=20)
    assert _moved(bench, 15) == 15
    assert _moved(bench, 15) == 5
    bench.now += REST - 1
    assert _moved(bench, 5) == 0
    bench.now += 1
    assert _moved(bench, 2) == 2
    bench.now += WINDOW
    assert _moved(bench, 20) == 20


def test_half_open_opens_again(bench: Bench) -> None:
    instruct(bench, MOVE, matches=20)
    _moved(bench, 30)
    bench.now += REST
    assert _moved(bench, 5) == 2
    bench.now += WINDOW
    assert _moved(bench, 5) == 0


def test_the_window_moves_on(bench: Bench) -> None:
    instruct(bench, MOVE, matches=20)
    for _ in range(5):
        assert _moved(bench, 20) == 20
        bench.now += WINDOW


def test_the_history_tells_of_it_and_the_next_rule_has_its_turn(bench: Bench) -> None:
    instruct(bench, MOVE, rule("published", {"route": {"queue": "c"}}, name="other", queue="a"), matches=1)
    _first, second = bench.publish("a", 2)
    assert events(bench, second) == [
        ("published", "a", ""),
        ("breaker_tripped", "a", "hot"),
        ("routed", "c", "other"),
    ]


def test_a_reset_closes_it(bench: Bench) -> None:
    instruct(bench, MOVE, matches=20)
    _moved(bench, 30)
    clear_breaker(bench, MOVE, matches=20)
    assert _moved(bench, 5) == 5
