"""The group of processes behind `scaiqueue dev`."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from scaiqueue.embedded.data_folder import DataFolder, to_environment, with_embedded
from scaiqueue.embedded.supervisor import REFUSED, Child, ChildRefused, Supervisor
from scaiqueue.embedded.valkey import EmbeddedError, EmbeddedValkey
from scaiqueue.settings import Settings, load_settings
from tests.eventually import eventually


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
async def group(said: list[str]) -> AsyncIterator[Supervisor]:
    supervisor = Supervisor(report=said.append)
    yield supervisor
    await supervisor.stop()


def python(source: str) -> list[str]:
    return [sys.executable, "-c", source]


SLEEPER = python("import signal; signal.pause()")


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_a_child_that_dies_is_started_again(group: Supervisor, said: list[str]) -> None:
    await group.add(Child("one", SLEEPER))
    first = await eventually(lambda: group.pids.get("one"))
    os.kill(first, signal.SIGKILL)
    await eventually(lambda: group.pids.get("one") not in (None, first))
    assert said[0].startswith("one ended with status -9; starting it again in ")


async def test_the_wait_before_a_restart_grows(group: Supervisor, said: list[str]) -> None:
    await group.add(Child("one", python("raise SystemExit(1)")))
    await eventually(lambda: len(said) >= 3)
    waits = [float(line.split()[-2]) for line in said[:3]]
    assert waits == sorted(set(waits))


async def test_settings_that_a_child_refuses_end_the_group(group: Supervisor) -> None:
    await group.add(Child("one", python(f"raise SystemExit({REFUSED})")))
    with pytest.raises(ChildRefused):
        await group.run_until_stopped()


async def test_add_waits_until_the_child_is_ready(group: Supervisor, tmp_path: Path) -> None:
    mark = tmp_path / "ready"

    async def ready() -> bool:
        return mark.exists()

    source = f"import pathlib, signal; pathlib.Path({str(mark)!r}).touch(); signal.pause()"
    await group.add(Child("one", python(source), ready=ready))
    assert mark.exists()


async def test_children_end_by_rank_and_the_deaf_are_killed(
    group: Supervisor, said: list[str], tmp_path: Path
) -> None:
    log = tmp_path / "log"
    tells = (
        "import pathlib, signal, sys\n"
        f"log = pathlib.Path({str(log)!r})\n"
        "def end(*_):\n    log.open('a').write(sys.argv[1]); sys.exit()\n"
        "signal.signal(signal.SIGTERM, end)\nprint('up', flush=True)\nsignal.pause()\n"
    )
    deaf = tmp_path / "deaf"
    ignores = (
        "import pathlib, signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        f"pathlib.Path({str(deaf)!r}).touch()\nwhile True: signal.pause()\n"
    )

    async def is_deaf() -> bool:
        return deaf.exists()

    up = {name: tmp_path / name for name in "ab"}
    for name, rank in (("a", 0), ("b", 1)):
        source = tells.replace("print('up', flush=True)", f"pathlib.Path({str(up[name])!r}).touch()")

        async def ready(path: Path = up[name]) -> bool:
            return path.exists()

        await group.add(Child(name, [*python(source), name], rank=rank, ready=ready))
    await group.add(Child("deaf", python(ignores), rank=2, grace_s=0.1, ready=is_deaf))
    pids = group.pids
    await group.stop()
    assert log.read_text() == "ba"
    assert said == ["deaf did not end in time and was killed"]
    assert not any(alive(pid) for pid in pids.values())


async def test_children_end_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    source = (
        "import asyncio, sys\n"
        "from scaiqueue.embedded.supervisor import Child, Supervisor\n"
        "async def main():\n"
        "    s = Supervisor()\n"
        "    await s.add(Child('one', [sys.executable, '-c', 'import signal; signal.pause()']))\n"
        "    while not s.pids: await asyncio.sleep(0)\n"
        "    print(s.pids['one'], flush=True)\n"
        "    await s.run_until_stopped()\n"
        "asyncio.run(main())\n"
    )
    parent = await asyncio.create_subprocess_exec(*python(source), stdout=asyncio.subprocess.PIPE)
    assert parent.stdout is not None
    child = int(await parent.stdout.readline())
    parent.kill()
    await parent.wait()
    await eventually(lambda: not _runs(child))


def _runs(pid: int) -> bool:
    """Not there, or a zombie that nobody has waited for yet, is ended."""
    stat = Path(f"/proc/{pid}/stat")
    try:
        return stat.read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def test_embedded_valkey_keeps_its_data_over_a_crash(group: Supervisor, tmp_path: Path) -> None:
    valkey = EmbeddedValkey(tmp_path)
    await group.add(Child("valkey", await valkey.prepare(), folder=valkey.folder, ready=valkey.answers))
    from redis.asyncio import Redis

    async with Redis.from_url(valkey.url) as client:
        await client.set("kept", "1")
        assert (await client.config_get("maxmemory-policy"))["maxmemory-policy"] == "noeviction"
    os.kill(group.pids["valkey"], signal.SIGKILL)
    await eventually(lambda: "valkey" not in group.pids)
    await eventually(valkey.answers)
    async with Redis.from_url(valkey.url) as client:
        assert await client.get("kept") == b"1"


async def test_a_server_left_over_is_ended_before_the_next_start(group: Supervisor, tmp_path: Path) -> None:
    valkey = EmbeddedValkey(tmp_path)
    left_over = await asyncio.create_subprocess_exec(*await valkey.prepare())
    await eventually(valkey.answers)
    await valkey.prepare()
    await left_over.wait()
    assert not await valkey.answers()


async def test_a_deep_folder_still_gets_a_socket_that_fits(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    assert len(str(EmbeddedValkey(deep).socket)) < 100
    assert EmbeddedValkey(deep).socket == EmbeddedValkey(deep).socket


def test_a_data_folder_belongs_to_one_at_a_time(tmp_path: Path) -> None:
    first, second = DataFolder(tmp_path), DataFolder(tmp_path)
    with first.locked(), pytest.raises(EmbeddedError, match="name another --data-dir"), second.locked():
        pass
    with second.locked():
        pass


def test_the_key_is_made_once_and_kept_for_the_owner_only(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path)
    assert folder.read_key() == ""
    key = folder.key()
    assert key.startswith("sgk_")
    assert len(key) >= 36
    assert DataFolder(tmp_path).key() == key
    assert folder.key_file.stat().st_mode & 0o777 == 0o600


def test_what_is_not_set_is_taken_from_the_data_folder(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path)
    folder.key()
    settings = with_embedded(Settings(data_dir=str(tmp_path), redis_url="redis://elsewhere/1"))
    assert settings.redis_url == settings.saq_redis_url == "redis://elsewhere/1"
    assert settings.database_url == f"sqlite+aiosqlite:///{tmp_path / 'scaiqueue.db'}"
    assert settings.api_key == folder.read_key()
    assert load_settings(to_environment(settings)) == settings
