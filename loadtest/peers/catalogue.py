"""Which peers there are, how each is installed, and what is left of its jobs after a crash."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Literal, NamedTuple

CACHE = Path(__file__).resolve().parents[2] / ".bench"
_PIP = "pip"
_NPM = ("bullmq@6", "ioredis@5")


class Peer(NamedTuple):
    """`packages` go into an environment of its own; `server` is what it stores its jobs in."""

    name: str
    packages: tuple[str, ...]
    jobs: int
    survives: str
    server: Literal["redis", "rabbitmq", "beanstalkd"] = "redis"


_REDIS_ONLY = "Jobs live in Redis alone: what its persistence (here none) did not write is lost."
_ACKED = f"{_REDIS_ONLY} A dead worker's jobs are taken up again."
PEERS = (
    Peer("saq", ("saq>=0.26.4", "redis>=8", "hiredis", "typing_extensions", "uvloop"), 4000, _ACKED),
    Peer(
        "arq",
        ("arq>=0.28", "hiredis", "uvloop"),
        4000,
        f"{_REDIS_ONLY} A dead worker's jobs return after their timeout.",
    ),
    Peer(
        "rq",
        ("rq>=3", "hiredis"),
        500,
        f"{_REDIS_ONLY} A dead worker's job is found in the registry of started jobs.",
    ),
    Peer(
        "dramatiq",
        ("dramatiq[redis]>=2.2", "hiredis"),
        4000,
        f"{_REDIS_ONLY} A dead worker's messages return after its heartbeat ends.",
    ),
    Peer(
        "celery",
        ("celery[redis]>=5.7", "hiredis"),
        2000,
        f"{_REDIS_ONLY} Acknowledged when received unless acks_late: a dead worker's jobs are lost.",
    ),
    Peer(
        "taskiq",
        ("taskiq>=0.13", "taskiq-redis>=1.2", "hiredis", "uvloop"),
        4000,
        f"{_REDIS_ONLY} Unacknowledged messages are claimed again.",
    ),
    Peer(
        "streaq",
        ("streaq>=7.2", "uvloop"),
        2000,
        f"{_REDIS_ONLY} A dead worker's jobs are reclaimed after its timeout.",
    ),
    Peer(
        "bullmq_python",
        ("bullmq>=3.4", "hiredis", "uvloop"),
        2000,
        f"{_REDIS_ONLY} Stalled jobs of a dead worker return to waiting.",
    ),
    Peer("bullmq", _NPM, 10_000, f"{_REDIS_ONLY} Stalled jobs of a dead worker return to waiting."),
    Peer(
        "beanstalkd",
        (),
        20_000,
        "Without a binlog (-b) nothing survives the server; a dead consumer's jobs return.",
        "beanstalkd",
    ),
    Peer(
        "rabbitmq",
        ("pika", "aio-pika", "uvloop"),
        4000,
        "Confirmed persistent messages survive a restart; unacknowledged ones return.",
        "rabbitmq",
    ),
)


class PeerMissing(RuntimeError):
    """The peer can't be run here; says why."""


def command(peer: Peer) -> list[str]:
    """The peer's program, installed first where needed. Raises PeerMissing."""
    programs = Path(__file__).parent
    if peer.packages is _NPM:
        _install_npm(CACHE / peer.name, peer.packages)
        return ["node", str(programs / "bullmq_peer.mjs")]
    python = _install_python(CACHE / peer.name, peer.packages) if peer.packages else sys.executable
    return [str(python), str(programs / f"{peer.name}_peer.py")]


def installed(peer: Peer) -> str:
    """Name and version of what is measured."""
    if peer.packages is _NPM:
        about = CACHE / peer.name / "node_modules" / "bullmq" / "package.json"
        return (
            f"bullmq {json.loads(about.read_text())['version']}, node {_run(['node', '--version']).strip()}"
        )
    if not peer.packages:
        return _run(["beanstalkd", "-v"]).strip()
    name = peer.packages[0].partition(">")[0].partition("[")[0]
    code = f"from importlib.metadata import version; print(version({name!r}))"
    return f"{name} {_run([str(CACHE / peer.name / 'bin' / 'python'), '-c', code]).strip()}"


def _install_python(folder: Path, packages: tuple[str, ...]) -> Path:
    python, done = folder / "bin" / "python", folder / "installed"
    if not done.exists() or done.read_text() != "\n".join(packages):
        shutil.rmtree(folder, ignore_errors=True)
        _run([sys.executable, "-m", "venv", str(folder)])
        _run([str(python), "-m", _PIP, "install", "--quiet", "--disable-pip-version-check", *packages])
        done.write_text("\n".join(packages))
    return python


def _install_npm(folder: Path, packages: tuple[str, ...]) -> None:
    if shutil.which("npm") is None:
        raise PeerMissing("Node.js with npm is not installed")
    if not (folder / "node_modules" / "ioredis").exists():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "package.json").write_text('{"private": true}\n')
        _run(["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(folder), *packages])


def server_program(name: str) -> str:
    """beanstalkd or rabbitmq-server. Installed by apt where this runs as root. Raises PeerMissing."""
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"])
    program = {"rabbitmq": "rabbitmq-server"}.get(name, name)
    if found := shutil.which(program, path=path):
        return found
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        raise PeerMissing(f"{program} is not installed, and this user may not install it")
    # RUNLEVEL=1 keeps the package from starting a service of its own.
    apt = ["env", "RUNLEVEL=1", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-y", "-qq"]
    _run([*apt, "update"])
    _run([*apt, "install", "--no-install-recommends", program])
    found = shutil.which(program, path=path)
    if found is None:
        raise PeerMissing(f"{program} was installed, and is not to be found")
    return found


def _run(words: list[str]) -> str:
    try:
        done = subprocess.run(
            words, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=600
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PeerMissing(str(error)) from None
    if done.returncode:
        raise PeerMissing(f"{' '.join(words[:4])} …: {(done.stderr or done.stdout).strip()[-300:]}")
    return done.stdout + done.stderr
