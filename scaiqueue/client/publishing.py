"""Publish: one message, or many in requests of a bounded size."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from itertools import count
from urllib.parse import quote

import msgspec

from scaiqueue.client.errors import ErrorBody, Refused, of_body
from scaiqueue.client.exchange import Exchange, read
from scaiqueue.client.messages import Published

MAX_ITEMS = 1000
MAX_BYTES = 4 * 2**20


class _One(msgspec.Struct):
    data: Published


class _Item(msgspec.Struct):
    id: str | None = None
    state: str | None = None
    idempotent_replay: bool = False
    error: ErrorBody | None = None


class _Many(msgspec.Struct):
    data: list[_Item]


_one, _many = msgspec.json.Decoder(_One), msgspec.json.Decoder(_Many)


class Publisher:
    """Publishes into the queues of one scope."""

    def __init__(self, exchange: Exchange, scope: str) -> None:
        self._exchange = exchange
        self._scope = f"/scopes/{quote(scope, safe='')}"

    def _path(self, queue: str) -> str:
        return f"{self._scope}/queues/{quote(queue, safe='')}/messages"

    async def one(self, queue: str, content: bytes) -> Published:
        answer = await self._exchange.ask("POST", self._path(queue), content)
        replay = answer.headers.get("Idempotent-Replay") == "true"
        made = read(_one, answer).data
        return msgspec.structs.replace(made, replay=True) if replay else made

    async def many(self, queue: str, contents: Sequence[bytes]) -> list[Published | Refused]:
        """Drafts that are ready, in the order given. Items whose refusal may pass are sent again, with the
        same keys."""
        results: dict[int, Published | Refused] = {}
        left = list(range(len(contents)))
        for attempt in count(1):
            refused: list[tuple[int, Refused]] = []
            for places in _requests(contents, left):
                answers = await self._request(queue, [contents[place] for place in places])
                for place, result in zip(places, answers, strict=True):
                    results[place] = result
                    if isinstance(result, Refused):
                        refused.append((place, result))
            waits = {
                place: wait
                for place, error in refused
                if (wait := self._exchange.backoff.wait_s(attempt, error)) is not None
            }
            if not waits:
                break
            left = list(waits)
            await asyncio.sleep(max(waits.values()))
        return [results[place] for place in range(len(contents))]

    async def _request(self, queue: str, contents: Sequence[bytes]) -> Sequence[Published | Refused]:
        body = b'{"messages":[' + b",".join(contents) + b"]}"
        try:
            answer = await self._exchange.ask("POST", self._path(queue) + "/batch", body)
        except Refused as error:
            if error.code == "SCAIQUEUE_MESSAGE_TOO_LARGE" and len(contents) == 1:
                return [error]
            raise
        return [_result(item) for item in read(_many, answer).data]


def _result(item: _Item) -> Published | Refused:
    if item.error is not None or item.id is None:
        return of_body(item.error or ErrorBody("SCAIQUEUE_INTERNAL", "an answer without a message"))
    return Published(item.id, item.state, item.idempotent_replay)


def _requests(contents: Sequence[bytes], places: Sequence[int]) -> Iterator[list[int]]:
    taken: list[int] = []
    size = 0
    for place in places:
        if taken and (len(taken) == MAX_ITEMS or size + len(contents[place]) > MAX_BYTES):
            yield taken
            taken, size = [], 0
        taken.append(place)
        size += len(contents[place])
    if taken:
        yield taken
