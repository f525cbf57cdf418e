"""The programs of the client's pages, run as they stand on them, in their order."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.api.conftest import FIRST_KEY, ApiServer
from tests.pages import DOCS


@pytest.mark.parametrize("page", ["python-sdk.md", "worker.md"])
def test_the_page_works_as_written(page: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    server: ApiServer = request.getfixturevalue("api_servers")[0]
    blocks = re.findall(r"^```(\w+)\n(.*?)^```$", (DOCS / page).read_text(), re.DOTALL | re.MULTILINE)
    assert blocks[0][0] == "python"
    printed = ""
    for language, content in blocks:
        match language:
            case "python":
                name = re.match(r"# (\w+\.py)\n", content)
                assert name, content
                (tmp_path / name[1]).write_text(content)
            case "bash":
                printed = run(content, tmp_path, server.url)
            case "text":
                assert printed == content
            case _:
                raise AssertionError(language)


def run(commands: str, folder: Path, url: str) -> str:
    kept = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    kept["PATH"] = f"{Path(sys.executable).parent}:{kept['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],
        cwd=folder,
        env={**kept, "SCAIGRID_HOST": url, "SCAIGRID_API_KEY": FIRST_KEY},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
