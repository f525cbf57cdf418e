"""The quickstart as a reader follows it: its blocks, taken from the page and run as they stand."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from tests.servers import find_program

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "quickstart.md"
# What the page asks the reader to keep of the first three answers to `curl`.
KEPT = ("SCOPE_ID", "QUEUE_ID", "MSG_ID")
PUBLISH = 2
STEPS = 5


class Step(NamedTuple):
    """One command with its answer; `kept` is the variable that the reader sets from it, or ""."""

    command: str
    status: int
    headers: dict[str, str]
    answer: Any
    kept: str = ""


def blocks(language: str) -> list[str]:
    """The page's blocks of one language, in order."""
    found = re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    assert len(found) == STEPS + (language == "bash"), f"{len(found)} blocks of {language}"
    return found


def reader_environment(url: str, key: str) -> dict[str, str]:
    """As after the page's first block."""
    exports, *_ = blocks("bash")
    assert re.findall(r"^export (\w+)=", exports, re.MULTILINE) == ["SCAIGRID_HOST", "SCAIGRID_API_KEY"]
    kept = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    return {**kept, "SCAIGRID_HOST": url, "SCAIGRID_API_KEY": key}


def by_curl(folder: Path, url: str, key: str) -> list[Step]:
    """All steps; publish is done twice."""
    headers = folder / "headers"
    (folder / ".curlrc").write_text(f'silent\nshow-error\ndump-header = "{headers}"\n')
    environment = {**reader_environment(url, key), "CURL_HOME": str(folder)}
    commands = blocks("bash")[1:]
    commands.insert(PUBLISH, commands[PUBLISH])
    steps: list[Step] = []
    for command in commands:
        answer = json.loads(_run(["bash", "-euc", command], folder, environment))
        first, *lines = headers.read_text().strip().splitlines()
        pairs = dict(line.lower().split(": ", 1) for line in lines)
        kept = KEPT[len(steps)] if len(steps) < len(KEPT) else ""
        if kept:
            environment[kept] = answer["data"]["id"]
        steps.append(Step(command.rstrip(), int(first.split()[1]), pairs, answer, kept))
    return steps


def by_python(folder: Path, url: str, key: str) -> list[str]:
    """What the blocks print, as one program; publish is done twice."""
    parts = blocks("python")
    parts.insert(PUBLISH, parts[PUBLISH])
    program = folder / "quickstart.py"
    program.write_text("".join(parts))
    return _run([sys.executable, str(program)], folder, reader_environment(url, key)).splitlines()


def by_node(folder: Path, url: str, key: str) -> list[str]:
    """What the blocks print, as one module; publish is done twice, and says what it was answered."""
    parts = blocks("javascript")
    say = "console.log(pubres.status, pubres.headers.get('idempotent-replay'), msg.id);\n"
    parts[PUBLISH] += say + "{\n" + parts[PUBLISH] + say + "}\n"
    program = folder / "quickstart.mjs"
    program.write_text("".join(parts))
    return _run([find_program("node"), str(program)], folder, reader_environment(url, key)).splitlines()


def _run(words: list[str], folder: Path, environment: dict[str, str]) -> str:
    done = subprocess.run(
        words,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{words[0]}: {done.stdout}{done.stderr}"
    return done.stdout
