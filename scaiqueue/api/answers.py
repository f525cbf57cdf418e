"""Envelopes of answers: one thing, a list, an error. Bytes are encoded once, by msgspec."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from litestar import Response
from litestar.enums import MediaType

_encode = msgspec.json.Encoder().encode


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


def json_response(
    content: object, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response[bytes]:
    return Response(_encode(content), status_code=status, media_type=MediaType.JSON, headers=headers)


def one(
    data: object, request_id: str, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response[bytes]:
    """`{"data": …, "meta": {"request_id"}}`"""
    return json_response(Answer(data, Meta(request_id)), status, headers)


def many(
    data: Sequence[object], request_id: str, next_cursor: str | None = None, stale: bool = False
) -> Response[bytes]:
    """`{"data": […], "meta": {"request_id", "next_cursor", "stale"}}`"""
    return json_response(Answer(data, ListMeta(request_id, next_cursor, stale)))
