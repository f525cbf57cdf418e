"""docs/events.md: the example and the receiver run as they stand, but for the port."""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path

from loadtest.stack import private_stack
from tests.pages import DOCS, example_of, run_example
from tests.servers import free_port

PAGE = "events.md"


async def test_the_page_works_as_written(tmp_path: Path) -> None:
    port = str(free_port())
    commands, printed = example_of(PAGE)
    (program,) = re.findall(r"^```python\n(.*?)^```$", (DOCS / PAGE).read_text(), re.DOTALL | re.MULTILINE)
    _, received = re.findall(r"^```text\n(.*?)^```$", (DOCS / PAGE).read_text(), re.DOTALL | re.MULTILINE)
    (tmp_path / "receiver.py").write_text(program)
    receiver = await asyncio.create_subprocess_exec(
        *(sys.executable, "receiver.py", port), cwd=tmp_path, stdout=asyncio.subprocess.PIPE
    )
    try:
        async with private_stack(webhook_private_networks="127.0.0.0/8") as stack:
            commands = commands.replace("8099", port)
            assert await asyncio.to_thread(run_example, commands, tmp_path, stack.url, stack.key) == printed
            assert receiver.stdout is not None
            lines = [(await receiver.stdout.readline()).decode() for _ in received.splitlines()]
    finally:
        receiver.kill()
        await receiver.wait()
    assert "".join(lines) == received
