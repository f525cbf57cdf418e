"""One call as the audit keeps it. No text of callers: names that the system gave, ids, and codes."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

ID_LENGTH = 36
OK = "OK"


class Entry(msgspec.Struct, array_like=True, gc=False):
    """`event` is the operation's id in the API's document; `ids` the messages' ids, joined; `refused` how
    many of a batch's items were refused; `calls` is above 1 where refusals of strangers are counted."""

    event: str
    at: int
    actor: str
    address: str
    request_id: str
    queue: str
    status: int
    outcome: str
    ids: str = ""
    refused: int = 0
    calls: int = 1

    @property
    def message_ids(self) -> list[str]:
        return [self.ids[at : at + ID_LENGTH] for at in range(0, len(self.ids), ID_LENGTH)]

    @property
    def weight(self) -> int:
        """About how many bytes it takes."""
        return 200 + len(self.ids)


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(list[Entry]).decode


def encode_entries(entries: Sequence[Entry]) -> str:
    return _encode(entries).decode()


def decode_entries(text: str) -> list[Entry]:
    """Raises ValueError (msgspec's) for what no writer wrote."""
    return _decode(text)
