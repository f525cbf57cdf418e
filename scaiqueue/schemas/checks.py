"""Which schema a message's body is held against, and what follows where it does not fit."""

from __future__ import annotations

from collections import OrderedDict

import msgspec
import structlog

from scaiqueue.errors import Code, Detail, QueueError
from scaiqueue.queueing import metrics
from scaiqueue.queueing.directory import QueueEntry
from scaiqueue.queueing.documents import DocumentShelf
from scaiqueue.rows.documents import SchemaRow
from scaiqueue.schemas.compiled import CompiledSchema

MAX_COMPILED = 500

_log = structlog.get_logger("scaiqueue.schemas")


class SchemaChecks:
    """Compiles each schema once, and keeps the MAX_COMPILED that were used last."""

    def __init__(self, shelf: DocumentShelf[SchemaRow]) -> None:
        self._shelf = shelf
        self._compiled: OrderedDict[str, CompiledSchema] = OrderedDict()

    def compiled(self, row: SchemaRow) -> CompiledSchema:
        found = self._compiled.get(row.id)
        if found is None:
            found = self._compiled[row.id] = CompiledSchema(msgspec.json.decode(row.document))
            while len(self._compiled) > MAX_COMPILED:
                self._compiled.popitem(last=False)
        else:
            self._compiled.move_to_end(row.id)
        return found

    async def check(
        self, queue: QueueEntry, message_type: str, reference: str | None, body: bytes | None
    ) -> None:
        """`reference` is what the publisher named; `body` None is content that is not JSON.

        Raises SCAIQUEUE_SCHEMA_NOT_FOUND, and SCAIQUEUE_SCHEMA_VALIDATION_FAILED with each field that does
        not fit, unless the mode is `warn`: then it is logged and counted.
        """
        row = await self._bound(queue, message_type, reference)
        mode = "off" if row is None else queue.settings.schema_mode or row.mode
        if row is None or mode == "off":
            return
        name = f"{row.name}@{row.version}"
        wrong = [Detail("body", "Must be JSON")] if body is None else self.compiled(row).faults(body)
        failed = "warned" if mode == "warn" else "refused"
        metrics.count_schema_check(
            queue.scope.row.tenant_id, queue.scope.row.slug, failed if wrong else "passed"
        )
        if mode == "warn" and wrong:
            _log.warning(
                "schema_violated",
                scope_id=queue.scope.id,
                queue=queue.slug,
                schema=name,
                fields=[detail.field for detail in wrong],
            )
        elif wrong:
            raise QueueError(
                Code.SCAIQUEUE_SCHEMA_VALIDATION_FAILED,
                f"The body does not fit the schema {name}.",
                details=tuple(wrong),
            )

    async def _bound(self, queue: QueueEntry, message_type: str, reference: str | None) -> SchemaRow | None:
        """What the publisher names goes first, then the queue's, then the message type's."""
        named = reference or queue.settings.schema or queue.scope.typed.get(message_type)
        return None if named is None else await self._shelf.get(queue.scope.id, named)
