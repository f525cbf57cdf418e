"""The example that docs/access.md begins with, on a real server."""

from __future__ import annotations

from pathlib import Path

from tests.api.conftest import FIRST_KEY, Api
from tests.pages import example_of, run_example


async def test_the_page_works_as_written(api: Api, tmp_path: Path) -> None:
    commands, printed = example_of("access.md")
    assert run_example(commands, tmp_path, api.server.url, FIRST_KEY) == printed
