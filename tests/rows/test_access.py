"""Grants, ACLs and trusts as rows, and the version that rises with each change of who may do what."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from scaiqueue.access.policy import Acl, Entry, encode_acl, policy_of
from scaiqueue.rows import access
from scaiqueue.rows.access import AclRow, GrantRow, TrustRow
from scaiqueue.rows.engine import open_engine
from scaiqueue.rows.migrate import upgrade

SCOPE, OTHER, QUEUE, KEY = (f"0191d2f0-0000-7000-8000-00000000000{n}" for n in range(4))


@pytest.fixture
async def engine(database_url: str) -> AsyncEngine:
    await upgrade(database_url)
    return open_engine(database_url)


def _grant(n: int, scope: str = SCOPE) -> GrantRow:
    return GrantRow(
        id=f"0191d2f0-0000-7000-8000-0000000001{n:02}", tenant_id="default", scope_id=scope, key_id=KEY,
        permissions='["scaiqueue:view"]', created_by="t", created_at=1, expires_at=0,
    )  # fmt: skip


def _trust(n: int, from_scope: str, to_scope: str) -> TrustRow:
    return TrustRow(
        id=f"0191d2f0-0000-7000-8000-0000000002{n:02}", tenant_id="default", from_scope=from_scope,
        to_scope=to_scope, terms="{}", created_by="t", created_at=1,
    )  # fmt: skip


async def test_every_change_raises_the_version(engine: AsyncEngine) -> None:
    first = await access.version(engine, 5.0)
    made = await asyncio.gather(*(access.create_grant(engine, _grant(n), 100) for n in range(5)))
    assert sorted(version or 0 for version in made) == [first + 1 + n for n in range(5)]
    assert await access.create_grant(engine, _grant(99), 5) is None
    assert await access.version(engine, 5.0) == first + 5
    acl = Acl(deny=(Entry("*", frozenset({"scaiqueue:view"})),))
    row = AclRow(
        queue_id=QUEUE, tenant_id="default", scope_id=SCOPE, entries=encode_acl(acl).decode(),
        updated_by="t", updated_at=1,
    )  # fmt: skip
    assert await access.replace_acl(engine, QUEUE, row) == first + 6
    policy = policy_of(await access.policy(engine, SCOPE))
    assert (policy.version, len(policy.grants[KEY]), policy.acls) == (first + 6, 5, {QUEUE: acl})
    assert await access.remove_grant(engine, _grant(0).id) == first + 7
    assert await access.replace_acl(engine, QUEUE, None) == first + 8
    assert [row.id for row in await access.grant_page(engine, SCOPE, "", 2)] == [_grant(1).id, _grant(2).id]
    await access.remove_of_scope(engine, SCOPE)
    assert policy_of(await access.policy(engine, SCOPE)).grants == {}
    await engine.dispose()


async def test_trusts(engine: AsyncEngine) -> None:
    given, got = _trust(1, OTHER, SCOPE), _trust(2, SCOPE, OTHER)
    assert await access.create_trust(engine, given, 1)
    assert not await access.create_trust(engine, _trust(3, OTHER, SCOPE), 1)
    assert await access.create_trust(engine, got, 1)
    assert await access.trusts_between(engine, OTHER, SCOPE) == [given]
    assert await access.trust_page(engine, SCOPE, "", 10) == [given, got]
    assert await access.find_trust(engine, OTHER, given.id) == given
    await access.remove_trust(engine, given.id)
    assert await access.find_trust(engine, OTHER, given.id) is None
    await access.remove_of_scope(engine, SCOPE)
    assert await access.trust_page(engine, OTHER, "", 10) == []
    await engine.dispose()
