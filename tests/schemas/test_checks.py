"""Schemas over HTTP: versions, bindings, modes, and every error."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.api.conftest import Api, created, failed
from tests.review.test_specs import nested

SCHEMA = {"type": "object", "required": ["id"], "properties": {"id": {"type": "string"}}}
GOOD, BAD = {"id": "a"}, {"id": 1}
FAILED = "SCAIQUEUE_SCHEMA_VALIDATION_FAILED"
MISSING = "SCAIQUEUE_SCHEMA_NOT_FOUND"


class Shop:
    """A scope, with what the tests do in it."""

    def __init__(self, api: Api, scope: dict[str, Any]) -> None:
        self.api = api
        self.scope = scope
        self.path = f"/scopes/{scope['id']}"

    async def schema(self, name: str = "order", **fields: Any) -> dict[str, Any]:
        body = {"name": name, "schema": SCHEMA, **fields}
        return created(await self.api.http.post(f"{self.path}/schemas", json=body))

    async def queue(self, **fields: Any) -> str:
        queue = await self.api.queue(self.scope, **fields)
        return f"{self.path}/queues/{queue['slug']}"

    async def publish(self, queue: str, body: Any, **fields: Any) -> httpx.Response:
        return await self.api.http.post(f"{queue}/messages", json={"type": "t", "body": body, **fields})


@pytest.fixture
async def shop(api: Api) -> Shop:
    return Shop(api, await api.scope())


async def test_versions_never_change(api: Api, shop: Shop) -> None:
    first = await shop.schema()
    assert (first["version"], first["mode"], first["compatibility"]) == (1, "enforce", None)
    path = f"{shop.path}/schemas"
    body = {"name": "order", "version": 1, "schema": {}}
    error = failed(await api.http.post(path, json=body), 409, "SLUG_CONFLICT")
    assert error["details"] == [{"field": "version", "message": "Taken"}]
    second = await shop.schema(schema={})
    assert second["version"] == 2
    assert second["compatibility"] == {"previous": 1, "compatible": True, "problems": []}
    for name, found in (("order", second), ("order@1", first), (second["id"], second)):
        assert (await api.http.get(f"{path}/{name}")).json()["data"] == found
    listed = (await api.http.get(path, params={"name": "order"})).json()["data"]
    assert [one["id"] for one in listed] == [first["id"], second["id"]]
    failed(await api.http.get(f"{path}/none"), 404, MISSING)
    assert (await api.http.delete(f"{path}/order@2")).status_code == 200
    failed(await api.http.get(f"{path}/order@2"), 404, MISSING)
    assert (await api.http.get(f"{path}/order")).json()["data"] == first


@pytest.mark.parametrize(
    ("schema", "field"),
    [
        ({"type": "objekt"}, "schema.type"),
        ({"$ref": "http://127.0.0.1/x"}, "schema"),
        ({"title": "x" * 65_536}, "schema"),
        ({"default": nested(100)}, "schema"),
        ([], "schema"),
    ],
)
async def test_what_is_no_schema(api: Api, shop: Shop, schema: Any, field: str) -> None:
    answer = await api.http.post(f"{shop.path}/schemas", json={"name": "x", "schema": schema})
    assert [d["field"] for d in failed(answer, 422, "VALIDATION_ERROR")["details"]] == [field]


async def test_a_version_that_takes_less_is_told_or_refused(api: Api, shop: Shop) -> None:
    await shop.schema()
    narrow = {**SCHEMA, "required": ["id", "n"]}
    body = {"name": "order", "schema": narrow, "require_compatible": True}
    error = failed(await api.http.post(f"{shop.path}/schemas", json=body), 422, "VALIDATION_ERROR")
    assert error["details"] == [{"field": "schema.required", "message": "Newly required: n"}]
    told = (await shop.schema(schema=narrow))["compatibility"]
    assert (told["previous"], told["compatible"]) == (1, False)
    assert (await api.http.get(f"{shop.path}/schemas/order")).json()["data"]["compatibility"] == told


async def test_a_queues_schema(api: Api, shop: Shop) -> None:
    await shop.schema()
    queue = await shop.queue(schema="order")
    created(await shop.publish(queue, GOOD))
    error = failed(await shop.publish(queue, BAD), 422, FAILED)
    assert [detail["field"] for detail in error["details"]] == ["body.id"]
    # The name alone means the highest version, at once.
    await shop.schema(schema={})
    created(await shop.publish(queue, BAD))
    pinned = (await api.http.patch(queue, json={"schema": "order@1"})).json()["data"]
    assert pinned["schema"] == "order@1"
    failed(await shop.publish(queue, BAD), 422, FAILED)
    error = failed(await api.http.delete(f"{shop.path}/schemas/order@1"), 409, "SCAIQUEUE_INVALID_STATE")
    assert error["details"][0]["field"] == queue.rpartition("/")[2]
    await api.http.patch(queue, json={"schema": None})
    created(await shop.publish(queue, BAD))
    assert (await api.http.delete(f"{shop.path}/schemas/order@1")).status_code == 200
    failed(await api.http.patch(queue, json={"schema": "order@1"}), 404, MISSING)
    fields = {"slug": "x", "display_name": "x", "schema": "none"}
    failed(await api.http.post(f"{shop.path}/queues", json=fields), 404, MISSING)


async def test_a_message_types_schema(shop: Shop) -> None:
    queue = await shop.queue()
    created(await shop.publish(queue, BAD, type="order.created"))
    await shop.schema(message_type="order.created")
    failed(await shop.publish(queue, BAD, type="order.created"), 422, FAILED)
    created(await shop.publish(queue, BAD, type="order.paid"))
    await shop.schema(message_type="order.created", mode="off")
    created(await shop.publish(queue, BAD, type="order.created"))


async def test_the_publishers_schema_goes_first(shop: Shop) -> None:
    await shop.schema()
    await shop.schema("any", schema={})
    queue, free = await shop.queue(schema="order"), await shop.queue()
    created(await shop.publish(queue, BAD, schema="any@1"))
    failed(await shop.publish(free, BAD, schema="order"), 422, FAILED)
    failed(await shop.publish(free, BAD, schema="order@7"), 404, MISSING)
    error = failed(await shop.publish(free, BAD, schema="Order"), 422, "VALIDATION_ERROR")
    assert error["details"][0]["field"] == "schema"


async def test_a_warning_takes_the_message_and_counts_it(api: Api, shop: Shop) -> None:
    await shop.schema(mode="warn")
    queue = await shop.queue(schema="order")
    created(await shop.publish(queue, BAD))
    created(await shop.publish(queue, GOOD))
    await api.http.patch(queue, json={"schema_mode": "enforce"})
    failed(await shop.publish(queue, BAD), 422, FAILED)
    await api.http.patch(queue, json={"schema_mode": "off"})
    created(await shop.publish(queue, BAD))
    metrics = (await api.http.get(f"{api.server.url}/metrics")).text.splitlines()
    slug = shop.scope["slug"]
    for result in ("passed", "warned", "refused"):
        labels = f'result="{result}",scope="{slug}",tenant="default"'
        assert f"scaiqueue_schema_checks_total{{{labels}}} 1.0" in metrics
    assert b"schema_violated" in api.server.log.read_bytes()


async def test_other_content_does_not_fit(shop: Shop) -> None:
    await shop.schema()
    queue = await shop.queue(schema="order")
    error = failed(await shop.publish(queue, "AAAA", content_type="image/png"), 422, FAILED)
    assert error["details"] == [{"field": "body", "message": "Must be JSON"}]
    created(await shop.publish(queue, GOOD, content_type="application/vnd.order+json"))


async def test_a_batch_judges_each_message_alone(api: Api, shop: Shop) -> None:
    await shop.schema()
    queue = await shop.queue(schema="order")
    messages = [{"type": "t", "body": body} for body in (GOOD, BAD, GOOD)]
    answer = (await api.http.post(f"{queue}/messages/batch", json={"messages": messages})).json()["data"]
    assert [item.get("state") for item in answer] == ["pending", None, "pending"]
    assert answer[1]["error"]["details"][0]["field"] == "body.id"


async def test_trying_a_body(api: Api, shop: Shop) -> None:
    await shop.schema()
    path = f"{shop.path}/schemas/order/validate"
    assert (await api.http.post(path, json={"body": GOOD})).json()["data"] == {"valid": True, "details": []}
    tried = (await api.http.post(path, json={"body": BAD})).json()["data"]
    assert (tried["valid"], tried["details"][0]["field"]) == (False, "body.id")
    failed(await api.http.post(path, json={}), 422, "VALIDATION_ERROR")
    failed(await api.http.post(path.replace("order", "none"), json={"body": 1}), 404, MISSING)


async def test_a_removed_scope_takes_its_schemas_along(api: Api, shop: Shop) -> None:
    await shop.schema()
    assert (await api.http.delete(shop.path)).status_code in (200, 204)
    failed(await api.http.get(f"{shop.path}/schemas/order"), 404, "SCAIQUEUE_SCOPE_NOT_FOUND")
