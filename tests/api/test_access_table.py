"""Every endpoint for every kind of key: made from the table of permissions, so that none can be forgotten.

What an endpoint does is left out, so that it may be asked again and again; whether it may be done is decided
by the product, with real rows and Redis.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any, NamedTuple

import pytest
from litestar.datastructures import Headers

from scaiqueue.api.answers import Rendered
from scaiqueue.api.endpoint import Call, Endpoint
from scaiqueue.api.permissions import ALL_PERMISSIONS, PERMISSIONS
from scaiqueue.api.routes import ENDPOINTS
from scaiqueue.errors import QueueError
from scaiqueue.moments import now_ms
from scaiqueue.queueing.key_ring import new_secret, secret_hash
from scaiqueue.rows import access, api_keys
from scaiqueue.rows.access import AclRow, GrantRow
from scaiqueue.rows.api_keys import KeyRow
from scaiqueue.services import Services
from scaiqueue.settings import Settings
from tests.api.conftest import Api
from tests.api.test_isolation import _things

ALLOWED = "allowed"
DENIED = "AUTHZ_PERMISSION_DENIED"


class Place(NamedTuple):
    """A scope with a queue that has an ACL, and one that has none; another scope; and the services."""

    api: Api
    services: Services
    things: dict[str, str]
    free: str
    other_scope: str
    other_queue: str


class Asked:
    """As much of a request as the decision needs."""

    def __init__(self, secret: str, path: dict[str, str]) -> None:
        self.headers = Headers({"authorization": f"Bearer {secret}"})
        self.path_params = {f"{name}_ref": value for name, value in path.items()}
        self.query_params: dict[str, str] = {}
        self.scope: dict[str, Any] = {"state": {}, "headers": []}

    async def receive(self) -> Any:
        raise AssertionError("nothing is sent")

    async def body(self) -> bytes:
        return b""


async def _done(call: Call) -> Rendered:
    return call.one({})


async def _outcome(place: Place, endpoint: Endpoint, secret: str, **instead: str) -> str:
    stub = replace(endpoint, handler=_done)
    try:
        await stub.respond(Asked(secret, {**place.things, **instead}), place.services)
    except QueueError as error:
        return error.code.name
    return ALLOWED


@pytest.fixture
async def place(api: Api) -> AsyncIterator[Place]:
    things, other = await _things(api), await api.scope()
    (free, other_queue) = (await api.queue({"id": things["scope"]}), await api.queue(other))
    settings = Settings(redis_url=api.redis.url, database_url=api.server.database_url, shards=4)
    services = Services(settings)
    yield Place(api, services, things, free["id"], other["id"], other_queue["id"])
    await services.pipeline.aclose()
    await services.redis.aclose()
    await services.engine.dispose()


async def _key(place: Place, permissions: Any = ALL_PERMISSIONS, **fields: Any) -> tuple[str, str]:
    """A key's secret and id."""
    secret = new_secret()
    key_hash = secret_hash(secret)
    row: dict[str, Any] = {
        "id": f"{key_hash[:8]}-0000-7000-8000-000000000000", "tenant_id": "default", "name": "k",
        "key_hash": key_hash, "prefix": secret[:8], "permissions": _json(permissions), "scopes": "[]",
        "queues": "[]", "created_at": now_ms(), "expires_at": 0, "revoked_at": 0, "last_used_at": 0,
    }  # fmt: skip
    await api_keys.create(place.services.engine, KeyRow(**{**row, **fields}))
    return secret, row["id"]


def _json(values: Any) -> str:
    return "[" + ",".join(f'"{value}"' for value in values) + "]"


async def _grant(place: Place, scope: str, key_id: str, expires_at: int = 0) -> None:
    row = GrantRow(
        id=key_id, tenant_id="default", scope_id=scope, key_id=key_id, permissions=_json(ALL_PERMISSIONS),
        created_by="t", created_at=1, expires_at=expires_at,
    )  # fmt: skip
    await access.create_grant(place.services.engine, row, 1000)
    await _heard(place)


async def _acl(place: Place, entries: str) -> None:
    row = AclRow(
        queue_id=place.things["queue"], tenant_id="default", scope_id=place.things["scope"], entries=entries,
        updated_by="t", updated_at=1,
    )  # fmt: skip
    await access.replace_acl(place.services.engine, row.queue_id, row)
    await _heard(place)


async def _heard(place: Place) -> None:
    place.services.access.heard(await access.version(place.services.engine, 5.0))


# What a kind of key may do with an endpoint; None: not the kind's to tell.
Rule = Callable[[Endpoint], str | None]


def _scoped(endpoint: Endpoint) -> bool:
    return "scope" in endpoint.names


def _in_queue(endpoint: Endpoint) -> bool:
    """Its path names a queue, or a message of it."""
    return bool({"queue", "message"} & endpoint.names)


def _manages_scope(endpoint: Endpoint) -> bool:
    """A scope as a whole."""
    manages = endpoint.needs == "scaiqueue:manage" and not endpoint.names_queues
    return _scoped(endpoint) and manages and not _in_queue(endpoint)


def _if(refused: Callable[[Endpoint], bool], code: str = DENIED) -> Rule:
    return lambda endpoint: code if refused(endpoint) else ALLOWED


def _outside(endpoint: Endpoint) -> bool:
    """What a key with limits may not do outside of its scopes."""
    return not _scoped(endpoint) and endpoint.needs == "scaiqueue:manage"


