"""The demo carries through, on embedded and on named servers; and its checks would find a fault."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import pytest

from loadtest.consumer import Delivery
from loadtest.crew import Course
from loadtest.events import event_message, labels_of, tier_of
from loadtest.verdict import Row, judge
from loadtest.webhooks import Webhook, generated_webhooks, load_webhooks
from scaiqueue.records import State
from tests.servers import RedisServer


def run_demo(*options: str) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SCAIQUEUE_")}
    done = subprocess.run(
        [sys.executable, "-m", "loadtest.demo", "--messages", "40", "--lease-s", "1", *options],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_a_short_demo_on_embedded_servers() -> None:
    said = run_demo("--consumers", "3")
    assert "FAILED" not in said
    assert "40 of 40" in said


def test_a_short_demo_on_redis_and_mariadb(
    redis_server: RedisServer, redis_url: str, mariadb_url: str
) -> None:
    said = run_demo("--consumers", "2", "--redis-url", redis_url, "--database-url", mariadb_url)
    assert "FAILED" not in said


def test_messages_are_made_from_what_the_payloads_say() -> None:
    for number, hook in enumerate([*load_webhooks(), *generated_webhooks()]):
        message = event_message(number, hook)
        assert bytes(message.body) == hook.body
        assert message.labels["event"] == hook.event
    assert labels_of("issues", b'{"action":"opened","repository":{"full_name":"a/b"},"sender":7}') == {
        "event": "issues",
        "action": "opened",
        "repository": "a/b",
    }
    assert tier_of("security_advisory") == "critical"
    assert tier_of("issues") == "normal"


HOOKS = {"m1": Webhook("push", b'{"a": 1}'), "m2": Webhook("star", b"[]")}


def good_end() -> tuple[dict[str, Row], Course]:
    rows = {
        "m1": Row(State.completed, 1, b'{"a": 1}', [("claimed", 1, "k/c1"), ("completed", 1, "k/c1")]),
        "m2": Row(
            State.completed,
            2,
            b"[]",
            [("claimed", 1, "k/c2"), ("lease_lost", 1, ""), ("claimed", 2, "k/c1"), ("completed", 2, "k/c1")],
        ),
    }
    deliveries = [
        Delivery("m1", "github.push", 1, b'{"a": 1}'),
        Delivery("m2", "github.star", 1, b"[]"),
        Delivery("m2", "github.star", 2, b"[]"),
    ]
    return rows, Course(deliveries, {"m1", "m2"}, 0, "c2", {"m2"})


def changed(id: str, **fields: object) -> Callable[[dict[str, Row], Course], None]:
    return lambda rows, course: rows.update({id: rows[id]._replace(**fields)})  # type: ignore[arg-type]


def test_the_checks_hold_where_all_is_well() -> None:
    assert [check.good for check in judge(HOOKS, *good_end())] == [True] * 4


@pytest.mark.parametrize(
    ("place", "spoil"),
    [
        (0, lambda rows, course: course.deliveries.append(Delivery("m1", "github.push", 2, b'{"a":1}'))),
        (0, lambda rows, course: course.deliveries.append(Delivery("m1", "github.star", 2, b'{"a": 1}'))),
        (0, lambda rows, course: course.deliveries.append(Delivery("m3", "github.star", 1, b"[]"))),
        (0, lambda rows, course: course.deliveries.pop(0)),
        (1, changed("m1", body=b'{"a":1}')),
        (1, lambda rows, course: rows.pop("m1")),
        (2, changed("m1", state=State.claimed)),
        (2, changed("m1", events=[("completed", 1, "k/c1"), ("completed", 2, "k/c2")])),
        (3, changed("m2", attempts=1)),
        (3, changed("m2", events=[("lease_lost", 1, ""), ("completed", 2, "k/c2")])),
        (3, lambda rows, course: course.held.clear()),
    ],
)
def test_each_fault_is_found(place: int, spoil: Callable[[dict[str, Row], Course], object]) -> None:
    rows, course = good_end()
    spoil(rows, course)
    assert not judge(HOOKS, rows, course)[place].good
