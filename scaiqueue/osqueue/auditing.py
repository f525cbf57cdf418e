"""Calls of osqueue's clients in the audit: as `osqueue_submit_job`, `osqueue_claim_job`, …"""

from __future__ import annotations

import re
from typing import Any

from scaiqueue.audit.entry import OK, Entry
from scaiqueue.audit.trail import Trail
from scaiqueue.errors import QueueError
from scaiqueue.moments import now_ms
from scaiqueue.queueing.principals import Principal

_capital = re.compile(r"(?=[A-Z])")
_uuid = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_ANSWERED = 200


def record(
    trail: Trail, scope: str, method: str, principal: Principal | None, asked: Any, result: Any
) -> None:
    """`scope` is its slug; a job is the message of the same id. The protocol has no request ids."""
    refused = isinstance(result, QueueError)
    status, outcome = (result.code.status, result.code.name) if refused else (_ANSWERED, OK)
    job = getattr(asked, "job_id", None) or getattr(result, "job_id", None)
    entry = Entry(
        "osqueue_" + _capital.sub("_", method).lower(),
        now_ms(),
        principal.key_id if principal else "",
        "",
        "",
        "",
        status,
        outcome,
        job if isinstance(job, str) and _uuid.fullmatch(job) else "",
    )
    if principal is None:
        trail.add_stranger("", entry)
    else:
        trail.add_refused(principal.tenant, scope, entry)
