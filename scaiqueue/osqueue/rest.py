"""REST: what method a path means, and its parameters."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec

from scaiqueue.api.validation import decode
from scaiqueue.errors import QueueError
from scaiqueue.osqueue.answers import Answer, refused
from scaiqueue.osqueue.methods import Method, Methods
from scaiqueue.osqueue.words import Holding, Nothing, Worker

TRANSPORT = "rest"

_worker = msgspec.json.Decoder(Worker)
_encode = msgspec.json.Encoder().encode
_PATHS = {
    ("GET", "/state"): "getState",
    ("POST", "/v1/jobs"): "submitJob",
    ("POST", "/v1/jobs/claim"): "claimJob",
    ("GET", "/v1/stats"): "getStats",
    ("GET", "/v1/jobs"): "listJobs",
}
_HELD = {"heartbeat": "heartbeat", "complete": "completeJob"}


def find(verb: str, path: str) -> tuple[str, str] | None:
    """Name of a method and the job that the path names, or "". None: there is no such path."""
    name = _PATHS.get((verb, path))
    if name is not None:
        return name, ""
    if verb == "POST" and path.startswith("/v1/jobs/"):
        job_id, _, last = path.removeprefix("/v1/jobs/").partition("/")
        if last in _HELD:
            return _HELD[last], job_id
    return None


async def answer(methods: Methods, found: tuple[str, str], authorization: str | None, body: bytes) -> Answer:
    name, job_id = found
    method = methods[name]
    result = await methods.call(TRANSPORT, method, authorization, _reader(method, job_id, body))
    if isinstance(result, QueueError):
        return refused(result)
    return Answer(204) if isinstance(result, Nothing) else Answer(200, _encode(result))


def _reader(method: Method, job_id: str, body: bytes) -> Callable[[], Any]:
    if method.asked.type is Nothing:
        return Nothing
    if method.asked.type is Holding:
        return lambda: Holding(decode(_worker, body).worker_id, job_id)
    return partial(decode, method.asked, body)
