"""What schemas and patterns have in common: pages, versions, size."""

from __future__ import annotations

import msgspec
from sqlalchemy.ext.asyncio import AsyncEngine

from scaiqueue.api.paging import Page
from scaiqueue.api.validation import invalid
from scaiqueue.api.words import ShortText
from scaiqueue.errors import Code, Detail, QueueError
from scaiqueue.rows.documents import DocumentRow, Documents, Row


class DocumentPage(Page, frozen=True, kw_only=True):
    """Only versions of `name`, if it is given."""

    name: ShortText | None = None


async def next_version(rows: Documents[Row], engine: AsyncEngine, scope_id: str, name: str) -> int:
    newest = await rows.newest(engine, scope_id, name)
    return 1 if newest is None else newest.version + 1


def version_taken(row: DocumentRow) -> QueueError:
    return QueueError(
        Code.SLUG_CONFLICT,
        f"{row.name}@{row.version} exists: a version never changes, create another.",
        details=(Detail("version", "Taken"),),
    )


def refuse_large(document: object, limit: int, field: str) -> str:
    """The document as JSON. Raises VALIDATION_ERROR."""
    encoded = msgspec.json.encode(document)
    if len(encoded) > limit:
        raise invalid(Detail(field, f"At most {limit} bytes as JSON, not {len(encoded)}"))
    return encoded.decode()
