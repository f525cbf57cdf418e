"""A scope with queues on the real scripts, for the agents' tests."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from redis.asyncio import Redis
from sqlalchemy import insert
from uuid_utils import uuid7

from scaiqueue.keys import DEAD_LETTER, QueueKeys, ScopeKeys, Shard, shard_of
from scaiqueue.records import Record, decode_record
from scaiqueue.rows.tables import queues, scopes
from scaiqueue.scripts import binding
from scaiqueue.scripts.runner import ScriptRunner
from scaiqueue_agents.agent import AgentContext
from tests.scripts.direct import handed_out, publish_item


@dataclass
class Index:
    """One scope. Messages are published and claimed directly, as another service would do it."""

    redis: Redis
    runner: ScriptRunner
    scope: ScopeKeys

    def queue(self, slug: str) -> QueueKeys:
        return self.scope.queue(slug)

    async def configure(self, slug: str, **fields: Any) -> None:
        items = [binding.ConfigureItem(name, str(value)) for name, value in fields.items()]
        queue = [self.queue(slug)] if slug else []
        reply = await binding.configure(self.runner, self.scope, queue, 1, items)
        assert [item[0] for item in reply.items] == ["OK"]

    async def publish(self, slug: str, count: int = 1, **fields: Any) -> list[str]:
        ids = [str(uuid7()) for _ in range(count)]
        values = {"header": '{"type":"test"}'} | fields
        items = [publish_item(message_id, **values) for message_id in ids]
        reply = await binding.publish(self.runner, self.scope, [self.queue(slug)], [], "tester", 0, items)
        assert {item[0] for item in reply.items} == {"OK"}
        return ids

    async def claim(self, slug: str, count: int = 1, visibility_ms: int | str = "") -> list[tuple[str, str]]:
        """Ids and tokens of what was claimed."""
        item = binding.ClaimItem("worker", count, visibility_ms, "")
        reply = await binding.claim(self.runner, self.scope, [self.queue(slug)], [], "ordered", [item])
        return [(message.id.decode(), message.token.decode()) for message in handed_out(reply.items[0])]

    async def fail_for_good(self, claimed: list[tuple[str, str]]) -> None:
        items = [binding.FailItem(message, token, "worker", "poison", 0, "") for message, token in claimed]
        reply = await binding.fail(self.runner, self.scope, items)
        assert {item[0] for item in reply.items} == {"OK"}

    async def record(self, message_id: str) -> Record:
        stored = await self.redis.hget(self.scope.key("state"), message_id)
        assert isinstance(stored, bytes)
        return decode_record(stored)

    async def pending(self, slug: str) -> list[str]:
        """Ids in the order in which they would be claimed."""
        return [member.decode() for member in await self.redis.zrange(self.queue(slug).key("pending"), 0, -1)]


async def make_index(context: AgentContext, **slugs: dict[str, Any]) -> Index:
    """A scope with its dead-letter queue and `slugs` (slug -> settings as the scripts know them), rows too.

    A queue with `aging` gets the setting into its row as well: "after_ms step every_ms".
    """
    runner = ScriptRunner(context.redis)
    await runner.load()
    scope_id = str(uuid4())
    scope = ScopeKeys(Shard(shard_of(scope_id, context.settings.shards)), "acme", scope_id)
    for shard in context.shards:
        await context.redis.set(shard.epoch, 1)
    index = Index(context.redis, runner, scope)
    await index.configure("", state="active")
    settings = {DEAD_LETTER: {"access": "noput"}} | slugs
    for slug, fields in settings.items():
        await index.configure(slug, state="active", **fields)
    await _write_rows(context, scope, settings)
    return index


async def _write_rows(context: AgentContext, scope: ScopeKeys, settings: dict[str, dict[str, Any]]) -> None:
    now = int(time.time() * 1000)
    common = {"tenant_id": scope.tenant, "display_name": "", "created_at": now, "updated_at": now}
    queue_rows = [
        common
        | {"id": str(uuid7()), "scope_id": scope.scope_id, "slug": slug, "settings": _settings_json(fields)}
        for slug, fields in settings.items()
    ]
    scope_row = common | {"id": scope.scope_id, "slug": "orders", "shard": scope.shard.number}
    async with context.engine.begin() as connection:
        await connection.execute(insert(scopes), [scope_row])
        await connection.execute(insert(queues), queue_rows)


def _settings_json(fields: dict[str, Any]) -> str:
    if "aging" not in fields:
        return json.dumps({"aging": None})
    _, step, _ = (int(part) for part in fields["aging"].split())
    return json.dumps({"aging": {"after_s": 1, "step": step, "every_s": 1}})
