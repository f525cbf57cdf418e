"""Answers over HTTP, before they are sent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from scaiqueue.errors import QueueError
from scaiqueue.osqueue.refusals import Tagged, headers_of, status_of, tagged

JSON = "application/json"
_NO_HEADERS: Mapping[str, str] = {}
_encode = msgspec.json.Encoder().encode


class Answer(NamedTuple):
    status: int
    body: bytes = b""
    content_type: str = JSON
    headers: Mapping[str, str] = _NO_HEADERS


def refused(error: QueueError) -> Answer:
    return Answer(status_of(error), _encode(tagged(error)), headers=headers_of(error))


def unknown(status: int, tag: str, message: str, **headers: str) -> Answer:
    """Of what is no call of the protocol."""
    return Answer(status, _encode(Tagged(tag, message)), headers=headers)
