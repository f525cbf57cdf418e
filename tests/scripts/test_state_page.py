"""docs/state-machine.md is what the transition table says."""

from __future__ import annotations

from tests.scripts.transitions import PAGE, page


def test_the_page_is_drawn_from_the_table() -> None:
    assert PAGE.read_text() == page(), "run `make generate`"
