"""A message as the memory keeps it, and how it is shown."""

from __future__ import annotations

from typing import Any

import msgspec

from scaiqueue import moments
from scaiqueue.queueing.header import Header
from scaiqueue.queueing.message import Place, fields_of
from scaiqueue.records import Outcome, Record

TENANT = "default"


class Stored(msgspec.Struct):
    id: str
    record: Record
    header: Header
    body: bytes
    outcome: Outcome = Outcome(b"", "")

    def shown(self, scope: str) -> dict[str, Any]:
        """The read model; queues and scopes have no ids but their slugs here."""
        place = Place(TENANT, scope, self.record.queue)
        return fields_of(place, self.id, self.record, self.header, self.body, self.outcome)

    def leased(self, scope: str) -> dict[str, Any]:
        return {
            **self.shown(scope),
            "claim_token": self.record.token,
            "lease_expires_at": moments.text(self.record.due_at),
        }
