"""The wheel brings everything and claims no name that is not its own."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def _build(source: Path, out: Path) -> Path:
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(source)]
    subprocess.run(command, check=True, capture_output=True)
    (wheel,) = out.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, so that nothing of an earlier build gets in."""
    copy = tmp_path_factory.mktemp("source")
    tracked = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split("\0")
    for name in filter(None, tracked):
        if (ROOT / name).is_file():
            target = copy / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((ROOT / name).read_bytes())
    return _build(copy, tmp_path_factory.mktemp("wheel"))


def test_the_wheel_claims_only_its_own_names(wheel: Path) -> None:
    names = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    packages = {name for name in names if not name.endswith(".dist-info")}
    assert packages
    assert all(name == "scaiqueue" or name.startswith("scaiqueue_") for name in packages), packages


def test_every_source_file_is_in_the_wheel(wheel: Path) -> None:
    inside = set(zipfile.ZipFile(wheel).namelist())
    folders = {"scaiqueue": "scaiqueue", "agents": "scaiqueue_agents", "lua": "scaiqueue_lua"}
    expected = {
        f"{package}/{file.relative_to(ROOT / folder).as_posix()}"
        for folder, package in folders.items()
        for file in (ROOT / folder).rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    assert expected <= inside, expected - inside


def test_it_lives_beside_another_package_named_agents(wheel: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    (other / "agents").mkdir(parents=True)
    (other / "agents" / "__init__.py").write_text("OWNER = 'somebody else'\n")
    (other / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["setuptools>=77"]\nbuild-backend = "setuptools.build_meta"\n'
        '[project]\nname = "somebody-elses-agents"\nversion = "1.0"\n'
        '[tool.setuptools]\npackages = ["agents"]\n'
    )
    environment = tmp_path / "environment"
    venv.create(environment, with_pip=False, symlinks=True)
    (site,) = environment.glob("lib/python*/site-packages")
    for one in (_build(other, tmp_path / "dist"), wheel):
        command = [sys.executable, "-m", "pip", "--python", str(environment / "bin" / "python")]
        subprocess.run([*command, "install", "--quiet", "--no-deps", str(one)], check=True)
    # What the package depends on comes from this environment; the package itself does not.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    program = (
        "import agents, scaiqueue, scaiqueue_agents.worker\n"
        "from importlib.metadata import distribution\n"
        "from scaiqueue.scripts.bundle import load_bundle\n"
        "assert agents.OWNER == 'somebody else'\n"
        f"assert scaiqueue.__file__.startswith({str(environment)!r}), scaiqueue.__file__\n"
        "print(len(load_bundle()), distribution('scaiqueue').version)\n"
    )
    done = subprocess.run(
        [str(environment / "bin" / "python"), "-c", program],
        cwd=tmp_path,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    scripts = len(list((ROOT / "lua").glob("*.lua")))
    assert done.stdout.split()[0] == str(scripts)
    command = str(environment / "bin" / "scaiqueue")
    shown = subprocess.run(
        [command, "scripts", "list"], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    assert "publish" in shown.stdout
