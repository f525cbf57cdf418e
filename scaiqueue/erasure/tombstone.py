"""What stands in the place of content: nothing at all, or its form without what it said."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from scaiqueue.queueing.header import Header, encode_header, is_json_header, read_header
from scaiqueue.records import Outcome
from scaiqueue.rows import history

REDACTED = "[redacted]"
ERASED = "erased"
# Names that a program gave; others may be what somebody wrote.
_name = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")
_uuid = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
# What a reviewer is shown, in a spec whose other texts are names that decisions are checked against.
_SHOWN = ("title", "content", "label")

_encode, _decode = msgspec.json.Encoder().encode, msgspec.json.Decoder().decode


class Content(msgspec.Struct, frozen=True):
    """All of a message that came from people. `overlay`: what rules changed of the header."""

    header: bytes
    body: bytes
    overlay: bytes = b""
    outcome: Outcome = Outcome(b"", "")


def erased(content: Content) -> Content:
    """Only the type is left."""
    return Content(encode_header(Header(type=read_header(content.header).type)), b"null")


def redacted(content: Content) -> Content:
    """The same form: texts are `[redacted]`, numbers 0; names of fields stay if they look like names."""
    header = read_header(content.header, content.overlay)
    is_json = is_json_header(header)
    changes: dict[str, Any] = {
        "labels": {_named(name): REDACTED for name in header.labels},
        "correlation_id": None,
        "causation_id": _id(header.causation_id),
        "parent_id": _id(header.parent_id),
        "idempotency_key": None,
        "hitl_spec": _spec(header.hitl_spec),
    }
    if header.source is not None:
        changes["source"] = msgspec.structs.replace(header.source, id=REDACTED)
    response, reason = content.outcome
    return Content(
        encode_header(msgspec.structs.replace(header, **changes)),
        _json(content.body) if is_json else b"",
        b"",
        Outcome(_json(response) if response else b"", REDACTED if reason else ""),
    )


def with_parent(header: bytes, parent: str) -> bytes:
    """As a copy's, which has not been said in it before."""
    changed = msgspec.structs.replace(read_header(header), parent_id=parent, causation_id=parent)
    return encode_header(changed)


def without_texts(text: str) -> str:
    """A row's history: what happened, where and when, and not why."""
    steps = [msgspec.structs.replace(step, detail=without_text(step.detail)) for step in history.parse(text)]
    return "".join(_encode(step).decode() + "," for step in steps)


def without_text(detail: str) -> str:
    """Why something happened is left out, unless it was an erasure."""
    return detail if detail == ERASED else ""


def without_reason(origin: str) -> str:
    """A row's origin: queue, attempts and time; the reason may be what a consumer wrote."""
    if not origin:
        return ""
    queue, _, *rest = _decode(origin)
    return _encode([queue, ERASED, *rest]).decode()


def _json(body: bytes) -> bytes:
    try:
        return _encode(_hollow(_decode(body)))
    except (ValueError, RecursionError):
        return b"null"


def _hollow(value: Any) -> Any:
    if isinstance(value, dict):
        return {_named(name): _hollow(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_hollow(part) for part in value]
    if isinstance(value, str):
        return REDACTED
    return value if isinstance(value, bool) or value is None else 0


def _named(name: str) -> str:
    return name if _name.fullmatch(name) else REDACTED


def _id(text: str | None) -> str | None:
    return text if text is not None and _uuid.fullmatch(text) else None


def _spec(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _hollow(part) if name in _SHOWN else _spec(part) for name, part in value.items()}
    return [_spec(part) for part in value] if isinstance(value, list) else value
