"""What a program may listen to in its worker."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, Literal

from scaiqueue.client.messages import Claimed

Result = Literal["completed", "failed", "dead_letter", "released", "lost"]


class Hooks:
    """Overridden where something is to be done. Called in the event loop, so they must be quick; what they
    raise is reported as `trouble`."""

    def started(self, message: Claimed) -> None:
        """Its handler begins."""

    def ended(self, message: Claimed, result: Result, seconds: float, error: BaseException | None) -> None:
        """Its handler has ended. `failed`: it is tried again, if it has attempts left."""

    def progressed(self, message: Claimed, share: float, note: str) -> None:
        """The handler says how far it is."""

    def trouble(self, error: BaseException) -> None:
        """Something of the worker's own went wrong; it goes on."""


_log = logging.getLogger("scaiqueue.worker")


class Logs(Hooks):
    """Failures with their trace, to the logger `scaiqueue.worker`."""

    def ended(self, message: Claimed, result: Result, seconds: float, error: BaseException | None) -> None:
        if result in ("failed", "dead_letter"):
            _log.warning(
                "%s %s %s, attempt %d", message.type, message.id, result, message.attempts, exc_info=error
            )
        elif result == "lost":
            _log.warning("%s %s: the lease was lost", message.type, message.id)

    def trouble(self, error: BaseException) -> None:
        _log.warning("%s: %s", type(error).__name__, error)


class AllHooks(Hooks):
    """Several as one. None of them can disturb the worker or each other."""

    def __init__(self, hooks: Sequence[Hooks]) -> None:
        # Only those that listen: these are called for every message.
        self._started = [one.started for one in hooks if type(one).started is not Hooks.started]
        self._ended = [one.ended for one in hooks if type(one).ended is not Hooks.ended]
        self._progressed = [one.progressed for one in hooks]
        self._trouble = [one.trouble for one in hooks]

    def started(self, message: Claimed) -> None:
        for listen in self._started:
            self._tell(listen, message)

    def ended(self, message: Claimed, result: Result, seconds: float, error: BaseException | None) -> None:
        for listen in self._ended:
            self._tell(listen, message, result, seconds, error)

    def progressed(self, message: Claimed, share: float, note: str) -> None:
        for listen in self._progressed:
            self._tell(listen, message, share, note)

    def trouble(self, error: BaseException) -> None:
        for listen in self._trouble:
            try:
                listen(error)
            except Exception:
                _log.exception("a hook failed")

    def _tell(self, listen: Callable[..., None], *what: Any) -> None:
        try:
            listen(*what)
        except Exception as error:
            self.trouble(error)
