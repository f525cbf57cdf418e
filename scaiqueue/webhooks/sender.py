"""One call to a receiver, within bounds, and what came of it."""

from __future__ import annotations

import time
from typing import NamedTuple

import aiohttp
from aiohttp import ClientError, ClientTimeout

from scaiqueue import __version__
from scaiqueue.settings import Settings
from scaiqueue.webhooks.addresses import Addresses, AddressRefused
from scaiqueue.webhooks.signature import SIGNATURE, TIMESTAMP, sign

ANSWER_WITHIN_S = 10.0
CONNECTIONS = 100
LONGEST_WAIT_S = 3600.0
GONE = 410


class Parcel(NamedTuple):
    """What is sent: `body` is an envelope."""

    url: str
    secret: str
    delivery_id: str
    event_id: str
    event_type: str
    attempt: int
    body: bytes


class Answer(NamedTuple):
    """`error` "": the receiver took it. `status` 0: no answer. `retry_after_s` is what it asked for."""

    status: int
    error: str
    duration_ms: int
    retry_after_s: float = 0.0


class Sender:
    """Follows no redirect, keeps nothing of what a receiver says but its status."""

    def __init__(self, settings: Settings, answer_within_s: float = ANSWER_WITHIN_S) -> None:
        self.addresses = Addresses(settings.webhook_private_networks)
        self._answer_within_s = answer_within_s
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=CONNECTIONS, socket_factory=self.addresses.socket),
                timeout=ClientTimeout(total=self._answer_within_s),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                headers={"User-Agent": f"ScaiQueue/{__version__}"},
            )
        return self._session

    async def send(self, parcel: Parcel) -> Answer:
        timestamp = str(int(time.time()))
        headers = {
            "Content-Type": "application/json",
            SIGNATURE: sign(parcel.secret, timestamp, parcel.body),
            TIMESTAMP: timestamp,
            "X-ScaiGrid-Event": parcel.event_type,
            "X-ScaiGrid-Event-Id": parcel.event_id,
            "X-ScaiGrid-Delivery": parcel.delivery_id,
            "X-ScaiGrid-Attempt": str(parcel.attempt),
        }
        began = time.monotonic()
        status, error, retry_after = 0, "", 0.0
        try:
            call = self._opened().post(parcel.url, data=parcel.body, headers=headers, allow_redirects=False)
            async with call as response:
                status = response.status
                if not 200 <= status < 300:
                    error = f"answered {status}"
                    retry_after = _seconds(response.headers.get("Retry-After", ""))
        except TimeoutError:
            error = f"no answer within {self._answer_within_s:g} s"
        except (ClientError, OSError, ValueError) as failure:
            error = _said(failure)
        return Answer(status, error, round((time.monotonic() - began) * 1000), retry_after)


def _said(failure: Exception) -> str:
    """In our words: a receiver's may hold anything."""
    if not isinstance(failure, aiohttp.ClientConnectorError):
        return f"no answer: {type(failure).__name__}"
    cause = failure.os_error
    if isinstance(cause, AddressRefused):
        return f"not sent: {cause}"
    return f"no connection: {cause.strerror or type(cause).__name__}"[:500]


def _seconds(text: str) -> float:
    """Of a `Retry-After` in seconds; a date, or nonsense, is 0."""
    return min(float(text), LONGEST_WAIT_S) if text.isascii() and text.isdigit() else 0.0
