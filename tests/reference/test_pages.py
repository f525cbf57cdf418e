"""The reference pages say what the code says."""

from __future__ import annotations

import pytest

from tests.reference import protocol
from tests.reference.pages import FOLDER, PAGES


@pytest.mark.parametrize("name", PAGES)
def test_the_page_is_made_from_the_code(name: str) -> None:
    assert (FOLDER / name).read_text() == PAGES[name](), "run `make generate`"


def test_the_protocol_tells_every_answer_of_every_verb() -> None:
    assert protocol.PAGE.read_text() == protocol.protocol_page(), "run `make generate`"
