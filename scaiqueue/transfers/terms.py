"""What a trust lets into a scope."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec
from sqlalchemy.ext.asyncio import AsyncEngine

from scaiqueue.queueing.header import Header
from scaiqueue.rows import access
from scaiqueue.rows.access import TrustRow


class Terms(msgspec.Struct, frozen=True, omit_defaults=True):
    """`queues` are ids; nothing given is no condition."""

    queues: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    labels: Mapping[str, str] = {}

    def lets_into(self, queue_id: str) -> bool:
        return not self.queues or queue_id in self.queues

    def passes(self, header: Header) -> bool:
        typed = not self.types or header.type in self.types
        return typed and all(header.labels.get(name) == value for name, value in self.labels.items())


encode_terms = msgspec.json.Encoder().encode
decode_terms = msgspec.json.Decoder(Terms).decode


async def terms_between(engine: AsyncEngine, from_scope: str, to_scope: str) -> list[Terms]:
    """Of every trust that the second scope gives the first, as the rows have them now."""
    found: Iterable[TrustRow] = await access.trusts_between(engine, from_scope, to_scope)
    return [decode_terms(row.terms) for row in found]
