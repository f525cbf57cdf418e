"""The header that a publisher writes once, and how it is read: leniently, as anyone may write one."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

JSON_TYPE = "application/json"
TIERS = ("background", "low", "normal", "high", "critical")
DEFAULT_TIER, DEFAULT_SCORE = "normal", 500
DEFAULT_RANK = TIERS.index(DEFAULT_TIER) * 1000 + DEFAULT_SCORE


class Priority(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`tier` is one of background, low, normal, high, critical; `score` orders within it."""

    tier: Annotated[str, Meta(pattern=f"^({'|'.join(TIERS)})$(?!\\n)", examples=["high"])] = DEFAULT_TIER
    score: Annotated[int, Meta(ge=0, le=1000, examples=[500])] = DEFAULT_SCORE

    @property
    def rank(self) -> int:
        return TIERS.index(self.tier) * 1000 + self.score

    @classmethod
    def of_rank(cls, rank: int) -> Priority:
        tier = min(rank // 1000, len(TIERS) - 1)
        return cls(TIERS[tier], rank - tier * 1000)


class Source(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who or what a message comes from, in the publisher's own terms."""

    type: Annotated[str, Meta(min_length=1, max_length=256, examples=["shop"])]
    id: Annotated[str, Meta(min_length=1, max_length=256, examples=["order-service"])]


class Header(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """As it is stored, as JSON of at most 16 KiB."""

    type: str
    labels: dict[str, str] = {}
    source: Source | None = None
    correlation_id: str | None = None
    causation_id: str | None = None
    parent_id: str | None = None
    content_type: str | None = None
    ttl_seconds: int | float | None = None
    deadline: str | None = None
    delay_until: str | None = None
    idempotency_key: str | None = None
    priority: Priority | None = None
    hitl_spec: Any = None


MAX_HEADER = 16_384

encode_header = msgspec.json.Encoder().encode
_KINDS = {field.name: field.type for field in msgspec.structs.fields(Header)}
_decode = msgspec.json.Decoder(Header).decode


def read_header(raw: bytes, overlay: bytes = b"") -> Header:
    """What of a stored header is of the form expected; the rest counts as absent. `overlay`: what rules
    changed of it."""
    if overlay:
        return _overlaid(read_header(raw), overlay)
    try:
        return _decode(raw)
    except (ValueError, RecursionError):
        pass
    try:
        return _salvage(msgspec.json.decode(raw))
    except (ValueError, RecursionError):
        return Header(type="")


def _overlaid(header: Header, overlay: bytes) -> Header:
    changes: dict[str, Any] = {}
    for name, value in msgspec.json.decode(overlay, type=dict[str, Any]).items():
        if name == "hitl_spec":
            changes[name] = msgspec.json.decode(value)
        elif name in _KINDS:
            changes[name] = msgspec.convert(value, _KINDS[name])
    return msgspec.structs.replace(header, **changes)


def _salvage(values: Any) -> Header:
    kept: dict[str, Any] = {"type": ""}
    if isinstance(values, dict):
        for field in msgspec.structs.fields(Header):
            if field.name in values:
                try:
                    kept[field.name] = msgspec.convert(values[field.name], field.type)
                except msgspec.ValidationError:
                    continue
    return Header(**kept)


def is_json_type(content_type: str) -> bool:
    """`application/json` and the `+json` types, with or without parameters."""
    essence = content_type.partition(";")[0].strip().lower()
    return essence == JSON_TYPE or essence.endswith("+json")


def is_json_header(header: Header) -> bool:
    """The body is said to be JSON."""
    return header.content_type is None or is_json_type(header.content_type)
