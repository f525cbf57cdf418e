"""docs/state-machine.md and its picture are what the transition table says."""

from __future__ import annotations

from tests.scripts.state_diagram import picture
from tests.scripts.transitions import PAGE, PICTURE, edges, page


def test_the_page_is_drawn_from_the_table() -> None:
    assert PAGE.read_text() == page(), "run `make generate`"
    assert PICTURE.read_text() == picture(edges()), "run `make generate`"
