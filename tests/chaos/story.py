"""A history sorted by what the invariants are about: messages, deliveries, settlements, strikes."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import NamedTuple

from tests.chaos.history import Claim, Delivery, Final, Publish, Record, Seen, Settle, Strike, Switch

# Before Redis is left it is silent for a while; what it did last before that may not be in the rows yet.
BEFORE_A_SWITCH_S = 3.0


class Token(NamedTuple):
    epoch: int
    counter: int

    @classmethod
    def parse(cls, text: str) -> Token:
        epoch, _, counter = text.partition(".")
        return cls(int(epoch), int(counter))


class Given(NamedTuple):
    """One delivery; attempts of the same claim that gave the same lease are one, from the first to begin."""

    token: Token
    begun: float
    ended: float
    claim: Claim
    delivery: Delivery


class Lapse(NamedTuple):
    """Times of calls whose effect Redis may have lost, or the rows not yet have."""

    begun: float
    ended: float


class Told:
    """All attempts to publish with one key."""

    def __init__(self, attempts: Sequence[Publish]) -> None:
        first = attempts[0]
        self.attempts = attempts
        oks = [attempt for attempt in attempts if attempt.outcome == "ok"]
        self.key, self.queue, self.rank, self.durability = (
            first.key, first.queue, first.rank, first.durability,
        )  # fmt: skip
        self.begun = min(attempt.begun for attempt in attempts)
        self.acked = min((attempt.ended for attempt in oks), default=None)
        self.acks = {attempt.id: attempt for attempt in reversed(oks)}
        self.possible = any(attempt.outcome != "fail" for attempt in attempts)


class Story:
    def __init__(self, history: Iterable[Record], final: Final) -> None:
        attempts: dict[str, list[Publish]] = defaultdict(list)
        given: dict[str, dict[str, Given]] = defaultdict(dict)
        self.final = final
        self.claims: list[Claim] = []
        self.settles: dict[str, list[Settle]] = defaultdict(list)
        self.strikes: list[Strike] = []
        self.seen: dict[str, float] = {}
        self._switches: list[Lapse] = []
        for record in history:
            match record:
                case Publish():
                    attempts[record.key].append(record)
                case Claim():
                    self.claims.append(record)
                    for delivery in record.given:
                        _deliver(given[delivery.id], record, delivery)
                case Settle():
                    self.settles[record.id].append(record)
                case Strike():
                    self.strikes.append(record)
                case Switch():
                    self._switches.append(Lapse(record.begun - BEFORE_A_SWITCH_S, record.ended))
                case Seen():
                    for message_id in record.completed:
                        self.seen.setdefault(message_id, record.at)
        self.told = {key: Told(of) for key, of in attempts.items()}
        self.given = {
            message_id: sorted(of.values(), key=lambda one: (one.token, one.begun))
            for message_id, of in given.items()
        }
        self._unheard = _unheard(self.claims, self.strikes)
        self._lapses = [Lapse(s.begun - s.loses, s.healed) for s in self.strikes if s.loses is not None]

    def settled(self, message_id: str, token: str, *verbs: str) -> list[Settle]:
        """Settlements with this token that took effect, or may have."""
        return [
            settle
            for settle in self.settles.get(message_id, ())
            if settle.token == token and settle.verb in verbs and settle.outcome != "fail"
        ]

    def unheard_claims(self, queue: str, begun: float) -> int:
        """How many claims of `queue` that ended after `begun` have no known answer."""
        ends = self._unheard[queue].ends
        return len(ends) - bisect_left(ends, begun)

    def unheard_between(self, queue: str, begun: float, ended: float) -> bool:
        """Whether one of them was under way at any time from `begun` to `ended`."""
        begins, latest_ends = self._unheard[queue].begins, self._unheard[queue].latest_ends
        count = bisect_right(begins, ended)
        return count > 0 and latest_ends[count - 1] >= begun

    def may_be_lost(self, begun: float, ended: float) -> bool:
        """Whether Redis may have forgotten a call that was under way from `begun` to `ended`."""
        return _within(self._lapses, begun, ended)

    def may_be_unseen(self, begun: float, ended: float) -> bool:
        """Whether the call went through Redis while the rows took over, or the other way round."""
        return _within(self._switches, begun, ended)

    def told_twice(self, told: Told) -> bool:
        """Whether one path may not have known of an attempt that came through the other."""
        return any(a.outcome != "fail" and self.may_be_unseen(a.begun, a.ended) for a in told.attempts)


def _within(lapses: Iterable[Lapse], begun: float, ended: float) -> bool:
    return any(lapse.begun <= ended and begun <= lapse.ended for lapse in lapses)


class _Unheard(NamedTuple):
    """Claims without a known answer: their ends sorted, their begins sorted, and the latest end so far."""

    ends: list[float]
    begins: list[float]
    latest_ends: list[float]


def _unheard(claims: Iterable[Claim], strikes: Sequence[Strike]) -> dict[str, _Unheard]:
    """One that a strike cut off may still reach Redis when that is healed: what was sent lies on the way."""
    times: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for claim in claims:
        if claim.outcome == "unknown":
            over = [s.recovered for s in strikes if s.begun <= claim.ended and claim.begun <= s.healed]
            times[claim.queue].append((claim.begun, max([claim.ended, *over])))
    found: dict[str, _Unheard] = defaultdict(lambda: _Unheard([], [], []))
    for queue, of in times.items():
        of.sort()
        ends = [end for _, end in of]
        found[queue] = _Unheard(sorted(ends), [begin for begin, _ in of], list(accumulate(ends, max)))
    return found


def _deliver(of: dict[str, Given], claim: Claim, delivery: Delivery) -> None:
    token = delivery.token
    given = Given(Token.parse(token), claim.begun, claim.ended, claim, delivery)
    before = of.get(token)
    if before is None:
        of[token] = given
    elif claim.claim_id and before.claim.claim_id == claim.claim_id:
        of[token] = min(before, given, key=lambda one: one.begun)
    else:
        # The same token given to two claims: both are kept, for the invariant to see.
        of[f"{token} {len(of)}"] = given
