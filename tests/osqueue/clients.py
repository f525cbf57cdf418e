"""The protocol as its clients speak it, once for each transport, behind the same few methods."""

from __future__ import annotations

import asyncio
import json
from base64 import b64decode, b64encode
from itertools import count
from typing import Any, Protocol

import aiohttp

from scaiqueue.osqueue.messages import CLASSES

SERVICE = "/osqueue.v1.QueueService/"


class Refused(Exception):
    """An answer that is an error; `code` is the tag, or Connect's code. `status` is 0 where there is none."""

    def __init__(self, code: str, message: str, status: int = 0) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.code, self.message, self.status = code, message, status


class JobClient(Protocol):
    """Answers as REST has them."""

    async def submit(self, payload: Any, **also: Any) -> str: ...
    async def claim(self, worker: str, types: list[str] | None = None) -> dict[str, Any]: ...
    async def heartbeat(self, job: str, worker: str) -> None: ...
    async def complete(self, job: str, worker: str) -> None: ...
    async def stats(self) -> dict[str, Any]: ...
    async def jobs(self) -> dict[str, Any]: ...


class RestClient:
    def __init__(self, session: aiohttp.ClientSession) -> None:
        self.session = session

    async def call(self, verb: str, path: str, body: Any = None) -> Any:
        """The content; None for 204."""
        async with self.session.request(verb, path, json=body) as answer:
            content = await answer.read()
            if answer.status >= 400:
                error = json.loads(content)
                assert set(error) == {"_tag", "message"}
                raise Refused(error["_tag"], error["message"], answer.status)
            assert (answer.status == 204) == (content == b"")
            return json.loads(content) if content else None

    async def submit(self, payload: Any, **also: Any) -> str:
        answer = await self.call("POST", "/v1/jobs", {"payload": payload, **also})
        assert set(answer) == {"jobId"}
        return str(answer["jobId"])

    async def claim(self, worker: str, types: list[str] | None = None) -> dict[str, Any]:
        body = {"workerId": worker} | ({} if types is None else {"types": types})
        found: dict[str, Any] = await self.call("POST", "/v1/jobs/claim", body)
        return found

    async def heartbeat(self, job: str, worker: str) -> None:
        assert await self.call("POST", f"/v1/jobs/{job}/heartbeat", {"workerId": worker}) is None

    async def complete(self, job: str, worker: str) -> None:
        assert await self.call("POST", f"/v1/jobs/{job}/complete", {"workerId": worker}) is None

    async def stats(self) -> dict[str, Any]:
        found: dict[str, Any] = await self.call("GET", "/v1/stats")
        return found

    async def jobs(self) -> dict[str, Any]:
        found: dict[str, Any] = await self.call("GET", "/v1/jobs")
        return found


class SocketClient:
    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self._numbers = count(1)
        self._waiting: dict[Any, asyncio.Future[Any]] = {}
        self._reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for message in self.socket:
            answer = json.loads(message.data)
            self._waiting.pop(answer["id"]).set_result(answer)

    async def raw(self, content: str | bytes, call_id: Any = None) -> Any:
        """The answer that has the id; bytes go in a binary frame."""
        waiting = self._waiting[call_id] = asyncio.get_running_loop().create_future()
        await (self.socket.send_str(content) if isinstance(content, str) else self.socket.send_bytes(content))
        return await waiting

    async def call(self, method: str, **params: Any) -> Any:
        call_id = f"call-{next(self._numbers)}"
        answer = await self.raw(json.dumps({"id": call_id, "method": method, "params": params}), call_id)
        if answer["ok"]:
            assert set(answer) == {"id", "ok", "result"}
            return answer["result"]
        assert set(answer) == {"id", "ok", "error"}
        assert set(answer["error"]) == {"_tag", "message"}
        raise Refused(answer["error"]["_tag"], answer["error"]["message"])

    async def close(self) -> None:
        await self.socket.close()
        await self._reader

    async def submit(self, payload: Any, **also: Any) -> str:
        answer = await self.call("submitJob", payload=payload, **also)
        return str(answer["jobId"])

    async def claim(self, worker: str, types: list[str] | None = None) -> dict[str, Any]:
        also = {} if types is None else {"types": types}
        found: dict[str, Any] = await self.call("claimJob", workerId=worker, **also)
        return found

    async def heartbeat(self, job: str, worker: str) -> None:
        assert await self.call("heartbeat", jobId=job, workerId=worker) == {}

    async def complete(self, job: str, worker: str) -> None:
        assert await self.call("completeJob", jobId=job, workerId=worker) == {}

    async def stats(self) -> dict[str, Any]:
        found: dict[str, Any] = await self.call("getStats")
        return found

    async def jobs(self) -> dict[str, Any]:
        found: dict[str, Any] = await self.call("listJobs")
        return found


