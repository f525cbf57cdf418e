"""What each transport has of its own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import WSMsgType

from tests.eventually import eventually
from tests.osqueue.clients import SERVICE, ConnectClient, Refused, RestClient, SocketClient
from tests.osqueue.conftest import PAGE, Tenant

PROTOCOL_ERROR = "BrokerProtocolError"


@pytest.fixture
async def rest(tenant: Tenant) -> AsyncIterator[RestClient]:
    async with tenant.client("rest") as client:
        yield client


@pytest.fixture
async def socket(tenant: Tenant) -> AsyncIterator[SocketClient]:
    async with tenant.client("ws") as client:
        yield client


async def test_health_state_and_metrics(rest: RestClient) -> None:
    assert await rest.call("GET", "/healthz") == {"status": "ok"}
    job = await rest.submit({"a": 1}, type="t")
    state = await rest.call("GET", "/state")
    assert set(state) == {"broker", "brokerHeartbeat", "jobs", "completedTotal"}
    assert state["jobs"] == (await rest.jobs())["jobs"]
    assert [one["id"] for one in state["jobs"]] == [job]
    assert state["broker"] == (await rest.stats())["brokerAddress"]
    assert (await rest.call("GET", "/readyz"))["ready"]
    async with rest.session.get("/metrics") as answer:
        text = await answer.text()
    assert 'scaiqueue_osqueue_requests_total{method="submitJob",result="ok",transport="rest"}' in text


async def test_rest_refuses_what_is_no_call(rest: RestClient) -> None:
    for verb, path in (("GET", "/"), ("PUT", "/v1/jobs"), ("POST", "/v1/jobs/x/fail"), ("GET", "/v1/stats/")):
        with pytest.raises(Refused) as caught:
            await rest.call(verb, path)
        assert (caught.value.code, caught.value.status) == (PROTOCOL_ERROR, 404)
    with pytest.raises(Refused) as caught:
        await rest.call("GET", "/v1/ws")
    assert caught.value.status == 426
    for body, status, code in (
        (b"{", 400, "MALFORMED_JSON"),
        (b"\xff", 400, "MALFORMED_JSON"),
        (b"[]", 400, "VALIDATION_ERROR"),
        (b"{}", 400, "VALIDATION_ERROR"),
        (b'{"payload": 1, "maxAttempts": "7"}', 400, "VALIDATION_ERROR"),
        (b'{"payload": 1, "type": 7}', 400, "VALIDATION_ERROR"),
        (b'{"payload": "%b"}' % (b"x" * 300_000), 413, "SCAIQUEUE_MESSAGE_TOO_LARGE"),
    ):
        async with rest.session.post("/v1/jobs", data=body) as answer:
            assert (answer.status, (await answer.json())["_tag"]) == (status, code)
    async with rest.session.post("/v1/jobs", data=b"x" * 1_000_000) as answer:
        assert answer.status == 413
    assert (await rest.jobs())["jobs"] == []


async def test_without_a_key_the_installation_s_is_used(tenant: Tenant) -> None:
    async with tenant.client("rest", "") as client:
        job = await client.submit({"from": "nobody"}, type="anonymous")
        assert (await client.claim("w", ["anonymous"]))["jobId"] == job
        await client.complete(job, "w")
    async with tenant.client("ws", "") as client:
        assert "total" in await client.stats()


async def test_another_scheme_is_no_key(tenant: Tenant) -> None:
    basic = {"Authorization": "Basic dTpw"}
    async with tenant.session("") as session, session.get("/v1/stats", headers=basic) as answer:
        assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
        assert (await answer.json())["_tag"] == "AUTH_TOKEN_MISSING"


async def test_frames_that_are_no_call(socket: SocketClient) -> None:
    for text in ("{", "[]", "7", '"x"', '{"id": 1, "method": 7}'):
        answer = await socket.raw(text)
        assert answer["id"] is None
        assert (answer["ok"], answer["error"]["_tag"]) == (False, PROTOCOL_ERROR)
    assert (await socket.raw(b"\xff"))["error"]["_tag"] == PROTOCOL_ERROR
    for name in ("cancelJob", "getState"):
        answer = await socket.raw(json.dumps({"id": name, "method": name}), name)
        error = {"_tag": PROTOCOL_ERROR, "message": f"Unsupported WS method: {name}"}
        assert answer == {"id": name, "ok": False, "error": error}
    answer = await socket.raw(
        '{"id": 7, "method": "submitJob", "params": {"payload": 1, "maxAttempts": "7"}}', 7
    )
    assert (answer["ok"], answer["error"]["_tag"]) == (False, "VALIDATION_ERROR")
    with pytest.raises(Refused) as caught:
        await socket.call("submitJob")
    assert "payload" in caught.value.message


async def test_a_socket_carries_many_calls_at_once(socket: SocketClient) -> None:
    jobs = await asyncio.gather(*(socket.submit(number) for number in range(200)))
    claims = await asyncio.gather(*(socket.claim("w") for _ in range(200)))
    assert sorted(claim["jobId"] for claim in claims) == sorted(jobs)


async def test_a_frame_that_is_too_large_ends_the_connection(tenant: Tenant) -> None:
    async with tenant.session() as session, session.ws_connect("/v1/ws") as ws:
        await ws.send_str("x" * 1_000_000)
        assert (await ws.receive()).type in (WSMsgType.CLOSE, WSMsgType.CLOSED)
        assert ws.close_code == 1009


async def test_protobuf_on_the_wire(tenant: Tenant) -> None:
    """Bytes as the protocol's field numbers give them, made by hand."""
    async with tenant.client("proto") as client:
        assert isinstance(client, ConnectClient)
        status, headers, content = await client.raw("SubmitJob", b'\x0a\x07{"a":1}\x10\x05\x1a\x01t')
        assert (status, headers["Content-Type"]) == (200, "application/proto")
        assert content[:2] == b"\x0a\x24"
        job = content[2:]
        assert len(job) == 36
        _, _, content = await client.raw("ClaimJob", b"\x0a\x01w\x12\x01s\x12\x01t")
        assert content == b'\x0a\x24%b\x12\x07{"a":1}\x1a\x01t' % job
        _, _, content = await client.raw("GetStats", b"")
        assert content.startswith(b"\x08\x01\x18\x01\x22")
        _, _, content = await client.raw("ListJobs", b"")
        assert b'\x0a\x24%b\x12\x0bin_progress\x1a\x07{"a":1}\x22\x01t\x2a\x01w\x30' % job in content
        held = b"\x0a\x24%b\x12\x01w" % job
        for method in ("Heartbeat", "CompleteJob"):
            assert (await client.raw(method, held))[::2] == (200, b"")
        assert (await client.raw("ClaimJob", b"\x0a\x01w"))[::2] == (200, b"")


