"""The README's transcript of the quickstart, made from a run; `make generate` writes it."""

from __future__ import annotations

import asyncio
import json
import re
import tempfile
from collections.abc import Sequence
from itertools import count
from pathlib import Path

from loadtest.stack import private_stack
from tests.quickstart.guide import ROOT, Step, blocks, by_curl

README = ROOT / "README.md"
BEGIN, END = "<!-- quickstart -->\n", "<!-- /quickstart -->\n"
WIDTH = 110

_UUID = re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")
_TIME = re.compile(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
_SHARD = re.compile(r'"shard": \d+')  # follows from the scope's id
_LEASE_END = re.compile(r'("(?:lease_expires_at|visible_at)": )"2026-01-31T12:00:00.000Z"')


def normalised(text: str) -> str:
    """Ids numbered as they come, every time the same, but leases end a minute later."""
    numbers = count(1)
    ids: dict[str, str] = {}
    for found in _UUID.findall(text):
        if found not in ids:
            ids[found] = f"019c0000-0000-7000-8000-{next(numbers):012d}"
    text = _UUID.sub(lambda match: ids[match[0]], text)
    text = _TIME.sub("2026-01-31T12:00:00.000Z", text)
    return _LEASE_END.sub(r'\1"2026-01-31T12:01:00.000Z"', text)


def transcript(steps: Sequence[Step]) -> str:
    """Commands and answers; the answers are wrapped, and say which variable the reader sets."""
    parts = [f"$ {line}" for line in blocks("bash")[0].splitlines()]
    for before, step in zip([None, *steps], steps, strict=False):
        if before is not None and before.command == step.command:
            continue
        parts.append(f"$ {step.command}")
        parts += _wrapped(_SHARD.sub('"shard": 7', json.dumps(step.answer, ensure_ascii=False)))
        if step.kept:
            parts.append(f"$ export {step.kept}={step.answer['data']['id']}")
    return f"{BEGIN}\n```console\n{normalised(chr(10).join(parts))}\n```\n\n{END}"


def _wrapped(answer: str) -> list[str]:
    """Broken between the fields only."""
    lines = [""]
    for field in re.split(r'(?<=,) (?=")', answer):
        if lines[-1] and len(lines[-1]) + 1 + len(field) > WIDTH:
            lines.append(" " + field)
        else:
            lines[-1] += f" {field}" if lines[-1] else field
    return lines


def shown() -> str:
    """What the README has now."""
    text = README.read_text()
    return text[text.index(BEGIN) : text.index(END) + len(END)]


async def write() -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with private_stack() as stack:
            steps = await asyncio.to_thread(by_curl, Path(folder), stack.url, stack.key)
    README.write_text(README.read_text().replace(shown(), transcript(steps)))


if __name__ == "__main__":
    asyncio.run(write())
