"""Real message bodies: GitHub webhook payloads from a JSONL file, or a generated set where there is none."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

ENVIRONMENT = "SCAIQUEUE_WEBHOOKS"
DEFAULT_FILE = Path(__file__).resolve().parents[2] / "shared" / "data" / "webhooks.jsonl"


class Webhook(NamedTuple):
    """One webhook: the event's name, and the payload's bytes exactly as they were received."""

    event: str
    body: bytes


class _Line(msgspec.Struct):
    event: str
    payload: msgspec.Raw


def load_webhooks() -> list[Webhook]:
    """All payloads of the file named by SCAIQUEUE_WEBHOOKS, else of the default file, else generated ones.

    Raises FileNotFoundError when the variable names a file that isn't there.
    """
    named = os.environ.get(ENVIRONMENT)
    path = Path(named) if named else DEFAULT_FILE
    if not named and not path.exists():
        return list(generated_webhooks())
    decoder = msgspec.json.Decoder(_Line)
    with path.open("rb") as lines:
        decoded = [decoder.decode(line) for line in lines if line.strip()]
    return [Webhook(line.event, bytes(line.payload)) for line in decoded]


_ACTIONS = {
    "push": [""],
    "issues": ["opened", "edited", "labeled", "closed"],
    "issue_comment": ["created", "edited", "deleted"],
    "pull_request": ["opened", "synchronize", "closed"],
    "release": ["published"],
    "star": ["created", "deleted"],
    "workflow_run": ["requested", "completed"],
}
_TEXTS = [
    "",
    "plain",
    'quotes " and \\ backslashes',
    "line\nbreak\ttab\u0000nul",
    "Grüße, 你好, مرحبا",
    "🚀 emoji 👩‍👩‍👧",
]


def generated_webhooks() -> Iterator[Webhook]:
    """Small varied payloads of the same shape, the same ones at every call."""
    events = [(event, action) for event, actions in _ACTIONS.items() for action in actions]
    for number in range(max(96, len(events) * len(_TEXTS))):
        event, action = events[number % len(events)]
        payload = {
            "action": action,
            "number": 10**15 + number,
            "title": _TEXTS[number // len(events) % len(_TEXTS)],
            "labels": [],
            "nested": {"empty": {}, "none": None, "ratio": number / 7, "list": list(range(number % 9))},
            "filler": "x" * (number * number % 5000),
            "repository": {"id": number % 5, "full_name": f"octo-org/repo-{number % 5}"},
            "sender": {"id": number % 11, "login": f"user-{number % 11}"},
        }
        if not action:
            del payload["action"]
        yield Webhook(event, msgspec.json.encode(payload))
