"""Whatever the documentation allows or forbids: no 500, no status and no form that it doesn't tell."""

from __future__ import annotations

from itertools import count
from typing import Any

import httpx
import msgspec
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from scaiqueue.api.openapi import openapi_document
from scaiqueue.api.routes import ENDPOINTS
from tests.api.conftest import BASE, FIRST_KEY, ApiServer
from tests.servers import RedisServer

EXAMPLES = 4
HEADERS = {"Authorization": f"Bearer {FIRST_KEY}"}
CLOSING = ("delete_", "pause_", "archive_", "drain_", "close_", "abort_")

_document = msgspec.json.decode(msgspec.json.encode(openapi_document(ENDPOINTS)))
_paths = {path: item for path, item in _document["paths"].items() if path.startswith(BASE)}
# An answer without end is not a case for this.
schema = schemathesis.openapi.from_dict({**_document, "paths": _paths}).exclude(operation_id="stream_events")
checks = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
_numbers = count(1)


class Ground:
    """A scope with a queue and a message, to put into paths; a fresh one for what closes it."""

    def __init__(self, url: str) -> None:
        self.http = httpx.Client(base_url=url + BASE, headers=HEADERS, timeout=30)
        self.names: dict[str, str] = self.fresh()

    def fresh(self) -> dict[str, str]:
        number = next(_numbers)
        scope = self._made("/scopes", {"slug": f"fuzz{number}", "display_name": "x"})
        queue = self._made(f"/scopes/{scope}/queues", {"slug": f"q{number}", "display_name": "x"})
        message = self._made(f"/scopes/{scope}/queues/{queue}/messages", {"type": "t", "body": 1})
        stream = self._made(f"/scopes/{scope}/streams", {"queue": queue, "type": "t"})
        return {"scope": scope, "queue": queue, "message": message, "stream": stream}

    def _made(self, path: str, body: dict[str, Any]) -> str:
        made: str = self.http.post(path, json=body).json()["data"]["id"]
        return made


@pytest.fixture(scope="module")
def ground(api_servers: tuple[ApiServer, RedisServer]) -> Any:
    found = Ground(api_servers[0].url)
    yield found
    found.http.close()


@schema.parametrize()
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
def test_every_answer_is_one_that_is_documented(
    case: schemathesis.Case, ground: Ground, api_servers: tuple[ApiServer, RedisServer]
) -> None:
    server, _ = api_servers
    closing = str(case.operation.definition.raw["operationId"]).startswith(CLOSING)
    if next(_numbers) % 4:
        names = ground.fresh() if closing else ground.names
        case.path_parameters = {
            name: names.get(name, value) for name, value in (case.path_parameters or {}).items()
        }
    if isinstance(case.body, dict):
        case.body.pop("wait_s", None)
        if isinstance(case.body.get("claim"), dict):
            case.body["claim"].pop("wait_s", None)
    if case.operation.definition.raw["operationId"] == "wait_for_message":
        case.query = {"timeout_s": "0"}
    response = case.call(base_url=server.url, headers=HEADERS)
    case.validate_response(response, checks=checks)
