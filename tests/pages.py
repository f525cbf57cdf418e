"""Examples of the documentation, run as they stand on the page."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"


def example_of(page: str) -> tuple[str, str]:
    """The page's first block of bash, and the text block after it, which is what it prints."""
    blocks = re.findall(r"^```(\w+)\n(.*?)^```$", (DOCS / page).read_text(), re.DOTALL | re.MULTILINE)
    (first, commands), (second, printed) = blocks[:2]
    assert (first, second) == ("bash", "text"), f"{page} begins with {first} and {second}"
    return commands, printed


def run_example(commands: str, folder: Path, url: str, key: str) -> str:
    """What the commands print to a reader who has done as the quickstart begins."""
    kept = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],
        cwd=folder,
        env={**kept, "SCAIGRID_HOST": url, "SCAIGRID_API_KEY": key},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
