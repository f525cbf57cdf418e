"""The system queues of the consistency checker, read over HTTP."""

from __future__ import annotations

from typing import Any

from uuid_utils import uuid7

from scaiqueue.moments import now_ms
from scaiqueue.rows import integrity
from scaiqueue.rows.engine import open_engine
from scaiqueue.rows.integrity import Noted
from tests.api.conftest import Api


def _noted(scope: dict[str, Any], kind: str, **fields: Any) -> Noted:
    now = now_ms()
    of = {"tenant_id": "default", "scope_id": scope["id"], "shard": scope["shard"], "queue": "tasks"}
    return Noted(
        id=str(uuid7()), kind=kind, subject="m", detail="seen", found_at=now, seen_at=now, **of | fields
    )


async def test_findings_and_corrections_are_read_as_messages_of_their_queues(api: Api) -> None:
    scope, other = await api.scope(), await api.scope()
    engine = open_engine(api.server.database_url)
    corrected = {"corrected_at": now_ms(), "correction": "put back"}
    findings = [
        _noted(scope, "unplaced", **corrected),
        _noted(scope, "unreadable"),
        _noted(scope, "journal_gap", scope_id="", tenant_id="", queue=""),
        _noted(other, "unplaced"),
    ]
    await integrity.note(engine, findings)
    await engine.dispose()

    async def listed(queue: str, **query: Any) -> dict[str, Any]:
        answer = await api.http.get(f"/scopes/{scope['id']}/messages", params={"queue": queue, **query})
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    found = (await listed("_integrity"))["data"]
    assert [one["message_type"] for one in found] == [
        "divergence.journal_gap",
        "divergence.unreadable",
        "divergence.unplaced",
    ]
    assert [one["state"] for one in found] == ["pending", "pending", "completed"]
    assert found[2]["body"]["subject"] == "m"
    (correction,) = (await listed("_corrections"))["data"]
    assert (correction["message_type"], correction["body"]["correction"]) == (
        "correction.unplaced",
        "put back",
    )
    first = await listed("_integrity", limit=2)
    rest = await listed("_integrity", limit=2, cursor=first["meta"]["next_cursor"])
    assert [one["id"] for one in first["data"] + rest["data"]] == [one["id"] for one in found]
    assert rest["meta"]["next_cursor"] is None
