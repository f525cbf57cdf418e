"""The audit of one process: calls are kept for a moment, and written as pages at the end of the chain."""

from __future__ import annotations

import asyncio
import contextlib

import structlog
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from scaiqueue.audit import metrics
from scaiqueue.audit.chain import Page
from scaiqueue.audit.entry import Entry, encode_entries
from scaiqueue.rows import scopes
from scaiqueue.rows.audit import Appender

WRITE_EVERY_S = 0.2
RETRY_S = (0.05, 2.0)
STOP_S = 2.0
SETTLE_S = 1.0
PAGE_BYTES = 512 * 1024
ROW_BYTES = 300
WRITE_BYTES = 4 * 2**20
STRANGERS = 100
"""So many entries of callers without a good key are told apart in one write; the rest are only counted."""
OTHERS = "(other)"

_log = structlog.get_logger("scaiqueue.audit")
_Place = tuple[str, str]


class Trail:
    """`most`: bytes that may wait. While `full` no call may be answered: it could not be recorded."""

    def __init__(self, engine: AsyncEngine, most: int) -> None:
        self._engine = engine
        self._appender = Appender(engine)
        self._most = most
        self._open: dict[_Place, list[Entry]] = {}
        # Refused before their scope was known: by tenant ("" for strangers) and what the path named.
        self._unplaced: dict[_Place, list[Entry]] = {}
        self._strangers: dict[tuple[str, str, str, str], Entry] = {}
        self._pages: list[Page] = []
        # Bytes of what has arrived since the last write, and of the pages that are not written yet.
        self._arrived_bytes = self._pages_bytes = 0
        self._arrived = asyncio.Event()
        self._writing = asyncio.Lock()
        self._under_way: set[asyncio.Task[None]] = set()

    @property
    def full(self) -> bool:
        return self._waiting >= self._most

    @property
    def _waiting(self) -> int:
        return self._arrived_bytes + self._pages_bytes

    def add(self, tenant: str, scope_id: str, entry: Entry) -> None:
        """A call of a tenant, in one of its scopes or in none ("")."""
        self._put(self._open, (tenant, scope_id), entry)

    def add_refused(self, tenant: str, reference: str, entry: Entry) -> None:
        """One that was refused before the scope was looked up which its path names."""
        self._put(self._unplaced, (tenant, reference), entry)

    def add_stranger(self, reference: str, entry: Entry) -> None:
        """One without a good key. Equal ones of one write are counted: nobody fills the row store so."""
        key = (entry.event, entry.address, entry.outcome, reference)
        if key not in self._strangers and len(self._strangers) >= STRANGERS:
            reference, entry.address, entry.request_id = "", OTHERS, ""
            key = (entry.event, OTHERS, entry.outcome, "")
        known = self._strangers.get(key)
        if known is not None:
            known.calls += 1
            return
        self._strangers[key] = entry
        self.add_refused("", reference, entry)

    def _put(self, kept: dict[_Place, list[Entry]], place: _Place, entry: Entry) -> None:
        entries = kept.get(place)
        if entries is None:
            kept[place] = [entry]
        else:
            entries.append(entry)
        self._arrived_bytes += entry.weight
        if not self._arrived.is_set():
            self._arrived.set()

    async def run(self) -> None:
        """Write what has arrived, until cancelled."""
        while True:
            await self._arrived.wait()
            await asyncio.sleep(WRITE_EVERY_S)
            await self._write_on()

    async def close(self) -> None:
        """Write what is left, within STOP_S."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_S):
                await self._write_on()
        if self._waiting:
            _log.error("audit_lost", bytes=self._waiting)

    async def settle(self) -> None:
        """Write what is here now, so that a reader finds it; within SETTLE_S, or as soon as it can be."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SETTLE_S):
                await self._write_on()

    def _write_on(self) -> asyncio.Future[None]:
        """A write that goes on to its end even if whoever waits for it is cancelled.

        Cut off while it waits for SQLite's lock, it would get the lock later for a connection that nobody
        closes, and hold up every other write.
        """
        task = asyncio.create_task(self.write(), name="audit write")
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return asyncio.shield(task)

    async def write(self) -> None:
        """All that is here, again and again until the row store has it."""
        delay, longest = RETRY_S
        while True:
            try:
                async with self._writing:
                    await self._write()
                return
            except IntegrityError:
                pass  # another process was first: once more behind it
            except Exception as error:
                # Whatever it is, without this loop no call could be answered any more.
                cause = type(error).__name__
                _log.warning("audit_not_written", bytes=self._waiting, cause=cause, error=str(error)[:500])
                await asyncio.sleep(delay)
                delay = min(delay * 2, longest)
            metrics.retries_total.inc()
            metrics.waiting_bytes.set(self._waiting)

    async def _write(self) -> None:
        await self._place()
        self._arrived.clear()
        self._strangers.clear()
        taken, self._open = self._open, {}
        self._pages_bytes, self._arrived_bytes = self._waiting, 0
        for place, entries in taken.items():
            self._pages += _pages(*place, entries)
        while self._pages:
            pages = _first(self._pages)
            await self._appender.append(pages)
            del self._pages[: len(pages)]
            self._count(pages)
        self._pages_bytes = 0
        metrics.waiting_bytes.set(self._waiting)

    async def _place(self) -> None:
        """Find the scopes of calls that were refused before. What nobody has stays with the tenant."""
        while self._unplaced:
            (tenant, reference), entries = next(iter(self._unplaced.items()))
            found = await scopes.named(self._engine, tenant, reference) if reference else None
            del self._unplaced[tenant, reference]
            place = (found.tenant_id, found.id) if found else (tenant, "")
            self._open.setdefault(place, []).extend(entries)

    def _count(self, pages: list[Page]) -> None:
        metrics.rows_total.inc(len(pages))
        metrics.calls_total.inc(sum(page.calls for page in pages))


def _pages(tenant: str, scope_id: str, entries: list[Entry]) -> list[Page]:
    pages: list[Page] = []
    start = size = 0
    for at, entry in enumerate(entries):
        if size >= PAGE_BYTES:
            pages.append(_page(tenant, scope_id, entries[start:at]))
            start, size = at, 0
        size += entry.weight
    pages.append(_page(tenant, scope_id, entries[start:]))
    return pages


def _first(pages: list[Page]) -> list[Page]:
    """The first of them, of WRITE_BYTES in all, and at least one."""
    size = 0
    for at, page in enumerate(pages):
        size += ROW_BYTES + len(page.entries)
        if at and size > WRITE_BYTES:
            return pages[:at]
    return pages[:]


def _page(tenant: str, scope_id: str, entries: list[Entry]) -> Page:
    instants = [entry.at for entry in entries]
    calls = sum([entry.calls for entry in entries])
    return Page(tenant, scope_id, min(instants), max(instants), calls, encode_entries(entries))
