"""A type of job: what its payload is, and who handles it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Concatenate, Generic, TypeVar, Unpack

import msgspec

from scaiqueue.client.messages import Claimed, Draft, Options, Published
from scaiqueue.client.payloads import Codec

if TYPE_CHECKING:
    from scaiqueue.client.app import App

P = TypeVar("P")
R = TypeVar("R")

Errors = tuple[type[BaseException], ...]


class Handling(msgspec.Struct, frozen=True):
    """A handler, and what its failures mean. `dead_letter` lists exceptions after which another attempt is
    useless; `retry_after_s` says for some how long to wait instead of the queue's backoff."""

    call: Callable[..., Any]
    payload: Callable[[Claimed], Any]
    asynchronous: bool
    with_context: bool
    dead_letter: Errors = ()
    retry_after_s: Mapping[type[BaseException], float] = {}
    timeout_s: float | None = None

    @property
    def plain(self) -> bool:
        """Nothing stands around the call."""
        return self.asynchronous and self.timeout_s is None


def handling(
    function: Callable[..., Any],
    payload: Callable[[Claimed], Any],
    dead_letter: Errors,
    retry_after_s: Mapping[type[BaseException], float] | None,
    timeout_s: float | None,
) -> Handling:
    """Raises TypeError for a function that takes neither a payload nor a payload and a context."""
    names = _positional(function)
    if not 1 <= len(names) <= 2:
        raise TypeError(f"{function!r} must take a payload, or a payload and a context")
    asynchronous = inspect.iscoroutinefunction(function)
    if timeout_s is not None and not asynchronous:
        raise TypeError("timeout_s needs an async handler: a thread can't be stopped")
    return Handling(
        function, payload, asynchronous, len(names) == 2, dead_letter, dict(retry_after_s or {}), timeout_s
    )


def payload_type(function: Callable[..., Any]) -> Any:
    """The annotation of the first parameter; Any where there is none."""
    names = _positional(function)
    found = getattr(function, "__annotations__", {}).get(names[0], Any) if names else Any
    # Only this one: the others may name what is imported for type checkers alone.
    return eval(found, function.__globals__) if isinstance(found, str) else found


def _positional(function: Callable[..., Any]) -> list[str]:
    parameters = inspect.signature(function).parameters.values()
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [parameter.name for parameter in parameters if parameter.kind in kinds]


class Job(Generic[P]):
    """Payloads are checked when they are submitted, and again when they are handled."""

    def __init__(self, app: App, type: str, kind: type[P], queue: str) -> None:
        self._app = app
        self.type = type
        self.queue = queue
        self.codec = Codec(kind)
        self.handling: Handling | None = None

    def draft(self, payload: P | dict[str, Any], **options: Unpack[Options]) -> Draft:
        """A checked message, for `publish_many` and the outbox. Raises PayloadError."""
        return Draft(self.type, self.codec.encode(payload), **options)

    async def submit(self, payload: P | dict[str, Any], **options: Unpack[Options]) -> Published:
        """Raises PayloadError before anything is sent."""
        body = self.codec.encode(payload)
        return await self._app.client.publish(self.queue, self.type, body, **options)

    def payload(self, message: Claimed) -> P:
        return self.codec.decode(message.body)


class HandledJob(Job[P], Generic[P, R]):
    """A job with its handler; called like one, it is the function that was decorated."""

    def __init__(
        self, app: App, type: str, kind: type[P], queue: str, function: Callable[Concatenate[P, ...], R]
    ) -> None:
        super().__init__(app, type, kind, queue)
        self._function = function

    def __call__(self, payload: P, *rest: Any) -> R:
        return self._function(payload, *rest)
