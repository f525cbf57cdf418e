"""A message's transitions, as they stand in its row."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec


class Transition(msgspec.Struct, array_like=True, frozen=True):
    """`epoch`, `n` name the journal entry and `place` the group of transitions in it; `at` in ms."""

    event: str
    queue: str
    attempts: int
    actor: str
    detail: str
    epoch: int
    n: int
    place: int
    at: int

    @property
    def order(self) -> tuple[int, int, int]:
        return self.epoch, self.n, self.place


_decode = msgspec.json.Decoder(list[Transition]).decode


def parse(history: str) -> list[Transition]:
    """The transitions of one row's `history` column, in the order of the journal."""
    return _decode(f"[{history.rstrip(',')}]")


def trace(histories: Iterable[tuple[str, str]]) -> list[tuple[str, Transition]]:
    """From (message id, history) of messages of one scope: all their transitions in order, with the ids."""
    found = [(message_id, transition) for message_id, text in histories for transition in parse(text)]
    return sorted(found, key=lambda pair: pair[1].order)
