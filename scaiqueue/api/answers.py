"""Answers ready to be sent: one thing, a list, an error. Bytes are encoded once, by msgspec or spliced."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from litestar import Response
from litestar.enums import MediaType

encode = msgspec.json.Encoder().encode
_NO_HEADERS: Mapping[str, str] = {}


class Meta(msgspec.Struct, omit_defaults=True):
    """What an answer says about itself."""

    request_id: str
    next_cursor: str | None = None
    stale: bool | None = None


class ListMeta(msgspec.Struct):
    """As Meta; `next_cursor` is always there, null on the last page."""

    request_id: str
    next_cursor: str | None = None
    stale: bool = False


class Answer(msgspec.Struct):
    data: Any
    meta: Meta | ListMeta


class Rendered(msgspec.Struct):
    """JSON with its status and the headers that go with it."""

    body: bytes
    status: int = 200
    headers: Mapping[str, str] = _NO_HEADERS

    def response(self) -> Response[bytes]:
        """For Litestar."""
        return json_response(self.body, self.status, self.headers)


def json_response(
    content: object, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response[bytes]:
    """Bytes are JSON already."""
    body = content if isinstance(content, bytes) else encode(content)
    return Response(body, status_code=status, media_type=MediaType.JSON, headers=headers)


def one(
    data: object, request_id: str, status: int = 200, headers: Mapping[str, str] = _NO_HEADERS
) -> Rendered:
    """`{"data": …, "meta": {"request_id"}}`; bytes are the JSON of the data."""
    # A request id is made of characters that stand for themselves in JSON.
    return Rendered(
        b'{"data":%b,"meta":{"request_id":"%b"}}' % (_json(data), request_id.encode()), status, headers
    )


def many(
    data: Sequence[object] | bytes, request_id: str, next_cursor: str | None = None, stale: bool = False
) -> Rendered:
    """`{"data": […], "meta": {"request_id", "next_cursor", "stale"}}`; bytes are the JSON of the list."""
    meta = encode(ListMeta(request_id, next_cursor, stale))
    return Rendered(b'{"data":%b,"meta":%b}' % (_json(data), meta))


def _json(data: object) -> bytes:
    return data if isinstance(data, bytes) else encode(data)