class ConnectClient:
    """What the messages leave out is put back, so that answers can be compared with REST's."""

    def __init__(self, session: aiohttp.ClientSession, content_type: str) -> None:
        self.session = session
        self.content_type = content_type

    async def raw(self, method: str, body: bytes, **headers: str) -> tuple[int, Any, bytes]:
        async def chunks() -> Any:
            yield body

        headers = {"Content-Type": self.content_type, "Connect-Protocol-Version": "1", **headers}
        # A body without a known length is sent in chunks, as osqueue's client does.
        async with self.session.post(SERVICE + method, data=chunks(), headers=headers) as answer:
            content = await answer.read()
            assert int(answer.headers["Content-Length"]) == len(content)
            return answer.status, answer.headers, content

    async def call(self, method: str, **fields: Any) -> Any:
        given = {name: value for name, value in fields.items() if value is not None}
        proto = self.content_type == "application/proto"
        if proto:
            body = CLASSES[f"{method}Request"](**given).SerializeToString()
        else:
            body = json.dumps({_camel(name): _json(value) for name, value in given.items()}).encode()
        status, headers, content = await self.raw(method, body)
        if status != 200:
            error = json.loads(content)
            assert set(error) == {"code", "message"}
            raise Refused(error["code"], error["message"], status)
        assert headers["Content-Type"] == self.content_type
        return CLASSES[f"{method}Response"].FromString(content) if proto else json.loads(content)

    def get(self, answer: Any, name: str, absent: Any = None) -> Any:
        if isinstance(answer, dict):
            value = answer.get(_camel(name), absent)
            return b64decode(value) if name == "payload" else value
        field = answer.DESCRIPTOR.fields_by_name[name]
        return getattr(answer, name) if not field.has_presence or answer.HasField(name) else absent

    async def submit(self, payload: Any, **also: Any) -> str:
        max_attempts, job_type = also.get("maxAttempts"), also.get("type")
        body = json.dumps(payload).encode()
        return str(
            self.get(
                await self.call("SubmitJob", payload=body, max_attempts=max_attempts, type=job_type), "job_id"
            )
        )

    async def claim(self, worker: str, types: list[str] | None = None) -> dict[str, Any]:
        answer = await self.call("ClaimJob", worker_id=worker, types=types)
        job_id = self.get(answer, "job_id")
        if job_id is None:
            assert not answer if isinstance(answer, dict) else not answer.ByteSize()
            return {}
        found = {"jobId": job_id, "payload": json.loads(self.get(answer, "payload"))}
        job_type = self.get(answer, "type", "")
        return found | ({"type": job_type} if job_type else {})

    async def heartbeat(self, job: str, worker: str) -> None:
        await self.call("Heartbeat", job_id=job, worker_id=worker)

    async def complete(self, job: str, worker: str) -> None:
        await self.call("CompleteJob", job_id=job, worker_id=worker)

    async def stats(self) -> dict[str, Any]:
        """Connect's answer has no completedTotal; the list's has."""
        answer, listed = await self.call("GetStats"), await self.jobs()
        names = ("total", "unclaimed", "in_progress")
        counts = {_camel(name): self.get(answer, name, 0) for name in names}
        total = listed["completedTotal"]
        return {**counts, "completedTotal": total, "brokerAddress": self.get(answer, "broker_address")}

    async def jobs(self) -> dict[str, Any]:
        answer = await self.call("ListJobs")
        names = ("total", "unclaimed", "in_progress", "completed_total")
        counts = {_camel(name): self.get(answer, name, 0) for name in names}
        jobs = [self._job(job) for job in self.get(answer, "jobs", [])]
        return {**counts, "brokerAddress": self.get(answer, "broker_address"), "jobs": jobs}

    def _job(self, job: Any) -> dict[str, Any]:
        found = {name: self.get(job, name) for name in ("id", "status")}
        found["payload"] = json.loads(self.get(job, "payload"))
        for name in ("type", "worker_id"):
            if value := self.get(job, name, ""):
                found[_camel(name)] = value
        for name in ("created_at", "attempts", "max_attempts", "heartbeat"):
            value = self.get(job, name, 0)
            if isinstance(job, dict) and name in ("created_at", "heartbeat") and value:
                assert isinstance(value, str)
            found[_camel(name)] = int(value)
        return found


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(word.capitalize() for word in others)


def _json(value: Any) -> Any:
    return b64encode(value).decode() if isinstance(value, bytes) else value
