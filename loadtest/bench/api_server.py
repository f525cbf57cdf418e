"""The servers that the HTTP cases need: one API process on private Redis and MariaDB, and the floor."""

from __future__ import annotations

import secrets
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec

from scaiqueue.api.endpoint import BASE
from tests.servers import MariaDbServer, RedisServer, Server, free_port

ROOT = Path(__file__).resolve().parents[2]
_ROOMY = ("--innodb-buffer-pool-size=512M", "--innodb-log-file-size=256M", "--max-connections=128")
_HTTP_SECONDS = 30


class HttpServer(Server):
    """A Python module that serves HTTP on `port`; `path` answers 2xx once it is ready."""

    def __init__(self, module: Sequence[str], path: str, environment: Mapping[str, str] = {}) -> None:
        super().__init__()
        self.port = free_port()
        self._module, self._path = module, path
        self._environment = {"PYTHONPATH": str(ROOT), **environment}

    def command(self) -> Sequence[str]:
        assignments = [f"{name}={value}" for name, value in self._environment.items()]
        words = [word.replace("PORT", str(self.port)) for word in self._module]
        return ["/usr/bin/env", *assignments, sys.executable, "-m", *words]

    def renumber(self) -> None:
        self.port = free_port()

    def answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{self._path}", timeout=2):
                return True
        except urllib.error.HTTPError as error:
            return error.code == 405
        except OSError:
            return False


class PersisterProcess(Server):
    """`scaiqueue persister`."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        super().__init__()
        self.port = free_port()
        self._environment = environment

    def command(self) -> Sequence[str]:
        environment = {**self._environment, "SCAIQUEUE_WORKER_METRICS_PORT": str(self.port)}
        assignments = [f"{name}={value}" for name, value in environment.items()]
        return ["/usr/bin/env", *assignments, sys.executable, "-m", "scaiqueue", "persister"]

    def answers(self) -> bool:
        return "persister_started" in self.log.read_text(errors="replace")


def roomy_mariadb() -> MariaDbServer:
    """A buffer pool of 512 MiB and a redo log of 256 MiB; each commit is synced."""
    return MariaDbServer(*_ROOMY)


def floor_server() -> HttpServer:
    return HttpServer(["loadtest.floors.empty_app", "PORT"], "/messages")


class Deployment(NamedTuple):
    """One API process and what is behind it; a persister of its own, or the API process does its work."""

    api: HttpServer
    redis: RedisServer
    mariadb: MariaDbServer
    database_url: str
    key: str
    persister: PersisterProcess | None = None

    @property
    def pids(self) -> dict[str, int]:
        pids = {"api": self.api.pid, "redis": self.redis.pid, "mariadb": self.mariadb.pid}
        return pids if self.persister is None else {**pids, "persister": self.persister.pid}

    def ask(self, path: str, body: object = None, method: str = "POST") -> object:
        """A call outside of what is measured; the answer's data."""
        asked = urllib.request.Request(
            f"http://127.0.0.1:{self.api.port}{BASE}{path}",
            data=msgspec.json.encode(body) if body is not None else None,
            headers={"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"},
            method=method,
        )
        with urllib.request.urlopen(asked, timeout=_HTTP_SECONDS) as answer:
            found: dict[str, object] = msgspec.json.decode(answer.read())
        return found["data"]

    def metrics(self) -> str:
        """Of the process that writes rows."""
        port = (self.persister or self.api).port
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=_HTTP_SECONDS) as answer:
            text: bytes = answer.read()
        return text.decode()


_API = ("api", "--port", "PORT")


@contextmanager
def deployment(
    redis: RedisServer | None = None, *, own_persister: bool = False, command: Sequence[str] = _API
) -> Iterator[Deployment]:
    """One process of `scaiqueue api`, or of another `command`, on a Redis of its own (or the one given) and a
    MariaDB of its own. Rows are written by it or, with `own_persister`, by a `scaiqueue persister` beside it.

    The limit on messages that are not yet rows is lifted, so that a burst measures the API and no refusal.
    """
    key = "sgk_" + secrets.token_urlsafe(32)
    with roomy_mariadb() as mariadb:
        server = redis or RedisServer().start()
        try:
            database_url = mariadb.create_database("bench")
            environment = {
                "SCAIQUEUE_REDIS_URL": server.url,
                "SCAIQUEUE_DATABASE_URL": database_url,
                "SCAIQUEUE_API_KEY": key,
                "SCAIQUEUE_BACKLOG_LIMIT": "100000000",
                "SCAIQUEUE_LOG_LEVEL": "warning",
                "SCAIQUEUE_PERSIST": str(not own_persister).lower(),
            }
            with ExitStack() as stack:
                api = HttpServer(["scaiqueue", *command], "/healthz", environment)
                stack.enter_context(api)
                persister = None
                if own_persister:
                    environment["SCAIQUEUE_LOG_LEVEL"] = "info"
                    persister = stack.enter_context(PersisterProcess(environment))
                yield Deployment(api, server, mariadb, database_url, key, persister)
        finally:
            if redis is None:
                server.close()
