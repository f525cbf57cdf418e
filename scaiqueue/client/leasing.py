"""Claims, and what holders say of their messages, many to a request."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple
from urllib.parse import quote
from uuid import uuid4

import msgspec
from msgspec import Raw

from scaiqueue.client.errors import ErrorBody, Refused, of_body
from scaiqueue.client.exchange import Exchange, read
from scaiqueue.client.messages import Claimed, Settled
from scaiqueue.client.payloads import encode

Strategy = Literal["ordered", "oldest", "fair"]
Verb = Literal["complete", "fail", "release", "extend"]


def _new_id() -> str:
    return uuid4().hex


class Want(msgspec.Struct, omit_defaults=True, kw_only=True):
    """A claim. Its id makes a repeated request answer the same leases again."""

    queues: list[str]
    batch_size: int = 1
    visibility_timeout_s: float | None = None
    wait_s: float = 0
    strategy: Strategy = "ordered"
    consumer_id: str | None = None
    claim_id: str = msgspec.field(default_factory=_new_id)


class Completion(msgspec.Struct, omit_defaults=True):
    id: str
    claim_token: str
    response: Raw | msgspec.UnsetType = msgspec.UNSET


class Failure(msgspec.Struct, omit_defaults=True):
    id: str
    claim_token: str
    reason: str = ""
    retryable: bool | None = None
    retry_after_s: float | None = None


class Return(msgspec.Struct, omit_defaults=True):
    id: str
    claim_token: str
    delay_s: float | None = None


class Extension(msgspec.Struct, omit_defaults=True):
    id: str
    claim_token: str
    visibility_timeout_s: float | None = None


Item = Completion | Failure | Return | Extension


class _Item(Settled, frozen=True):
    id: str = ""
    state: str = ""
    error: ErrorBody | None = None


class _Claims(msgspec.Struct):
    data: list[Claimed]


class _Settlement(msgspec.Struct):
    data: list[_Item]
    claimed: list[Claimed] = []
    claim_error: ErrorBody | None = None


class Settlement(NamedTuple):
    """One result per item, in order; what the claim after them took, or why it took nothing."""

    results: Sequence[Settled | Refused]
    claimed: list[Claimed]
    claim_error: Refused | None


_claims, _settlement = msgspec.json.Decoder(_Claims), msgspec.json.Decoder(_Settlement)


class Leases:
    """The claims and leases of one scope."""

    def __init__(self, exchange: Exchange, scope: str) -> None:
        self._exchange = exchange
        self._path = f"/scopes/{quote(scope, safe='')}/messages"

    async def claim(self, want: Want) -> list[Claimed]:
        answer = await self._exchange.ask("POST", f"{self._path}/claim", encode(want), wait_s=want.wait_s)
        return read(_claims, answer).data

    async def settle(self, verb: Verb, items: Sequence[Item], want: Want | None = None) -> Settlement:
        """At most 1,000 items. `want` (with complete and fail) takes the next in the same request."""
        body: dict[str, object] = {"items": items}
        if want is not None:
            body["claim"] = want
        answer = await self._exchange.ask("POST", f"{self._path}/{verb}", encode(body))
        found = read(_settlement, answer)
        refused = None if found.claim_error is None else of_body(found.claim_error)
        results = [item if item.error is None else of_body(item.error) for item in found.data]
        return Settlement(results, found.claimed, refused)
