"""A history told by hand, for tests of the checker."""

from __future__ import annotations

from tests.chaos.checker import check
from tests.chaos.history import (
    Claim,
    Delivery,
    Fate,
    Final,
    Member,
    Publish,
    Record,
    Seen,
    Settle,
    Strike,
    Switch,
)
from tests.chaos.load import FIFO, PRIORITY

LEASE_MS = 3000


class Tale:
    """A history in the making; a step a second, the server's clock likewise."""

    def __init__(self) -> None:
        self.history: list[Record] = []
        self.final = Final({}, [], {})
        self.now = 0.0

    def step(self) -> dict[str, float]:
        self.now += 1.0
        return {"begun": self.now, "ended": self.now + 0.5}

    def publish(self, key: str, queue: str = FIFO, outcome: str = "ok", **more: object) -> None:
        message_id = f"id-{key}" if outcome == "ok" else ""
        call = {**self.step(), "outcome": outcome, "key": key, "queue": queue, "id": message_id, **more}
        self.history.append(Publish(**call))  # type: ignore[arg-type]

    def claim(self, *keys: str, token: str, attempts: int = 1, queue: str = FIFO, **more: object) -> None:
        times = self.step()
        end = round(times["begun"] * 1000) + LEASE_MS
        given = [Delivery(f"id-{key}", key, token, attempts, end) for key in keys]
        call = {"outcome": "ok", "queue": queue, "holder": "c", "lease_ms": LEASE_MS, "given": given, **more}
        self.history.append(Claim(**times, **call))  # type: ignore[arg-type]

    def settle(
        self, key: str, token: str, verb: str = "complete", outcome: str = "ok", **more: object
    ) -> None:
        call = {**self.step(), "outcome": outcome, "verb": verb, "id": f"id-{key}", "token": token, **more}
        self.history.append(Settle(**call))  # type: ignore[arg-type]

    def switch(self) -> None:
        times = self.step()
        self.history.append(Switch(**times))

    def strike(self, loses: float | None = None) -> None:
        times = self.step()
        strike = Strike(
            kind="fault", begun=times["begun"], healed=times["begun"] + 0.1, recovered=times["ended"],
            loses=loses,
        )  # fmt: skip
        self.history.append(strike)

    def ends(self, key: str, state: str, attempts: int = 1, queue: str = FIFO) -> None:
        """In the rows, and in the index with its set unless the state is terminal."""
        fate = Fate(queue, state, attempts, key)
        self.final.rows[f"id-{key}"] = fate
        if state != "completed":
            self.final.index[f"id-{key}"] = fate
            self.final.members.append(Member(f"id-{key}", queue, state))

    def violated(self) -> set[str]:
        return {violation.invariant for violation in check(self.history, self.final).violations}


def clean() -> Tale:
    """Two messages completed, one released and waiting, one refused, one without an answer, one dead."""
    tale = Tale()
    tale.publish("a")
    tale.publish("b")
    tale.publish("c", durability="indexed")
    tale.publish("refused", outcome="fail")
    tale.publish("unheard", outcome="unknown")
    tale.publish("low", PRIORITY, rank=1500)
    tale.publish("high", PRIORITY, rank=3500)
    tale.claim("a", "b", token="1.1")
    tale.settle("a", "1.1")
    tale.settle("b", "1.1", verb="fail")
    tale.claim("c", token="1.2")
    tale.settle("c", "1.2", verb="release")
    tale.claim("b", token="1.3", attempts=2)
    tale.settle("b", "1.3", verb="extend", lease_end=round(tale.now * 1000) + LEASE_MS)
    tale.settle("b", "1.3")
    tale.claim("high", "low", token="1.4", queue=PRIORITY)
    tale.settle("high", "1.4")
    tale.settle("low", "1.4", verb="fail")
    tale.history.append(Seen(at=tale.now, completed=["id-a", "id-b"]))
    tale.ends("a", "completed")
    tale.ends("b", "completed", 2)
    tale.ends("c", "pending", 0)
    tale.ends("unheard", "pending", 0)
    tale.ends("high", "completed", queue=PRIORITY)
    tale.ends("low", "pending", queue="_dead_letter")
    return tale
