"""From a webhook to the message that carries it: type, labels, priority, and the body's bytes untouched."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw

from loadtest.webhooks import Webhook

MAX_LABEL = 256

_TIERS = {
    "critical": ("alert", "advisory", "branch_protection", "deploy_key", "authorization"),
    "high": ("deployment", "check_", "workflow", "status", "merge_group", "push"),
    "low": ("star", "watch", "fork", "gollum", "sponsorship", "public", "label", "milestone", "project"),
    "background": ("ping", "meta", "marketplace", "page_build", "import"),
}
# Where in a payload the text for a label is found.
_LABELS = {
    "action": ("action",),
    "repository": ("repository", "full_name"),
    "organization": ("organization", "login"),
    "sender": ("sender", "login"),
    "sender_type": ("sender", "type"),
    "ref": ("ref",),
}


class EventMessage(msgspec.Struct, omit_defaults=True):
    """What is published. `body` goes into the request as it stands."""

    type: str
    body: Raw
    labels: dict[str, str]
    priority: dict[str, str]
    source: dict[str, str]
    idempotency_key: str


class _Content(msgspec.Struct):
    """Of a payload, what labels are made from; wrong types are no error, for payloads are not ours."""

    action: Any = None
    repository: Any = None
    organization: Any = None
    sender: Any = None
    ref: Any = None


_content = msgspec.json.Decoder(_Content)


def tier_of(event: str) -> str:
    """Security first, then what people wait for, then talk, then the rest."""
    for tier, words in _TIERS.items():
        if any(word in event for word in words):
            return tier
    return "normal"


def labels_of(event: str, body: bytes) -> dict[str, str]:
    content = _content.decode(body)
    found = {"event": event}
    for name, (first, *rest) in _LABELS.items():
        value = getattr(content, first)
        for key in rest:
            value = value.get(key) if isinstance(value, dict) else None
        if isinstance(value, str) and value:
            found[name] = value[:MAX_LABEL]
    return found


def event_message(number: int, webhook: Webhook) -> EventMessage:
    """`number` tells deliveries apart: the same payload may come twice, and each is a message."""
    labels = labels_of(webhook.event, webhook.body)
    return EventMessage(
        type=f"github.{webhook.event}",
        body=Raw(webhook.body),
        labels=labels,
        priority={"tier": tier_of(webhook.event)},
        source={"type": "github", "id": labels.get("repository") or labels.get("sender") or "github"},
        idempotency_key=f"delivery-{number}",
    )
