"""docs/routing.md: its blocks run as they stand, and do what the page says."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

from loadtest.stack import private_stack
from tests.quickstart.guide import ROOT

PAGE = ROOT / "docs" / "routing.md"


def run_page(url: str, key: str, page: Path = PAGE) -> list[Any]:
    """What each call of the page was answered."""
    blocks = re.findall(r"^```bash\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)
    kept = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    done = subprocess.run(
        ["bash", "-euc", "\n".join(blocks)],
        env={**kept, "SCAIGRID_HOST": url, "SCAIGRID_API_KEY": key},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return [json.loads(line)["data"] for line in done.stdout.splitlines()]


async def test_the_routed_pipeline() -> None:
    async with private_stack() as stack:
        answers = run_page(stack.url, stack.key)
    _scope, fifo, by_priority, rule, dry, *published, claimed, _pattern, ask, asked = answers
    assert (fifo["ordering"], by_priority["ordering"]) == ("fifo", "priority")
    assert (rule["name"], rule["enabled"]) == ("premium-first", True)
    assert (dry["outcome"], dry["queue"]) == ("routed", "priority-orders")
    assert [order["queue"] for order in published] == ["new-orders", "priority-orders", "new-orders"]
    assert [order["body"]["order"] for order in claimed] == [2, 1, 3]
    assert [order["queue"] for order in claimed] == ["priority-orders", "new-orders", "new-orders"]
    assert ask["then"]["escalate"]["hitl_pattern"]["version"] == 1
    assert (asked["outcome"], asked["queue"]) == ("awaiting_review", "new-orders")
    assert asked["hitl_spec"]["sections"][0]["title"] == "order.created (basic) failed"
