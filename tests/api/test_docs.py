"""The documentation that the server serves, health and metrics."""

from __future__ import annotations

import re

import httpx

from scaiqueue.errors import Code
from tests.api.conftest import BASE, Api


async def test_the_document_tells_every_code(api: Api) -> None:
    async with httpx.AsyncClient(base_url=api.server.url) as plain:
        document = (await plain.get("/openapi.json")).json()
    assert document["openapi"].startswith("3.1")
    publish = document["paths"][f"{BASE}/scopes/{{scope}}/queues/{{queue}}/messages"]["post"]
    assert {"200", "201", "400", "401", "403", "404", "409", "413", "422", "429", "503"} <= set(
        publish["responses"]
    )
    described = str(document["paths"])
    for code in Code:
        if code not in (Code.NOT_FOUND, Code.METHOD_NOT_ALLOWED, Code.SCAIQUEUE_INTERNAL):
            assert code.name in described, code
    assert document["components"]["schemas"]["Publish"]["examples"]


async def test_the_page_needs_nothing_from_elsewhere(api: Api) -> None:
    async with httpx.AsyncClient(base_url=api.server.url) as plain:
        page = (await plain.get("/docs")).text
        parts = re.findall(r'(?:src|href)="([^"]+)"', page)
        assert not [part for part in parts if "//" in part]
        for part in parts:
            if not part.startswith("data:"):
                answer = await plain.get("/" + part)
                assert answer.status_code == 200
                assert len(answer.text) > 100
        assert (await plain.get("/docs/nothing")).status_code == 404


async def test_problem_details_name_a_page(api: Api) -> None:
    problem = await api.http.get("/scopes/nothing", headers={"Accept": "application/problem+json"})
    page, _, anchor = problem.json()["type"].partition("#")
    async with httpx.AsyncClient(base_url=api.server.url) as plain:
        answer = await plain.get(page)
    assert answer.status_code == 200
    assert f"id={anchor}>" in answer.text


async def test_health_and_metrics(api: Api) -> None:
    await api.scope()
    async with httpx.AsyncClient(base_url=api.server.url) as plain:
        assert (await plain.get("/healthz")).json() == {"status": "ok"}
        ready = await plain.get("/readyz")
        assert ready.status_code == 200
        assert ready.json()["ready"] is True
        metrics = (await plain.get("/metrics")).text
    assert "scaiqueue_http_requests_total{" in metrics
    assert 'path="/v1/modules/scaiqueue/scopes"' in metrics
    assert "scaiqueue_messages_total" in metrics
