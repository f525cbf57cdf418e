"""`scaiqueue dev`: servers, API and worker as one supervised group."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated

import msgspec
from cyclopts import Parameter

from scaiqueue.cli.client import is_ready, local_url
from scaiqueue.cli.output import CommandError
from scaiqueue.embedded.data_folder import DataFolder, to_environment, with_embedded
from scaiqueue.embedded.supervisor import REFUSED, Child, ChildRefused, Supervisor
from scaiqueue.embedded.valkey import EmbeddedError
from scaiqueue.settings import Settings, SettingsError, load_settings


def dev(
    *,
    host: str | None = None,
    port: int | None = None,
    osqueue_port: int | None = None,
    data_dir: Path | None = None,
    api_key: str | None = None,
    fresh: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Start everything on this machine and keep it running; Ctrl-C ends all of it.

    Parameters
    ----------
    host
        Address to listen on (SCAIQUEUE_HOST, 127.0.0.1).
    port
        Port to listen on (SCAIQUEUE_PORT, 8080); 0 takes a free one.
    osqueue_port
        Port for osqueue's clients (SCAIQUEUE_OSQUEUE_PORT); without one they are not served.
    data_dir
        Where everything is kept (SCAIQUEUE_DATA_DIR, .scaiqueue).
    api_key
        The first API key (SCAIQUEUE_API_KEY); made and kept in the data folder if not given.
    fresh
        Throw away what the data folder holds and start empty.
    """
    settings = load_settings(
        host=host,
        port=port,
        osqueue_port=osqueue_port,
        data_dir=data_dir and str(data_dir),
        api_key=api_key,
    )
    try:
        return asyncio.run(_run(settings, fresh))
    except EmbeddedError as error:
        raise CommandError(str(error)) from None


async def _run(settings: Settings, fresh: bool) -> int:
    supervisor = Supervisor()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, supervisor.request_stop)
    folder = DataFolder(settings.data_dir)
    with folder.locked():
        if fresh:
            _empty(folder, settings)
        api_key = settings.api_key or folder.key()
        if settings.osqueue_port:
            _usable_port(settings.host, settings.osqueue_port, "--osqueue-port")
        chosen = with_embedded(
            msgspec.structs.replace(
                settings,
                port=_usable_port(settings.host, settings.port),
                api_key=api_key,
                # osqueue's own clients know of no keys.
                osqueue_key=settings.osqueue_key or api_key,
            )
        )
        try:
            await _start(supervisor, folder, chosen, given=settings)
            if not supervisor.stopping:
                _announce(chosen)
            await supervisor.run_until_stopped()
        except ChildRefused:
            return REFUSED
        finally:
            await supervisor.stop()
    return 0


async def _start(supervisor: Supervisor, folder: DataFolder, settings: Settings, given: Settings) -> None:
    """`given` has no URLs where the data folder's own servers are meant."""
    if not given.redis_url:
        valkey = Child(
            "valkey",
            await folder.valkey.prepare(),
            folder=folder.valkey.folder,
            ready=folder.valkey.answers,
            rank=0,
            grace_s=2,
        )
        await supervisor.add(valkey)
    if given.database_url and not supervisor.stopping:
        # The API brings the tables up to date by itself; a server that can't be reached is told of here.
        from scaiqueue.cli.migrate import bring_up_to_date

        await bring_up_to_date(settings.database_url)
    environment = to_environment(settings)
    # The others after the API: they need the tables.
    ready_when: dict[str, Callable[[], Awaitable[bool]] | None] = {"api": _probe(local_url(settings))}
    if settings.osqueue_port:
        ready_when["osqueue"] = _probe(_osqueue_url(settings))
    ready_when["worker"] = None
    for name, ready in ready_when.items():
        if not supervisor.stopping:
            command = [sys.executable, "-m", "scaiqueue", name]
            await supervisor.add(Child(name, command, environment, ready=ready))


def _probe(url: str) -> Callable[[], Awaitable[bool]]:
    async def ready() -> bool:
        return await asyncio.to_thread(is_ready, url)

    return ready


def _announce(settings: Settings) -> None:
    url = local_url(settings)
    print(f"READY {url}")
    print(f"API key: {settings.api_key}")
    if settings.osqueue_port:
        print(f"osqueue: {_osqueue_url(settings)}")
    print(f"docs:    {url}/docs", flush=True)


def _osqueue_url(settings: Settings) -> str:
    return local_url(msgspec.structs.replace(settings, port=settings.osqueue_port))


def _empty(folder: DataFolder, settings: Settings) -> None:
    for name, variable in (("redis_url", "SCAIQUEUE_REDIS_URL"), ("database_url", "SCAIQUEUE_DATABASE_URL")):
        if getattr(settings, name):
            raise SettingsError(
                f"--fresh empties the data folder, but {variable} names a server of its own: leave one out"
            )
    folder.empty()


def _usable_port(host: str, port: int, option: str = "--port") -> int:
    """The port itself, or a free one for 0; refuses one that is taken before anything is started."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            return int(probe.getsockname()[1])
    except socket.gaierror:
        raise SettingsError(
            f"SCAIQUEUE_HOST: {host!r} is no address of this machine: use 127.0.0.1"
        ) from None
    except OSError as error:
        raise CommandError(
            f"cannot listen on {host}:{port} ({error.strerror}): end what uses it, or choose another {option}"
        ) from None
