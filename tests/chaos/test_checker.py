"""The checker refuses what it is there to refuse: a clean history passes, each planted violation doesn't."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.chaos.checker import INVARIANTS, check
from tests.chaos.history import Claim, Delivery, Fate, History, Member, Strike, read
from tests.chaos.load import FIFO, PRIORITY
from tests.chaos.tale import LEASE_MS, Tale, clean


def test_a_clean_history_is_accepted() -> None:
    verdict = check(clean().history, clean().final)
    assert verdict.violations == []
    assert (verdict.acknowledged, verdict.unknown, verdict.lost) == (5, 1, {})
    assert (verdict.deliveries, verdict.redelivered, verdict.completed_again) == (6, 1, 0)


def lose(tale: Tale) -> None:
    del tale.final.rows["id-a"]


def lose_indexed(tale: Tale) -> None:
    tale.publish("gone", durability="indexed")


def lose_committed_with_redis(tale: Tale) -> None:
    tale.publish("gone")
    tale.strike(loses=5.0)


def lose_indexed_of_long_ago(tale: Tale) -> None:
    tale.publish("gone", durability="indexed")
    for _ in range(5):
        tale.step()
    tale.strike(loses=1.0)


def twice(tale: Tale) -> None:
    tale.final.rows["id-again"] = Fate(FIFO, "completed", 0, "a")


def unheard_twice(tale: Tale) -> None:
    tale.final.rows["id-again"] = Fate(FIFO, "completed", 0, "unheard")


def refused_exists(tale: Tale) -> None:
    tale.ends("refused", "pending", 0)


def out_of_nothing(tale: Tale) -> None:
    tale.ends("nobody's", "pending", 0)


def anothers_reply(tale: Tale) -> None:
    tale.publish("d")
    tale.ends("d", "completed")
    tale.claim(token="1.5", given=[Delivery("id-other", "d", "1.5", 1, 60_000)])


def from_another_queue(tale: Tale) -> None:
    tale.publish("d", PRIORITY)
    tale.ends("d", "completed", queue=PRIORITY)
    tale.claim("d", token="1.5", queue=FIFO)


def no_row(tale: Tale) -> None:
    tale.final.index["id-d"] = Fate(FIFO, "pending", 0, "unheard")
    tale.final.members.append(Member("id-d", FIFO, "pending"))


def other_row(tale: Tale) -> None:
    tale.final.rows["id-c"] = Fate(FIFO, "scheduled", 0, "c")


def not_in_the_index(tale: Tale) -> None:
    del tale.final.index["id-c"]
    tale.final.members = [member for member in tale.final.members if member.id != "id-c"]


def in_no_set(tale: Tale) -> None:
    tale.final.members = [member for member in tale.final.members if member.id != "id-c"]


def in_two_sets(tale: Tale) -> None:
    tale.final.members.append(Member("id-c", FIFO, "claimed"))


def member_without_record(tale: Tale) -> None:
    tale.final.members.append(Member("id-nowhere", FIFO, "pending"))


def archived_and_live(tale: Tale) -> None:
    tale.final.archive["id-a"] = tale.final.rows["id-a"]


def completion_forgotten(tale: Tale) -> None:
    del tale.final.rows["id-a"]
    tale.ends("a", "pending")


def seen_completion_forgotten(tale: Tale) -> None:
    tale.strike(loses=60.0)
    completion_forgotten(tale)


def too_many_attempts(tale: Tale) -> None:
    tale.final.rows["id-a"].attempts = 2


def too_few_attempts(tale: Tale) -> None:
    tale.final.rows["id-b"].attempts = 1


def same_token(tale: Tale) -> None:
    tale.claim("c", token="1.2")
    tale.final.rows["id-c"].attempts = 1


def falling_token(tale: Tale) -> None:
    tale.claim("c", token="1.1")


def stale_completion(tale: Tale) -> None:
    tale.publish("d")
    tale.claim("d", token="1.5")
    tale.now += 10
    tale.claim("d", token="1.6", attempts=2)
    tale.settle("d", "1.5")
    tale.ends("d", "completed", 2)


def stale_over_an_epoch(tale: Tale) -> None:
    tale.publish("d")
    tale.claim("d", token="1.5")
    tale.strike(loses=0.0)
    tale.claim("d", token="2.1", attempts=2)
    tale.settle("d", "1.5", verb="release")
    tale.ends("d", "pending", 1)


def double_lease(tale: Tale) -> None:
    tale.publish("d")
    tale.claim("d", token="1.5")
    tale.claim("d", token="1.6", attempts=2)
    tale.ends("d", "claimed", 2)


def double_lease_after_extension(tale: Tale) -> None:
    tale.publish("d")
    tale.claim("d", token="1.5")
    tale.settle("d", "1.5", verb="extend", lease_end=60_000)
    tale.now += 5
    tale.claim("d", token="1.6", attempts=2)
    tale.ends("d", "claimed", 2)


def completed_redelivered(tale: Tale) -> None:
    tale.now += 10
    tale.claim("a", token="1.5", attempts=2)


def committed_redelivered(tale: Tale) -> None:
    """Even where Redis may have lost the completion."""
    tale.strike(loses=60.0)
    tale.claim("a", token="2.1", attempts=2)


def disorder(tale: Tale) -> None:
    tale.publish("d")
    tale.publish("e")
    tale.claim("e", token="1.5")
    tale.claim("d", token="1.6")
    tale.ends("d", "claimed")
    tale.ends("e", "claimed")


def disorder_in_a_priority(tale: Tale) -> None:
    tale.publish("d", PRIORITY)
    tale.publish("e", PRIORITY)
    tale.claim("e", token="1.5", queue=PRIORITY)
    tale.claim("d", token="1.6", queue=PRIORITY)
    tale.ends("d", "claimed", queue=PRIORITY)
    tale.ends("e", "claimed", queue=PRIORITY)


def lower_before_higher(tale: Tale) -> None:
    tale.publish("d", PRIORITY, rank=1500)
    tale.publish("e", PRIORITY, rank=3500)
    tale.claim("d", token="1.5", queue=PRIORITY)
    tale.claim("e", token="1.6", queue=PRIORITY)
    tale.ends("d", "claimed", queue=PRIORITY)
    tale.ends("e", "claimed", queue=PRIORITY)


PLANTED: list[tuple[str, Callable[[Tale], None]]] = [
    *(
        ("one_fate", plant)
        for plant in (
            lose, lose_indexed, lose_committed_with_redis, lose_indexed_of_long_ago, twice, unheard_twice,
            refused_exists,
        )
    ),
    *(("nothing_unasked", plant) for plant in (out_of_nothing, anothers_reply, from_another_queue)),
    *(
        ("conservation", plant)
        for plant in (
            no_row, other_row, not_in_the_index, in_no_set, in_two_sets, member_without_record,
            archived_and_live,
        )
    ),
    *(("completion_kept", plant) for plant in (completion_forgotten, seen_completion_forgotten)),
    *(("attempts_counted", plant) for plant in (too_many_attempts, too_few_attempts)),
    *(("tokens_rise", plant) for plant in (same_token, falling_token)),
    *(("no_stale_token", plant) for plant in (stale_completion, stale_over_an_epoch)),
    *(("one_lease", plant) for plant in (double_lease, double_lease_after_extension)),
    *(("completed_stays", plant) for plant in (completed_redelivered, committed_redelivered)),
    *(("order_kept", plant) for plant in (disorder, disorder_in_a_priority, lower_before_higher)),
]  # fmt: skip


@pytest.mark.parametrize(("invariant", "plant"), PLANTED, ids=[plant.__name__ for _, plant in PLANTED])
def test_a_planted_violation_is_refused(invariant: str, plant: Callable[[Tale], None]) -> None:
    tale = clean()
    plant(tale)
    assert invariant in tale.violated()


def test_every_invariant_has_a_planted_violation() -> None:
    assert {invariant for invariant, _ in PLANTED} == set(INVARIANTS)


def test_what_redis_may_lose_is_counted() -> None:
    tale = clean()
    tale.publish("gone", durability="indexed")
    tale.strike(loses=1.0)
    verdict = check(tale.history, tale.final)
    assert verdict.violations == []
    assert (verdict.lost, verdict.lost_span_s) == ({"fault": 1}, 0.5)


@pytest.mark.parametrize("struck", [True, False])
def test_a_claim_that_a_strike_cut_off_may_arrive_when_it_is_healed(struck: bool) -> None:
    """Its caller had given up before the message was published; without a strike nothing holds it up."""
    tale = clean()
    times = tale.step()
    call = {"queue": FIFO, "holder": "c", "lease_ms": LEASE_MS, "given": [], "outcome": "unknown"}
    tale.history.append(Claim(**times, **call))  # type: ignore[arg-type]
    tale.publish("d")
    if struck:
        healed = tale.now + 1
        strike = Strike(kind="fault", begun=times["begun"], healed=healed, recovered=healed)
        tale.history.append(strike)
    tale.claim("d", token="1.6", attempts=2)
    tale.settle("d", "1.6")
    tale.ends("d", "completed", 2)
    assert tale.violated() == (set() if struck else {"attempts_counted"})


def test_a_completion_that_redis_lost_may_come_back() -> None:
    tale = clean()
    tale.publish("d")
    tale.claim("d", token="1.5")
    tale.settle("d", "1.5")
    tale.strike(loses=1.0)
    tale.claim("d", token="2.1", attempts=2)
    tale.settle("d", "2.1")
    tale.ends("d", "completed", 2)
    verdict = check(tale.history, tale.final)
    assert verdict.violations == []
    assert verdict.completed_again == 1


@pytest.mark.parametrize("via", ["script", "http"])
def test_only_a_direct_caller_may_miss_that_the_rows_took_over(via: str) -> None:
    tale = clean()
    tale.publish("d")
    tale.claim("d", token="2.1")
    tale.claim("d", token="1.5", via=via)
    tale.settle("d", "1.5", via=via)
    tale.claim("a", token="1.6", attempts=2, via=via)
    tale.switch()
    tale.ends("d", "completed")
    strict = {"tokens_rise", "no_stale_token", "completed_stays"}
    assert tale.violated() == (set() if via == "script" else strict)


def test_a_claim_that_redis_lost_leaves_the_lease_to_the_one_before() -> None:
    tale = clean()
    tale.publish("d")
    tale.claim("d", token="1.5")
    tale.now += 3
    tale.claim("d", token="1.6", attempts=2)
    tale.strike(loses=1.0)
    tale.settle("d", "1.5")
    tale.ends("d", "completed")
    assert tale.violated() == set()


def test_a_publish_without_an_answer_may_be_there_twice_after_a_switch() -> None:
    tale = clean()
    tale.publish("d", outcome="unknown")
    tale.switch()
    tale.publish("d")
    tale.ends("d", "pending", 0)
    tale.final.rows["id-again"] = Fate(FIFO, "completed", 0, "d")
    verdict = check(tale.history, tale.final)
    assert verdict.violations == []
    assert verdict.published_again == 1


def test_a_switch_excuses_no_loss_and_nothing_of_long_before() -> None:
    tale = clean()
    tale.publish("gone", durability="indexed")
    tale.publish("twice", outcome="unknown")
    tale.ends("twice", "pending", 0)
    tale.final.rows["id-again"] = Fate(FIFO, "completed", 0, "twice")
    tale.now += 10
    tale.switch()
    tale.now += 10
    tale.claim("a", token="1.5", attempts=2)
    assert tale.violated() == {"one_fate", "completed_stays", "attempts_counted"}


def test_attempts_of_one_claim_share_their_lease() -> None:
    tale = clean()
    tale.publish("d")
    tale.claim("d", token="1.5", claim_id="mine")
    tale.claim("d", token="1.5", claim_id="mine")
    tale.ends("d", "claimed")
    assert tale.violated() == set()


def test_a_lost_answer_widens_what_attempts_may_be() -> None:
    tale = clean()
    tale.publish("d")
    tale.claim(token="", outcome="unknown", given=[])
    tale.ends("d", "pending", 1)
    assert tale.violated() == set()


def test_a_history_is_read_as_it_was_written(tmp_path: Path) -> None:
    history = History(tmp_path / "history.jsonl")
    for record in clean().history:
        history.add(record)
    history.close()
    assert list(read(history.path)) == history.records == clean().history
