"""Private database servers for tests: own folder, own socket and port, killed by their own pid only."""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Self

import redis as redis_client

from scaiqueue.embedded.children import die_with_parent
from scaiqueue.embedded.valkey import valkey_binary

START_SECONDS = 90.0


class ServerError(RuntimeError):
    """A server could not be started; carries the end of its log."""


def free_port(below: int = 65536) -> int:
    """A loopback port that is free now. The caller must cope with losing the race for it."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        if port < below:
            return port


def find_program(*names: str) -> str:
    """The full path of the first of `names` that is installed; missing servers fail, they never skip."""
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
    for name in names:
        if found := shutil.which(name, path=path):
            return found
    raise ServerError(f"none of {', '.join(names)} is installed: `make test` installs what the tests need")


class Server:
    """One child process with its folder. Subclasses say what to run and when it is ready."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="sq-"))
        self.log = self.folder / "log"
        self.process: subprocess.Popen[bytes] | None = None
        self.paused = False
        atexit.register(self.close)

    def command(self) -> Sequence[str]:
        raise TypeError("a subclass gives the command")

    def answers(self) -> bool:
        raise TypeError("a subclass gives the probe")

    @property
    def pid(self) -> int:
        if self.process is None:
            raise ServerError("the server is not running")
        return self.process.pid

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def spawn(self) -> None:
        """Start without waiting. From the main thread: the server dies with the thread that started it."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                process_group=0,
                preexec_fn=die_with_parent,
            )

    def start(self) -> Self:
        """Start and wait until the server answers. Data of an earlier run of this object is kept."""
        for attempt in (1, 2, 3):
            self.spawn()
            if self._wait_ready():
                return self
            self.kill()
            if attempt < 3:
                self.renumber()
        tail = self.log.read_text(errors="replace")[-2000:]
        raise ServerError(f"{self.command()[0]} did not start:\n{tail}")

    def renumber(self) -> None:
        """Take other ports after a failed start: another process may have been quicker."""

    def _wait_ready(self) -> bool:
        return poll(lambda: not self.running or self.answers(), START_SECONDS) and self.running

    def stop(self) -> None:
        """End in order (SIGTERM), so that everything is written."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End at once (SIGKILL), as a crash does."""
        self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> None:
        if self.process is not None:
            self.resume()
            if self.running:
                self.process.send_signal(number)
            try:
                self.process.wait(START_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process = None

    def restart(self, *, crash: bool = False) -> Self:
        """Stop (or crash) and start again on the same data."""
        if crash:
            self.kill()
        else:
            self.stop()
        return self.start()

    def pause(self) -> None:
        """SIGSTOP: the server is there but does not answer, as a stalled machine."""
        os.kill(self.pid, signal.SIGSTOP)
        self.paused = True

    def resume(self) -> None:
        if self.paused and self.running:
            os.kill(self.pid, signal.SIGCONT)
        self.paused = False

    def close(self) -> None:
        """Kill and remove the folder; may be called again."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)
        atexit.unregister(self.close)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exc: object) -> None:
        self.close()


def poll(condition: Callable[[], bool], seconds: float) -> bool:
    """Look at `condition` again and again, at most for `seconds`; True as soon as it holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


class RedisServer(Server):
    """A private Redis (`kind="redis"`) or Valkey ("valkey", the bundled one), on a socket and a TCP port.

    `options` are configuration directives, for instance `appendonly="yes"`, `maxmemory="8mb"`
    (underscores become dashes). noeviction unless said otherwise.
    """

    def __init__(self, kind: str = "redis", **options: str | int) -> None:
        super().__init__()
        self.kind = kind
        self.port = free_port()
        self.socket = self.folder / "redis.sock"
        self.options = {name.replace("_", "-"): str(value) for name, value in options.items()}

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"

    @property
    def tcp_url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def renumber(self) -> None:
        self.port = free_port()

    def command(self) -> Sequence[str]:
        binary = find_program("redis-server") if self.kind == "redis" else str(valkey_binary())
        directives = {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "unixsocket": str(self.socket),
            "unixsocketperm": "700",
            "dir": str(self.folder),
            "save": "",
            "appendonly": "no",
            "maxmemory-policy": "noeviction",
            "daemonize": "no",
            **self.options,
        }
        return [binary, *(part for name, value in directives.items() for part in (f"--{name}", value))]

    def client(self) -> redis_client.Redis:
        """A blocking client, for looking at the server from outside; close it."""
        return redis_client.Redis(unix_socket_path=str(self.socket))

    def answers(self) -> bool:
        try:
            with self.client() as client:
                return bool(client.ping())
        except redis_client.RedisError:
            return False


INNODB = (
    "--innodb-log-file-size=4M",
    "--innodb-buffer-pool-size=8M",
    "--innodb-autoextend-increment=1",
    "--innodb-log-buffer-size=2M",
    "--innodb-temp-data-file-path=ibtmp1:1M:autoextend",
    "--aria-log-file-size=8M",
)
LEAN = (
    "--aria-pagecache-buffer-size=1M",
    "--key-buffer-size=64K",
    "--performance-schema=OFF",
    "--max-connections=64",
    "--table-open-cache=128",
    "--query-cache-size=0",
    "--query-cache-type=0",
    "--host-cache-size=0",
    "--skip-name-resolve",
)


def _as_root() -> tuple[str, ...]:
    return ("--user=root",) if os.geteuid() == 0 else ()


@cache
def _prepared_datadir() -> Path:
    """An empty MariaDB data folder, installed once a process and copied for each server."""
    folder = Path(tempfile.mkdtemp(prefix="sq-mariadb-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    temporary = tempfile.mkdtemp(prefix="sq-mariadb-")
    atexit.register(shutil.rmtree, temporary, ignore_errors=True)
    done = subprocess.run(
        [
            find_program("mariadb-install-db", "mysql_install_db"),
            "--no-defaults",
            *INNODB,
            *_as_root(),
            f"--datadir={folder}",
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
        ],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "TMPDIR": temporary},
    )
    if done.returncode:
        raise ServerError(f"mariadb-install-db failed:\n{done.stdout[-1000:]}{done.stderr[-1000:]}")
    return folder


class MariaDbServer(Server):
    """A private MariaDB on a unix socket only; user root without a password. `options` are extra flags."""

    def __init__(self, *options: str, datadir: Path | None = None) -> None:
        super().__init__()
        self.options = options
        self.socket = self.folder / "mariadb.sock"
        self.datadir = datadir or self.folder / "data"
        shutil.copytree(_prepared_datadir(), self.datadir)

    def url(self, database: str) -> str:
        """The SQLAlchemy URL of one database."""
        return f"mysql+asyncmy://root@localhost/{database}?unix_socket={self.socket}"

    def command(self) -> Sequence[str]:
        return [
            find_program("mariadbd", "mysqld"),
            "--no-defaults",
            *INNODB,
            *LEAN,
            *_as_root(),
            "--skip-networking",
            f"--datadir={self.datadir}",
            f"--tmpdir={self.folder}",  # a starting server empties its own: never a shared one
            f"--socket={self.socket}",
            f"--pid-file={self.folder / 'pid'}",
            *self.options,
        ]

    def answers(self) -> bool:
        return self._client("SELECT 1").returncode == 0

    def run(self, statement: str, database: str = "") -> str:
        """Run SQL through the command-line client and return its tab-separated output, without headings."""
        done = self._client(statement, database)
        if done.returncode:
            raise ServerError(done.stderr)
        return done.stdout

    def create_database(self, name: str) -> str:
        """Create an empty utf8mb4 database and return its URL."""
        self.run(f"CREATE DATABASE `{name}` CHARACTER SET utf8mb4")
        return self.url(name)

    def drop_database(self, name: str) -> None:
        self.run(f"DROP DATABASE IF EXISTS `{name}`")

    def _client(self, statement: str, database: str = "") -> subprocess.CompletedProcess[str]:
        if not self.socket.exists():
            return subprocess.CompletedProcess([], 1, "", "no socket yet")
        return subprocess.run(
            [
                find_program("mariadb", "mysql"),
                "--no-defaults",
                f"--socket={self.socket}",
                "--user=root",
                "--batch",
                "--skip-column-names",
                f"--execute={statement}",
                *([database] if database else []),
            ],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )


class ValkeyCluster:
    """Three Valkey nodes that share the 16,384 slots; no replicas."""

    def __init__(self, **options: str | int) -> None:
        self.options = options
        self.nodes: list[RedisServer] = []

    @property
    def ports(self) -> list[int]:
        return [node.port for node in self.nodes]

    @property
    def url(self) -> str:
        """Where a cluster client may start."""
        return self.nodes[0].tcp_url

    def start(self) -> Self:
        for number in range(3):
            node = _ClusterNode(**self.options).start()
            self.nodes.append(node)
            first, last = number * 16384 // 3, (number + 1) * 16384 // 3 - 1
            with node.client() as client:
                client.execute_command("CLUSTER ADDSLOTSRANGE", first, last)
                client.execute_command("CLUSTER SET-CONFIG-EPOCH", number + 1)
        for node in self.nodes[1:]:
            first_node = self.nodes[0]
            with node.client() as client:
                client.execute_command("CLUSTER MEET", "127.0.0.1", first_node.port, first_node.bus_port)
        if not poll(self._whole, START_SECONDS):
            self.close()
            raise ServerError("the cluster did not become whole")
        return self

    def _whole(self) -> bool:
        for node in self.nodes:
            with node.client() as client:
                info = client.execute_command("CLUSTER INFO")
            if info["cluster_state"] != "ok" or info["cluster_known_nodes"] != str(len(self.nodes)):
                return False
        return True

    def close(self) -> None:
        for node in self.nodes:
            node.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exc: object) -> None:
        self.close()


class _ClusterNode(RedisServer):
    def __init__(self, **options: str | int) -> None:
        super().__init__(kind="valkey", **options)
        self.bus_port = free_port()

    def renumber(self) -> None:
        super().renumber()
        self.bus_port = free_port()

    def command(self) -> Sequence[str]:
        return [
            *super().command(),
            *("--cluster-enabled", "yes", "--cluster-port", str(self.bus_port)),
            *("--cluster-config-file", str(self.folder / "nodes.conf"), "--cluster-node-timeout", "2000"),
        ]
