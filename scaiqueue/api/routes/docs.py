"""The OpenAPI document and a page to browse it, which needs nothing from elsewhere."""

from __future__ import annotations

from functools import cache
from html import escape
from importlib.resources import files
from typing import Any

import msgspec
from litestar import Response, get
from litestar.handlers import HTTPRouteHandler

from scaiqueue.api.openapi import openapi_document
from scaiqueue.api.routes import ENDPOINTS
from scaiqueue.errors import Code, QueueError

# Name in the path -> media type, and whether it is kept compressed.
_ASSETS = {
    "start.js": ("text/javascript", False),
    "swagger-ui.css": ("text/css", True),
    "swagger-ui-bundle.js": ("text/javascript", True),
}


@cache
def _document() -> bytes:
    return msgspec.json.encode(openapi_document(ENDPOINTS))


@cache
def _asset(name: str) -> bytes:
    return (files("scaiqueue.api") / "assets" / name).read_bytes()


@cache
def _errors() -> bytes:
    told = "".join(
        f"<dt id={code.name}>{code.name} ({code.status})</dt><dd>{escape(code.value.advice)}</dd>"
        for code in Code
    )
    return f"<!doctype html><title>ScaiQueue: errors</title><h1>Errors</h1><dl>{told}</dl>".encode()


def docs_routes() -> list[HTTPRouteHandler]:
    @get("/openapi.json", include_in_schema=False)
    async def document() -> Response[Any]:
        """OpenAPI 3.1."""
        return Response(_document(), media_type="application/json")

    @get("/docs", include_in_schema=False)
    async def page() -> Response[Any]:
        """Swagger UI."""
        return Response(_asset("index.html"), media_type="text/html; charset=utf-8")

    @get("/docs/errors", include_in_schema=False)
    async def errors() -> Response[Any]:
        """What problem details name as their type."""
        return Response(_errors(), media_type="text/html; charset=utf-8")

    @get("/docs/{name:str}", include_in_schema=False)
    async def asset(name: str) -> Response[Any]:
        """A part of the page."""
        if name not in _ASSETS:
            raise QueueError(Code.NOT_FOUND)
        media_type, compressed = _ASSETS[name]
        headers = {"Cache-Control": "public, max-age=3600"}
        if compressed:
            headers["Content-Encoding"] = "gzip"
        return Response(_asset(f"{name}.gz" if compressed else name), media_type=media_type, headers=headers)

    return [document, page, errors, asset]
