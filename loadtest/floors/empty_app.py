"""The least typed HTTP call: a Litestar POST handler that decodes a message and answers an id.

Run: python -m loadtest.floors.empty_app PORT
"""

from __future__ import annotations

import sys
from typing import Any

import msgspec
import uvicorn
from litestar import Litestar, post


class Source(msgspec.Struct):
    type: str
    id: str


class Body(msgspec.Struct):
    """As `POST …/messages` takes it, with the fields that the benchmark sends."""

    type: str
    body: Any
    source: Source | None = None


class Accepted(msgspec.Struct):
    id: str
    state: str


class Answer(msgspec.Struct):
    data: Accepted


@post("/messages", status_code=201)
async def accept(data: Body) -> Answer:
    """Does nothing with what it was given."""
    return Answer(Accepted("0191d2f0-0000-7000-8000-000000000001", "pending"))


def main(port: int) -> None:
    """Serve with the settings of `scaiqueue api`."""
    uvicorn.run(
        Litestar([accept], openapi_config=None, logging_config=None),
        host="127.0.0.1",
        port=port,
        loop="uvloop",
        http="httptools",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=75,
    )


if __name__ == "__main__":
    main(int(sys.argv[1]))
