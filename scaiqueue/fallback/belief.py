"""What a process believes of the mode row and the shards' epochs: for a second at most."""

from __future__ import annotations

import asyncio
import time
from enum import Enum, auto

import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from scaiqueue.fallback import metrics, mode
from scaiqueue.fallback.mode import Mode, ModeRow
from scaiqueue.keys import Shard
from scaiqueue.rows.engine import reading

log = structlog.get_logger("scaiqueue.fallback")

BELIEVED_S = 1.0
# So long a Redis that is being left is still asked: it may only have stumbled.
STILL_ASKED_S = 1.0
# A row store that does not answer so soon is away.
READ_WITHIN_S = 0.8


class Path(Enum):
    """Where transitions are made; `none`: nowhere at the moment, callers must wait."""

    redis = auto()
    rows = auto()
    none = auto()


class Belief:
    """`epochs` are texts by the name of the shard's epoch key, as calls carry them. `engine` should be this
    one's alone, so that no load keeps it from reading. `hears_redis` is told by who listens."""

    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine
        self.row = ModeRow(Mode.redis, 0, 0.0)
        self.epochs: dict[str, str] = {}
        self.hears_redis = True
        self.asked = float("-inf")
        self._read_at = float("-inf")
        self._reading: asyncio.Task[None] | None = None

    @property
    def path(self) -> Path:
        """A process that can't read the rows goes on with Redis as long as that answers: where others took
        over meanwhile this may give a second lease, which the documentation says."""
        row = self.row
        if row.mode is Mode.redis:
            return Path.redis
        age_s = time.monotonic() - self._read_at
        if row.mode is Mode.leaving and (self.hears_redis or row.age_s + age_s < STILL_ASKED_S):
            return Path.redis
        if row.mode is Mode.fallback and age_s < BELIEVED_S:
            return Path.rows
        return Path.none

    @property
    def stale(self) -> bool:
        """Nobody has asked the rows for too long: this process was held up."""
        return time.monotonic() - self.asked >= BELIEVED_S and self._reading is None

    async def refresh(self) -> None:
        """Read the rows again, once for all who ask at the same time; what is believed stays where they are
        away."""
        if self._reading is None:
            self._reading = asyncio.create_task(self._read())
        await asyncio.shield(self._reading)

    async def _read(self) -> None:
        self.asked = time.monotonic()
        try:
            async with asyncio.timeout(READ_WITHIN_S), reading(self.engine) as conn:
                row, epochs = await mode.read(conn), await mode.epochs(conn)
        except (SQLAlchemyError, OSError, TimeoutError) as error:
            log.warning("mode_unreadable", error=str(error)[:300])
            return
        finally:
            self._reading = None
        self._read_at = self.asked
        self.epochs = {Shard(number).epoch: str(epoch) for number, epoch in epochs.items()}
        if row.mode is not self.row.mode:
            log.warning("mode_changed", mode=row.mode.value, term=row.term)
            metrics.switches.labels(row.mode.value).inc()
        self.row = row
        metrics.show(row.mode)
