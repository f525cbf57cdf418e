"""What a script call answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from scaiqueue.records import Version


class NotReadyError(Exception):
    """The index is not whole, or of another epoch: wait and try again."""


class Reply(NamedTuple):
    """One call's answer: the journal entry that it wrote, and per item a list that begins with a word."""

    entry: Version | None
    items: list[list[Any]]


def parse_reply(answer: Sequence[Any]) -> Reply:
    """Raises NotReadyError where the call was refused as a whole."""
    status, *items = answer
    if status[0] != b"OK":
        raise NotReadyError(status[0].decode())
    for item in items:
        item[0] = item[0].decode()
    return Reply(Version.parse(status[1]) if status[1] else None, items)