async def test_connect_refuses_what_is_no_call(tenant: Tenant) -> None:
    async with tenant.client("proto") as proto, tenant.client("json") as as_json:
        assert isinstance(proto, ConnectClient)
        assert isinstance(as_json, ConnectClient)
        for client, method, body, status, code in (
            (proto, "SubmitJob", b"\xff", 400, "invalid_argument"),
            (proto, "SubmitJob", b"\x0a\x01{", 400, "invalid_argument"),
            (proto, "SubmitJob", b"", 400, "invalid_argument"),
            (proto, "SubmitJob", b'\x0a\xe2\xa7\x12"%b"' % (b"x" * 300_000), 400, "invalid_argument"),
            (as_json, "SubmitJob", b"{", 400, "invalid_argument"),
            (as_json, "SubmitJob", b'{"payload": "e30=", "maxAttempts": "seven"}', 400, "invalid_argument"),
            (as_json, "FailJob", b"{}", 404, "unimplemented"),
        ):
            found, _, content = await client.raw(method, body)
            assert (found, json.loads(content)["code"]) == (status, code)
        status, headers, _ = await proto.raw("GetStats", b"", **{"Content-Type": "application/grpc"})
        assert (status, headers["Accept-Post"]) == (415, "application/proto, application/json")
        async with proto.session.get(SERVICE + "GetStats") as answer:
            assert (answer.status, answer.headers["Allow"]) == (405, "POST")


async def test_pages_of_named_origins_may_call(tenant: Tenant) -> None:
    async with tenant.session() as session:
        for origin in (PAGE, "http://localhost:5173", "http://127.0.0.1:3000"):
            asked = {"Origin": origin, "Access-Control-Request-Method": "POST"}
            async with session.options(SERVICE + "ListJobs", headers=asked) as answer:
                assert answer.status == 204
                assert "Connect-Protocol-Version" in answer.headers["Access-Control-Allow-Headers"]
                assert "POST" in answer.headers["Access-Control-Allow-Methods"]
            async with session.get("/v1/stats", headers={"Origin": origin}) as answer:
                assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (200, origin)
        stranger = {"Origin": "https://elsewhere.example.com"}
        async with session.post("/v1/jobs", json={"payload": 1}, headers=stranger) as answer:
            assert (answer.status, (await answer.json())["_tag"]) == (403, PROTOCOL_ERROR)
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await session.ws_connect("/v1/ws", headers=stranger)
        assert caught.value.status == 403


async def test_calls_are_in_the_audit(rest: RestClient, tenant: Tenant) -> None:
    job = await rest.submit({"a": 1}, type="t")
    async with tenant.client("rest", await tenant.key("view")) as viewer:
        with pytest.raises(Refused):
            await viewer.submit({"a": 1}, type="t")

    async def recorded() -> bool:
        """By another process, in a moment."""
        async with tenant.api() as http:
            calls = (await http.get("/audit", params={"event_type": "osqueue_submit_job"})).json()["data"]
        return [(call["outcome"], call["message_ids"]) for call in calls] == [
            ("AUTHZ_PERMISSION_DENIED", []),
            ("OK", [job]),
        ]

    await eventually(recorded)
