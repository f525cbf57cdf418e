"""Every test that the durability page names as its proof exists."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
PAGE = TESTS.parent / "docs" / "durability.md"


def test_the_proofs_exist() -> None:
    named = re.findall(r"`(\w+/test_\w+\.py)::(test_\w+)(?:\[([^\]]+)\])?`", PAGE.read_text())
    assert len(named) >= 10
    for file, test, case in named:
        source = (TESTS / file).read_text()
        assert f"def {test}(" in source, f"{file}::{test}"
        assert f'"{case}"' in source or not case, f"{file}::{test}[{case}]"
