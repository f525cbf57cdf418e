"""What a script call answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from scaiqueue.records import Version


class NotReadyError(Exception):
    """The index is not whole, or of another epoch: wait and try again."""


class Reply(NamedTuple):
    """One call's answer: the journal entry that it wrote, per item a list that begins with a word, and the
    call's time, ms, where the script tells it (publish)."""

    entry: Version | None
    items: list[list[Any]]
    at: int = 0


# Replies of few kinds make up most of all, and decoding one costs more than finding it.
_texts: dict[bytes, list[Any]] = {}
_words = {word.encode(): word for word in ("OK", "EMPTY", "MORE", "DUPLICATE", "CLAIM_LOST", "NOT_FOUND")}
_MOST_TEXTS = 1000


def parse_reply(answer: Sequence[Any]) -> Reply:
    """Raises NotReadyError where the call was refused as a whole."""
    status, *items = answer
    if status[0] != b"OK":
        raise NotReadyError(status[0].decode())
    for i, item in enumerate(items):
        if type(item) is bytes:
            items[i] = _texts.get(item) or _parse_text(item)
        else:
            item[0] = _words.get(item[0]) or item[0].decode()
    return Reply(Version.parse(status[1]) if status[1] else None, items, status[2] if len(status) > 2 else 0)


def _parse_text(text: bytes) -> list[Any]:
    """An item's reply that came as one text, blanks between its parts. The list is shared: not to change."""
    word, *parts = text.split(b" ")
    found: list[Any] = [word.decode(), *parts]
    if len(_texts) >= _MOST_TEXTS:
        _texts.clear()
    _texts[text] = found
    return found