async def _check(place: Place, secret: str, rule: Rule) -> None:
    wrong = []
    for endpoint in ENDPOINTS:
        found, expected = await _outcome(place, endpoint, secret), rule(endpoint)
        if found != expected:
            wrong.append(f"{endpoint.method} {endpoint.path}: {found}, not {expected}")
    assert not wrong, "\n".join(wrong)


def test_the_endpoints_are_those_of_the_table() -> None:
    assert {f"{endpoint.method} {endpoint.path}" for endpoint in ENDPOINTS} == set(PERMISSIONS)
    assert all(PERMISSIONS[f"{e.method} {e.path}"].value == e.needs for e in ENDPOINTS)


async def test_keys_that_are_no_good(place: Place) -> None:
    now = now_ms()
    for secret in (
        "sgk_of_nobody_0123456789",
        (await _key(place, revoked_at=now))[0],
        (await _key(place, expires_at=now - 1))[0],
    ):
        await _check(place, secret, lambda endpoint: "AUTH_TOKEN_INVALID")


async def test_keys_by_their_permissions(place: Place) -> None:
    await _check(place, (await _key(place))[0], lambda endpoint: ALLOWED)
    await _check(place, (await _key(place, ()))[0], lambda endpoint: DENIED)
    for permission in ALL_PERMISSIONS:
        secret, _ = await _key(place, [permission])
        await _check(place, secret, _if(lambda endpoint, only=permission: endpoint.needs != only))


async def test_keys_limited_to_scopes(place: Place) -> None:
    here, _ = await _key(place, scopes=_json([place.things["scope"]]))
    await _check(place, here, _if(_outside))
    there, _ = await _key(place, scopes=_json([place.other_scope]))
    await _check(place, there, _if(lambda endpoint: _scoped(endpoint) or _outside(endpoint)))


async def test_keys_limited_to_queues(place: Place) -> None:
    limits = {"scopes": _json([place.things["scope"]])}
    here, _ = await _key(place, **limits, queues=_json([place.things["queue"]]))
    await _check(place, here, _if(lambda endpoint: _outside(endpoint) or _manages_scope(endpoint)))
    there, _ = await _key(place, **limits, queues=_json([place.free]))
    await _check(place, there, _if(lambda e: _outside(e) or _manages_scope(e) or _in_queue(e)))


async def test_keys_with_nothing_but_grants(place: Place) -> None:
    here, key_id = await _key(place, ())
    await _grant(place, place.things["scope"], key_id)
    await _check(place, here, _if(lambda endpoint: not _scoped(endpoint)))
    there, key_id = await _key(place, ())
    await _grant(place, place.other_scope, key_id)
    await _check(place, there, lambda endpoint: DENIED)
    late, key_id = await _key(place, ())
    await _grant(place, place.things["scope"], key_id, expires_at=now_ms() - 1)
    await _check(place, late, lambda endpoint: DENIED)
    limited, key_id = await _key(place, (), scopes=_json([place.other_scope]))
    await _grant(place, place.things["scope"], key_id)
    await _check(place, limited, lambda endpoint: DENIED)


async def test_a_key_of_another_tenant(place: Place) -> None:
    secret, _ = await _key(place, tenant_id="stranger")
    await _check(place, secret, _if(_scoped, "SCAIQUEUE_SCOPE_NOT_FOUND"))


@pytest.mark.parametrize(
    "entries",
    [
        '{{"deny":[{{"principal":"{key}"}}]}}',
        '{{"deny":[{{"principal":"*"}}],"allow":[{{"principal":"{key}"}}]}}',
        '{{"allow":[{{"principal":"00000000-0000-7000-8000-000000000000"}}]}}',
    ],
    ids=["denied", "denied first", "others allowed"],
)
async def test_keys_that_an_acl_keeps_out(place: Place, entries: str) -> None:
    limited, key_id = await _key(place, scopes=_json([place.things["scope"]]))
    await _acl(place, entries.format(key=key_id))
    await _check(place, limited, _if(lambda e: _outside(e) or _manages_scope(e) or _in_queue(e)))
    for endpoint in ENDPOINTS:
        if "queue" in endpoint.names:
            assert await _outcome(place, endpoint, limited, queue=place.free) == ALLOWED
    administrator, key_id = await _key(place)
    await _acl(place, entries.format(key=key_id))
    await _check(place, administrator, _if(lambda e: _in_queue(e) and e.needs != "scaiqueue:manage"))


async def test_an_acl_that_allows_names_only_what_it_restricts(place: Place) -> None:
    reader, key_id = await _key(place, scopes=_json([place.things["scope"]]))
    entries = f'{{"allow":[{{"principal":"{key_id}","permissions":["scaiqueue:consume"]}}]}}'
    await _acl(place, entries)
    await _check(place, reader, _if(_outside))
    other, _ = await _key(place, scopes=_json([place.things["scope"]]))
    await _check(
        place,
        other,
        _if(lambda e: _outside(e) or (_in_queue(e) and e.needs == "scaiqueue:consume")),
    )


async def test_what_a_refusal_tells(place: Place) -> None:
    limited, key_id = await _key(place, scopes=_json([place.things["scope"]]))
    await _acl(place, f'{{"deny":[{{"principal":"{key_id}","permissions":["scaiqueue:publish"]}}]}}')
    endpoint = next(e for e in ENDPOINTS if e.name == "publish")
    with pytest.raises(QueueError) as refused:
        await endpoint.respond(Asked(limited, place.things), place.services)
    assert {detail.field: detail.message for detail in refused.value.details} == {
        "permission": "scaiqueue:publish",
        "reason": "acl_deny",
        "scope": place.things["scope"],
        "queue": place.things["queue"],
    }
