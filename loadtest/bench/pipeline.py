"""A blocking Redis client that sends packed calls over one unix connection, a window of them in flight."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import hiredis

Packed = bytes
_RECEIVE = 1 << 20


class Pipeline:
    """Everything is packed before the clock runs: the client does little but send and parse."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(path))
        self._reader = hiredis.Reader()

    def close(self) -> None:
        self._socket.close()

    def run(self, calls: Sequence[Packed], window: int) -> list[Any]:
        """Replies in order, with `window` calls sent ahead. Raises hiredis.ReplyError for the first error."""
        replies: list[Any] = []
        sent = 0
        while len(replies) < len(calls):
            # Refill in halves, so that one write carries many calls.
            if sent < len(calls) and sent - len(replies) <= window // 2:
                upto = min(len(calls), len(replies) + window)
                self._socket.sendall(b"".join(calls[sent:upto]))
                sent = upto
            self._reader.feed(self._socket.recv(_RECEIVE))
            replies.extend(self._parsed())
        return replies

    def _parsed(self) -> Iterator[Any]:
        while (reply := self._reader.gets()) is not False:
            if isinstance(reply, hiredis.ReplyError):
                raise reply
            yield reply


def pack(*words: str | int | bytes) -> Packed:
    return hiredis.pack_command(words)


def pack_call(sha1: str, keys: Sequence[str], args: Sequence[Any]) -> Packed:
    """EVALSHA of a script."""
    return pack("EVALSHA", sha1, len(keys), *keys, *args)
