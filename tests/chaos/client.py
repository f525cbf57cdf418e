"""Calls over HTTP, each recorded with what is known of its outcome."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, NamedTuple, Protocol, TypeVar

import aiohttp
import msgspec

from tests.chaos.history import Claim, Delivery, History, Outcome, Publish, Record, Settle

BASE = "/v1/modules/scaiqueue"
# Above every bound of the server: a call that takes so long counts as one that hangs.
ANSWER_WITHIN_S = 60.0
TIERS = {1500: "low", 2500: "normal", 3500: "high"}
R = TypeVar("R", bound=Record)


class Draft(NamedTuple):
    key: str
    queue: str
    rank: int
    durability: str

    @property
    def body(self) -> dict[str, str]:
        return {"key": self.key}


class Answer(NamedTuple):
    outcome: Outcome
    code: str
    data: Any = None


class Client(Protocol):
    """Attempts, not retried. Over HTTP or through the scripts."""

    async def publish(self, draft: Draft) -> Publish: ...

    async def claim(self, queue: str, holder: str, want: int, lease_ms: int, claim_id: str = "") -> Claim: ...

    async def settle(
        self, verb: str, holder: str, given: Sequence[Delivery], lease_ms: int
    ) -> list[Settle]: ...


class HttpClient:
    """One scope, on several API processes by turns."""

    def __init__(self, urls: Sequence[str], key: str, scope: str, history: History) -> None:
        self.urls = list(urls)
        self.history = history
        self.codes: Counter[str] = Counter()
        self.mixed: list[str] = []
        self.slowest_s = 0.0
        self._scope = scope
        self._turn = 0
        self._session = aiohttp.ClientSession(
            headers={"Authorization": f"Bearer {key}"},
            timeout=aiohttp.ClientTimeout(total=ANSWER_WITHIN_S),
            connector=aiohttp.TCPConnector(limit=0),
        )

    async def close(self) -> None:
        await self._session.close()

    def only(self, url: str) -> HttpClient:
        """The same client, speaking to one process alone."""
        one = object.__new__(HttpClient)
        one.__dict__ = self.__dict__ | {"urls": [url]}
        return one

    async def publish(self, draft: Draft) -> Publish:
        asked = {
            "type": "chaos",
            "body": draft.body,
            "idempotency_key": draft.key,
            "durability": draft.durability,
            "priority": {"tier": TIERS[draft.rank], "score": 500},
        }

        def made(call: dict[str, Any], answer: Answer) -> Publish:
            message_id = ""
            if answer.outcome == "ok":
                message_id = answer.data["id"]
                self._belongs("publish", draft.key, answer.data["idempotency_key"])
            return Publish(
                **call,
                key=draft.key,
                queue=draft.queue,
                rank=draft.rank,
                durability=draft.durability,
                id=message_id,
            )

        return await self._recorded(f"/queues/{draft.queue}/messages", asked, made)

    async def claim(
        self, queue: str, holder: str, want: int, lease_ms: int, claim_id: str = "", wait_s: float = 1.0
    ) -> Claim:
        asked: dict[str, Any] = {
            "batch_size": want,
            "visibility_timeout_s": lease_ms // 1000,
            "consumer_id": holder,
            "wait_s": wait_s,
        }
        asked |= {"claim_id": claim_id} if claim_id else {}
        return await self._recorded(
            f"/queues/{queue}/messages/claim",
            asked,
            lambda call, answer: Claim(
                **call,
                queue=queue,
                holder=holder,
                lease_ms=lease_ms,
                claim_id=claim_id,
                given=[_delivery(one) for one in answer.data] if answer.outcome == "ok" else [],
            ),
        )

    async def settle(self, verb: str, holder: str, given: Sequence[Delivery], lease_ms: int) -> list[Settle]:
        extra: dict[str, Any] = {"visibility_timeout_s": lease_ms // 1000} if verb == "extend" else {}
        items = [{"id": one.id, "claim_token": one.token, "consumer_id": holder, **extra} for one in given]
        begun = time.monotonic()
        answer = Answer("unknown", "cancelled")
        try:
            answer = await self._send(f"/messages/{verb}", {"items": items})
        finally:
            ended = time.monotonic()
            settles = []
            for place, one in enumerate(given):
                of = _item(answer, place)
                if of.outcome == "ok":
                    self._belongs(verb, one.id, of.data["id"])
                end = of.data.get("lease_expires_at") if of.outcome == "ok" else None
                settles.append(
                    Settle(
                        begun=begun, ended=ended, outcome=of.outcome, code=of.code, verb=verb,
                        id=one.id, token=one.token, lease_end=_ms(end) if end else 0,
                    )
                )  # fmt: skip
                self.history.add(settles[-1])
        return settles

    async def _recorded(
        self, path: str, asked: dict[str, Any], make: Callable[[dict[str, Any], Answer], R]
    ) -> R:
        """Also of a call that is cancelled: nothing is known of it."""
        begun = time.monotonic()
        answer = Answer("unknown", "cancelled")
        try:
            answer = await self._send(path, asked)
        finally:
            ended = time.monotonic()
            call = {"begun": begun, "ended": ended, "outcome": answer.outcome, "code": answer.code}
            record = make(call, answer)
            self.history.add(record)
        return record

    def _belongs(self, verb: str, asked: str, answered: str) -> None:
        """Notes a reply that is another request's."""
        if asked != answered:
            self.mixed.append(f"{verb} of {asked} was answered with {answered}")

    async def _send(self, path: str, asked: dict[str, Any]) -> Answer:
        self._turn += 1
        url = self.urls[self._turn % len(self.urls)]
        begun = time.monotonic()
        answer = await self._ask(f"{url}{BASE}/scopes/{self._scope}{path}", asked)
        self.slowest_s = max(self.slowest_s, time.monotonic() - begun)
        if answer.code:
            self.codes[answer.code] += 1
        return answer

    async def _ask(self, url: str, asked: dict[str, Any]) -> Answer:
        try:
            async with self._session.post(url, json=asked) as response:
                content = msgspec.json.decode(await response.read())
        except TimeoutError:
            return Answer("unknown", "no answer in time")
        except (aiohttp.ClientError, OSError, msgspec.DecodeError) as error:
            return Answer("unknown", type(error).__name__)
        if response.status < 300:
            return Answer("ok", "", content["data"])
        code = f"{response.status} {content['error']['code']}"
        return Answer("unknown" if response.status >= 500 else "fail", code)


def _item(answer: Answer, place: int) -> Answer:
    """One item's part of a batch's answer."""
    if answer.outcome != "ok":
        return answer
    found = answer.data[place]
    if error := found.get("error"):
        unclear = error["code"] in ("SCAIQUEUE_UNAVAILABLE", "SCAIQUEUE_INTERNAL")
        return Answer("unknown" if unclear else "fail", error["code"])
    return Answer("ok", "", found)


def _delivery(message: dict[str, Any]) -> Delivery:
    key = message["body"]["key"]
    end = _ms(message["lease_expires_at"])
    return Delivery(message["id"], key, message["claim_token"], message["attempts"], end)


def _ms(moment: str) -> int:
    return round(datetime.fromisoformat(moment).timestamp() * 1000)


async def pause(dice: float) -> None:
    """Between two attempts, by chance, so that clients don't come back as one."""
    await asyncio.sleep(0.05 + 0.2 * dice)
