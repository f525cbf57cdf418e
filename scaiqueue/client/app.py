"""The registry: which types of jobs there are, in which queues, and who handles them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Concatenate, Self, TypeVar, Unpack

from scaiqueue.client.client import Client
from scaiqueue.client.jobs import Errors, HandledJob, Handling, Job, handling, payload_type
from scaiqueue.client.messages import Claimed, Options, Published

P = TypeVar("P")
R = TypeVar("R")
Function = TypeVar("Function", bound=Callable[..., Any])
AnyJob = TypeVar("AnyJob", bound=Job[Any])


class App:
    """Types of jobs that producers and workers share. `queue` is where jobs go that name no other."""

    def __init__(self, client: Client, *, queue: str = "jobs") -> None:
        self.client = client
        self.queue = queue
        self._jobs: dict[str, Job[Any]] = {}
        self._by_queue: dict[str, Handling] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.client.close()

    def define(self, type: str, kind: type[P], *, queue: str | None = None) -> Job[P]:
        """A type that this program submits and another one handles."""
        return self._register(Job(self, type, kind, queue or self.queue))

    def job(
        self,
        type: str,
        *,
        queue: str | None = None,
        dead_letter: Errors = (),
        retry_after_s: Mapping[type[BaseException], float] | None = None,
        timeout_s: float | None = None,
    ) -> Callable[[Callable[Concatenate[P, ...], R]], HandledJob[P, R]]:
        """Decorates the handler of a type; the annotation of its first parameter is the payload's type, and
        a second parameter gets the Context. A plain function runs in a thread.

        `dead_letter`: exceptions that make another attempt useless. `retry_after_s`: seconds until the next
        attempt, by exception. `timeout_s`: the handler is cancelled then, and the attempt has failed.
        """

        def register(function: Callable[Concatenate[P, ...], R]) -> HandledJob[P, R]:
            made = HandledJob(self, type, payload_type(function), queue or self.queue, function)
            made.handling = handling(function, made.payload, dead_letter, retry_after_s, timeout_s)
            return self._register(made)

        return register

    def handle(
        self,
        queue: str,
        *,
        dead_letter: Errors = (),
        retry_after_s: Mapping[type[BaseException], float] | None = None,
        timeout_s: float | None = None,
    ) -> Callable[[Function], Function]:
        """Decorates the handler of all messages of a queue whose type has none: it gets the message."""

        def register(function: Function) -> Function:
            if queue in self._by_queue:
                raise ValueError(f"queue {queue!r} has a handler already")
            self._by_queue[queue] = handling(function, _itself, dead_letter, retry_after_s, timeout_s)
            return function

        return register

    async def submit(self, type: str, payload: Any, **options: Unpack[Options]) -> Published:
        """As the job's own `submit`, for a type known by name. Raises KeyError for an unknown one."""
        return await self._jobs[type].submit(payload, **options)

    @property
    def handled_queues(self) -> list[str]:
        """Where there is something to do for a worker."""
        by_type = [job.queue for job in self._jobs.values() if job.handling is not None]
        return list(dict.fromkeys([*by_type, *self._by_queue]))

    def handler_of(self, message: Claimed) -> Handling | None:
        """By type, else by queue."""
        job = self._jobs.get(message.type)
        if job is not None and job.handling is not None:
            return job.handling
        return self._by_queue.get(message.queue)

    def _register(self, job: AnyJob) -> AnyJob:
        if job.type in self._jobs:
            raise ValueError(f"job {job.type!r} is there already")
        self._jobs[job.type] = job
        return job


def _itself(message: Claimed) -> Claimed:
    return message
