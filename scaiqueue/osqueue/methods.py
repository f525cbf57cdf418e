"""The methods of the protocol, each once for all transports."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from scaiqueue.api.auditing import require_room
from scaiqueue.errors import QueueError
from scaiqueue.osqueue import metrics
from scaiqueue.osqueue.auditing import record
from scaiqueue.osqueue.board import Board
from scaiqueue.osqueue.jobs import JobDesk
from scaiqueue.osqueue.refusals import known
from scaiqueue.osqueue.words import ClaimJob, Holding, Nothing, SubmitJob
from scaiqueue.queueing.principals import Principal
from scaiqueue.services import Services
from scaiqueue.settings import Settings

Run = Callable[[Principal, Any], Awaitable[msgspec.Struct]]


@dataclass(frozen=True, slots=True)
class Method:
    """`name` as WebSocket has it; `asked` is the Struct of its parameters."""

    name: str
    asked: msgspec.json.Decoder[Any]
    run: Run


class Methods:
    """Who calls, and what each method does."""

    def __init__(self, services: Services, settings: Settings, address: str) -> None:
        self._key_ring, self._rates = services.key_ring, services.rates
        self._audit, self._scope = services.audit, settings.osqueue_scope
        self._anonymous = f"Bearer {settings.osqueue_key}" if settings.osqueue_key else None
        desk, board = (
            JobDesk(services, settings.osqueue_scope),
            Board(services, settings.osqueue_scope, address),
        )
        self._by_name: dict[str, Method] = {}
        for name, asked, run in (
            ("submitJob", SubmitJob, desk.submit),
            ("claimJob", ClaimJob, desk.claim),
            ("heartbeat", Holding, desk.heartbeat),
            ("completeJob", Holding, desk.complete),
            ("getStats", Nothing, lambda principal, _: board.stats(principal)),
            ("listJobs", Nothing, lambda principal, _: board.jobs(principal)),
            ("getState", Nothing, lambda principal, _: board.state(principal)),
        ):
            self._by_name[name] = Method(name, msgspec.json.Decoder(asked), run)

    def __getitem__(self, name: str) -> Method:
        return self._by_name[name]

    async def call(
        self, transport: str, method: Method, authorization: str | None, read: Callable[[], Any]
    ) -> Any:
        """The method's result, or a QueueError as a value. `read` gives the parameters, or raises one."""
        began, result = time.perf_counter(), "ok"
        principal: Principal | None = None
        asked: Any = None
        answer: Any = None
        try:
            require_room(self._audit)
            authorization = authorization or self._anonymous
            principal = self._key_ring.known(authorization)
            if principal is None:
                principal = await self._key_ring.authenticate(authorization)
            if principal.rate is not None:
                await self._rates.take(principal.key_id, principal.rate, {})
            asked = read()
            answer = await method.run(principal, asked)
        except Exception as error:
            refused: QueueError = known(error)
            result = refused.code.name
            answer = refused
        finally:
            record(self._audit, self._scope, method.name, principal, asked, answer)
            metrics.observe(transport, method.name, result, time.perf_counter() - began)
        return answer
