"""What a direct caller makes of the scripts' arguments and replies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from scaiqueue.records import join_envelope
from scaiqueue.scripts.binding import PublishItem


class Handed(NamedTuple):
    """A message as `claim` hands it out."""

    id: bytes
    token: bytes
    record: bytes
    envelope: bytes


def publish_item(
    id: str, header: bytes | str = b"{}", body: bytes | str = b"{}", **options: Any
) -> PublishItem:
    """Options that are None or "" are left out."""
    parts = [part.encode() if isinstance(part, str) else part for part in (header, body)]
    given = {name: value for name, value in options.items() if value not in (None, "")}
    return PublishItem(id, join_envelope(*parts), msgspec.json.encode(given) if given else "")


def handed_out(reply: Sequence[Any]) -> list[Handed]:
    """The messages of one request's reply to `claim`."""
    if len(reply) < 4:
        return []
    parts = zip(reply[4::3], reply[5::3], reply[6::3], strict=True)
    return [Handed(id, reply[1], record, envelope) for id, record, envelope in parts]
