"""Types as slugs: always fit, never shared, and a scope with more of them than one claim can ask."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import insert, select
from uuid_utils import uuid7

from scaiqueue.keys import is_slug
from scaiqueue.osqueue.jobs import MAX_TYPES
from scaiqueue.osqueue.types import UNTYPED, slug_of
from scaiqueue.rows.engine import open_engine
from scaiqueue.rows.tables import queues, scopes
from tests.osqueue.clients import Refused
from tests.osqueue.conftest import Tenant

TYPES = st.one_of(st.text(max_size=256), st.text("ab:-_ 0", max_size=70))


@given(TYPES, TYPES)
def test_every_type_has_a_slug_of_its_own(first: str, second: str) -> None:
    assert is_slug(slug_of(first))
    assert (slug_of(first) == slug_of(second)) == (first == second)


def test_a_slug_stays_itself_unless_it_could_be_taken_for_another() -> None:
    assert slug_of("send_mail") == "send_mail"
    assert slug_of("") == UNTYPED != slug_of(UNTYPED)
    made = slug_of("email:send")
    assert made.startswith("email-send-")
    assert slug_of(made) != made


async def test_a_scope_takes_so_many_types(tenant: Tenant) -> None:
    async with tenant.client("rest") as client:
        job = await client.submit({}, type="one")
        await _add_queues(tenant, MAX_TYPES)
        with pytest.raises(Refused, match=str(MAX_TYPES)) as caught:
            await client.submit({}, type="one-more")
        assert (caught.value.code, caught.value.status) == ("VALIDATION_ERROR", 400)
        # A claim over all of them asks one group after the other.
        assert (await client.claim("w"))["jobId"] == job


async def _add_queues(tenant: Tenant, number: int) -> None:
    """As copies of the one there is, straight in the rows."""
    engine = open_engine(tenant.servers.api.database_url)
    async with engine.begin() as connection:
        of_tenant = select(queues).join(scopes, scopes.c.id == queues.c.scope_id)
        found = await connection.execute(
            of_tenant.where(queues.c.slug == "one", scopes.c.tenant_id == tenant.name)
        )
        (row,) = found.mappings()
        copies = [{**row, "id": str(uuid7()), "slug": f"copy-{at}"} for at in range(number)]
        await connection.execute(insert(queues), copies)
    await engine.dispose()
