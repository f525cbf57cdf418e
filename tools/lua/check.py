"""Runs luacheck on the scripts as Redis gets them: every include expanded."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from scaiqueue.scripts.bundle import load_bundle

ROOT = Path(__file__).resolve().parents[2]


def main() -> int:
    """Exit status of luacheck."""
    with tempfile.TemporaryDirectory(prefix="scaiqueue-lua-") as folder:
        for script in load_bundle().values():
            # Redis takes the first line as flags; kept as a comment so that line numbers stay.
            source = "--" + script.source if script.source.startswith("#!") else script.source
            (Path(folder) / f"{script.name}.lua").write_text(source)
        command = ["luacheck", "--quiet", "--no-color", "--config", str(ROOT / ".luacheckrc"), folder]
        return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
