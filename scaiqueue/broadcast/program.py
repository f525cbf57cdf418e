"""Compiles the subscriptions of a queue for the script `subscribe`."""

from __future__ import annotations

from hashlib import sha1

import msgspec

from scaiqueue.broadcast.filters import condition, decode_filter
from scaiqueue.routing.program import compile_filters
from scaiqueue.rows.subscriptions import Roster

_pack = msgspec.msgpack.Encoder().encode


def compile_roster(roster: Roster) -> bytes:
    """What lua/include/subscriptions.lua reads; empty where there are none."""
    served = roster.served
    if not served:
        return b""
    filters = compile_filters([condition(decode_filter(row.filter)) for row in served])
    entries: list[str | int] = []
    for row, start in zip(served, filters.starts, strict=True):
        entries += (row.slug, row.id, start, row.dedup_window_s * 1000)
    return _pack({"fields": filters.fields, "rows": filters.rows, "list": entries})


def copy_id(message_id: str, subscription_id: str) -> str:
    """The id of a message's copy for a subscription, as lua/include/derived_id.lua makes it."""
    h = sha1(f"{message_id} {subscription_id} broadcast".encode()).hexdigest()
    variant = f"{8 + int(h[3], 16) % 4:x}"
    return f"{message_id[:13]}-7{h[:3]}-{variant}{h[4:7]}-{h[7:19]}"
