"""Runs `scaiqueue` as a user does: in a folder of its own, with nothing set but what the test gives."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from contextlib import chdir, redirect_stderr, redirect_stdout
from pathlib import Path
from unittest.mock import patch

import pytest

from scaiqueue.cli import main


class Shell:
    def __init__(self, folder: Path, **environment: str) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("SCAIQUEUE_")}
        self.folder = folder
        self.environment = {**kept, **environment}

    def __call__(self, *words: str, status: int = 0) -> str:
        """What the command printed: its output if `status` is 0, else with its errors after it."""
        done = subprocess.run(
            self.command(*words),
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        return self.check(done.returncode, status, done.stdout, done.stderr)

    def check(self, found: int, expected: int, out: str, err: str) -> str:
        assert found == expected, out + err
        assert "Traceback" not in err
        return out if expected == 0 else out + err

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "scaiqueue", *words]


class QuickShell(Shell):
    """The same without a process: importing everything takes longer than most commands."""

    def __call__(self, *words: str, status: int = 0) -> str:
        out, err = io.StringIO(), io.StringIO()
        with (
            chdir(self.folder),
            patch.dict(os.environ, self.environment, clear=True),
            redirect_stdout(out),
            redirect_stderr(err),
            pytest.raises(SystemExit) as ended,
        ):
            main(words)
        return self.check(int(ended.value.code or 0), status, out.getvalue(), err.getvalue())
