"""The example that docs/osqueue.md begins with, on `scaiqueue dev`."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.cli.shell import QuickShell, Shell
from tests.pages import example_of, run_example
from tests.servers import free_port


def test_the_page_works_as_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shell = Shell(tmp_path)
    port = free_port()
    options = ("--port", "0", "--osqueue-port", str(port))
    with subprocess.Popen(
        shell.command("dev", *options), cwd=tmp_path, env=shell.environment, stdout=subprocess.PIPE, text=True
    ) as dev:
        try:
            assert dev.stdout is not None
            lines = iter(dev.stdout.readline, "")
            url = next(line.split()[1] for line in lines if line.startswith("osqueue: "))
            monkeypatch.setenv("OSQUEUE_URL", url)
            commands, printed = example_of("osqueue.md")
            assert run_example(commands, tmp_path, "", "") == printed
        finally:
            dev.terminate()
        assert dev.wait(30) == 0


def test_settings_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    shell = QuickShell(tmp_path)
    assert "name a port" in shell("osqueue", status=2)
    for options, complaint in (
        ({"OSQUEUE_PORT": "8080"}, "must be another than port"),
        ({"OSQUEUE_SCOPE": "Jobs"}, "must be a slug"),
        ({"OSQUEUE_KEY": "secret"}, "must be sgk_"),
        ({"OSQUEUE_ORIGINS": "https://a.example.org/ jobs"}, "must be origins"),
    ):
        shell = QuickShell(tmp_path, **{f"SCAIQUEUE_{name}": value for name, value in options.items()})
        assert complaint in shell("dev", status=2)
