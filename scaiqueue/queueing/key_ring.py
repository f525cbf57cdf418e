"""API keys in the process: a look-up in a dict, refreshed from the rows when it is a second old."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from dataclasses import dataclass
from hashlib import sha256
from secrets import token_urlsafe

import msgspec
import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from scaiqueue.errors import Code, QueueError
from scaiqueue.moments import now_ms
from scaiqueue.queueing.principals import Principal, Rate
from scaiqueue.rows import api_keys
from scaiqueue.rows.api_keys import KeyRow

PREFIX = "sgk_"
MAX_AGE_S = 1.0
RENEWED_WITHIN_S = 0.5
MAX_ENTRIES = 10_000
LAST_USE_EVERY_S = 30.0

_log = structlog.get_logger("scaiqueue.keys")


def new_secret() -> str:
    """A key: `sgk_` and 43 random characters."""
    return PREFIX + token_urlsafe(32)


def secret_hash(secret: str) -> str:
    return sha256(secret.encode()).hexdigest()


def _fingerprint(authorization: str) -> bytes:
    return sha256(authorization.encode()).digest()


@dataclass(slots=True)
class _Held:
    row: KeyRow
    principal: Principal
    looked_at: float


def _principal(row: KeyRow, default_rate: int) -> Principal:
    scopes = msgspec.json.decode(row.scopes, type=frozenset[str])
    queues = msgspec.json.decode(row.queues, type=frozenset[str])
    permissions = msgspec.json.decode(row.permissions, type=frozenset[str])
    limit = row.rate_limit or default_rate
    rate = Rate(limit, row.rate_burst or limit) if limit else None
    return Principal(row.id, row.tenant_id, permissions, scopes or None, queues or None, row.expires_at, rate)


class KeyRing:
    """Who a key belongs to.

    A change is seen at once where the word of it arrives, and after MAX_AGE_S in any case. While the row
    store can't be asked, keys seen before stay good, so that consumers go on. `default_rate`: calls a minute
    of a key that has no limit of its own, 0 any number.
    """

    def __init__(self, engine: AsyncEngine, default_rate: int = 0) -> None:
        self._engine = engine
        self._default_rate = default_rate
        self._held: OrderedDict[str, _Held] = OrderedDict()
        # By the hash of the whole header: what was found good need not be taken apart again.
        self._headers: dict[bytes, _Held] = {}
        self._loading: dict[str, tuple[float, asyncio.Task[KeyRow | None]]] = {}
        self._used: dict[str, int] = {}
        # What was asked for earlier may be what held before a change.
        self._good_from = float("-inf")

    def known(self, authorization: str | None) -> Principal | None:
        """Whom an Authorization header is known to name without asking the rows; None: `authenticate`."""
        if authorization is None:
            return None
        held = self._headers.get(_fingerprint(authorization))
        if held is None or not self._fresh(held):
            return None
        now = now_ms()
        if held.row.revoked_at or 0 < held.row.expires_at <= now:
            return None
        self._used[held.row.id] = now
        return held.principal

    async def authenticate(self, authorization: str | None) -> Principal:
        """Of an Authorization header. Raises AUTH_TOKEN_MISSING or AUTH_TOKEN_INVALID."""
        if not authorization:
            raise QueueError(Code.AUTH_TOKEN_MISSING)
        scheme, _, secret = authorization.partition(" ")
        if scheme.lower() != "bearer" or not secret:
            raise QueueError(Code.AUTH_TOKEN_MISSING)
        key_hash = secret_hash(secret.strip())
        held = self._held.get(key_hash)
        if held is None or not self._fresh(held):
            held = await self._look(key_hash)
            while held is not None and held.looked_at < self._good_from:
                held = await self._look(key_hash)
        now = now_ms()
        if held is None or held.row.revoked_at or 0 < held.row.expires_at <= now:
            raise QueueError(Code.AUTH_TOKEN_INVALID)
        self._used[held.row.id] = now
        if len(self._headers) >= MAX_ENTRIES:
            self._headers.clear()
        self._headers[_fingerprint(authorization)] = held
        return held.principal

    def _fresh(self, held: _Held) -> bool:
        return held.looked_at >= self._good_from and held.looked_at + MAX_AGE_S >= time.monotonic()

    async def _look(self, key_hash: str) -> _Held | None:
        began, task = self._loading.get(key_hash, (float("-inf"), None))
        if task is None or began < self._good_from:
            began, task = time.monotonic(), asyncio.create_task(api_keys.by_hash(self._engine, key_hash))
            self._loading[key_hash] = began, task
            task.add_done_callback(lambda done: self._loaded(key_hash, done))
        try:
            async with asyncio.timeout(RENEWED_WITHIN_S if key_hash in self._held else None):
                row = await asyncio.shield(task)
        except (SQLAlchemyError, OSError) as error:
            if (held := self._held.get(key_hash)) is not None:
                held.looked_at = time.monotonic()
                return held
            raise QueueError(Code.SCAIQUEUE_UNAVAILABLE, retry_after=1) from error
        if row is None:
            if (gone := self._held.pop(key_hash, None)) is not None:
                self._forget_headers(gone.row.id)
            return None
        held = self._held[key_hash] = _Held(row, _principal(row, self._default_rate), began)
        self._held.move_to_end(key_hash)
        while len(self._held) > MAX_ENTRIES:
            self._held.popitem(last=False)
        return held

    def _loaded(self, key_hash: str, task: asyncio.Task[KeyRow | None]) -> None:
        if (loading := self._loading.get(key_hash)) is not None and loading[1] is task:
            del self._loading[key_hash]
        if not task.cancelled():
            task.exception()  # whoever waited has heard of it, or had no need to wait for it

    def forget(self, key_id: str) -> None:
        """Drop a key that has changed."""
        self.outdate()
        for key_hash in [name for name, held in self._held.items() if held.row.id == key_id]:
            del self._held[key_hash]
        self._forget_headers(key_id)

    def _forget_headers(self, key_id: str) -> None:
        for header in [name for name, held in self._headers.items() if held.row.id == key_id]:
            del self._headers[header]

    def outdate(self) -> None:
        """Some key has changed: each is asked for again before it is used, if the rows can be asked."""
        self._good_from = time.monotonic()

    def clear(self) -> None:
        self.outdate()
        self._held.clear()
        self._headers.clear()

    async def write_last_uses(self) -> None:
        """What was used since the last call; a failure is logged and tried again with the next."""
        seen, self._used = self._used, {}
        if not seen:
            return
        try:
            await api_keys.used(self._engine, seen)
        except (SQLAlchemyError, OSError) as error:
            self._used = {**seen, **self._used}
            _log.warning("last uses of keys not written", error=str(error))

    async def run(self) -> None:
        """Write last uses now and then, until cancelled."""
        while True:
            await asyncio.sleep(LAST_USE_EVERY_S)
            await self.write_last_uses()
