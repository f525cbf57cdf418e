"""What `scaiqueue doctor` looks at. Each check answers what it found and, if that is bad, the remedy."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from scaiqueue.cli.findings import Finding
from scaiqueue.cli.installation import other_shards
from scaiqueue.keys import Shard
from scaiqueue.queueing.memory import Memory
from scaiqueue.rows import migrate
from scaiqueue.rows.engine import is_sqlite, open_engine, reading
from scaiqueue.scripts import binding
from scaiqueue.scripts.replies import NotReadyError
from scaiqueue.scripts.runner import ScriptRunner
from scaiqueue.settings import Settings

OLDEST_REDIS = (7, 0)
OLDEST_VALKEY = (7, 2)
OLDEST_MARIADB = (10, 11)
MOST_SKEW_S = 2.0
# A batch of rows travels in one statement, its bytes escaped; the persister takes up to 4 MiB of bodies.
LEAST_PACKET = 16 * 2**20


def _finding(check: str, good: bool, found: str, remedy: str, *, warn: bool = False) -> Finding:
    if good:
        return Finding(check, "ok", found)
    return Finding(check, "warning" if warn else "bad", found, remedy)


def check_key(settings: Settings) -> Iterator[Finding]:
    """The first API key, where one is set."""
    if settings.api_key:
        length = len(settings.api_key.removeprefix("sgk_"))
        yield _finding(
            "first API key",
            length >= 32,
            f"{length} characters",
            "use at least 32 random characters: `scaiqueue keys create` makes one",
            warn=True,
        )


async def check_redis(settings: Settings) -> list[Finding]:
    """Version, eviction, append-only file, clock, scripts."""
    try:
        async with Redis.from_url(settings.redis_url, socket_timeout=10) as redis:
            return await _look_at_redis(redis)
    except (RedisError, OSError) as error:
        remedy = "start the server, or set SCAIQUEUE_REDIS_URL to one that runs"
        return [Finding("redis reachable", "bad", str(error), remedy)]


async def _look_at_redis(redis: Redis) -> list[Finding]:
    info: dict[str, Any] = await redis.info("everything")
    return [
        _redis_version(info),
        *_redis_durability(info),
        _redis_memory(info),
        await _redis_clock(redis),
        await _scripts_run(redis),
    ]


def _redis_version(info: dict[str, Any]) -> Finding:
    name, version, oldest = "Redis", str(info.get("redis_version", "0")), OLDEST_REDIS
    if "valkey_version" in info:
        name, version, oldest = "Valkey", str(info["valkey_version"]), OLDEST_VALKEY
    return _finding(
        "redis version",
        _numbers(version) >= oldest,
        f"{name} {version}",
        "use Redis 7.0 or newer, or Valkey 7.2 or newer",
    )


def _redis_durability(info: dict[str, Any]) -> Iterator[Finding]:
    policy = str(info.get("maxmemory_policy"))
    yield _finding(
        "eviction policy",
        policy == "noeviction",
        policy,
        "any other policy throws messages away: CONFIG SET maxmemory-policy noeviction, and in redis.conf",
    )
    appending = str(info.get("aof_enabled")) == "1"
    yield _finding(
        "append-only file",
        appending,
        "on" if appending else "off",
        "without it a restart loses the index: CONFIG SET appendonly yes, and in redis.conf",
    )
    if appending:
        written = str(info.get("aof_last_write_status", "ok"))
        yield _finding(
            "append-only writes", written == "ok", written, "look at the server's disk and its log"
        )


def _redis_memory(info: dict[str, Any]) -> Finding:
    memory = Memory(int(info["used_memory"]), int(info.get("maxmemory", 0)))
    found = f"{memory.ratio:.0%} of maxmemory" if memory.limit else f"{memory.used} bytes, no limit"
    remedy = "let consumers catch up, or raise maxmemory: at the limit publishes are refused"
    return _finding("redis memory", not memory.alarm, found, remedy, warn=memory.ratio < 1)


async def _redis_clock(redis: Redis) -> Finding:
    before = time.time()
    seconds, micros = await redis.time()
    skew = seconds + micros / 1e6 - (before + time.time()) / 2
    return _clock("redis clock", skew)


def _clock(check: str, skew_s: float) -> Finding:
    return _finding(
        check,
        abs(skew_s) <= MOST_SKEW_S,
        f"{skew_s:+.3f} s from this machine's",
        "let NTP keep the clocks of all machines",
    )


async def _scripts_run(redis: Redis) -> Finding:
    """A call with an epoch that no shard ever has: it runs, and changes nothing."""
    try:
        await binding.sweep(ScriptRunner(redis), Shard(0), 1, epoch=2**53 - 1)
    except NotReadyError:
        return Finding("scripts", "ok", "load and run")
    except RedisError as error:
        return Finding(
            "scripts",
            "bad",
            str(error),
            "the user needs EVALSHA, SCRIPT LOAD and the keys sq:* (see lua/README.md)",
        )
    return Finding("scripts", "ok", "load and run")


async def check_rows(settings: Settings) -> list[Finding]:
    """Version, durability, packet size, clock, migrations."""
    engine = open_engine(settings.database_url, pool_size=1)
    try:
        async with reading(engine) as connection:
            found = [] if is_sqlite(connection) else [one async for one in _look_at_mariadb(connection)]
        found.append(await _migrations(settings.database_url))
        complaint = await other_shards(settings)
        found.append(_finding("shards", not complaint, str(settings.shards), complaint))
        return found
    except (SQLAlchemyError, OSError) as error:
        cause = getattr(error, "orig", None) or error
        return [
            Finding(
                "rows reachable", "bad", str(cause), "start the server, or set SCAIQUEUE_DATABASE_URL right"
            )
        ]
    finally:
        await engine.dispose()


async def _look_at_mariadb(connection: AsyncConnection) -> Any:
    before = time.time()
    query = text(
        "SELECT VERSION(), @@innodb_flush_log_at_trx_commit, @@max_allowed_packet, UNIX_TIMESTAMP(NOW(6))"
    )
    version, flush, packet, now = (await connection.execute(query)).one()
    yield _finding(
        "row store version",
        "mariadb" in version.lower() and _numbers(version) >= OLDEST_MARIADB,
        version,
        "use MariaDB 10.11 or newer",
    )
    yield _finding(
        "row store durability",
        int(flush) == 1,
        f"innodb_flush_log_at_trx_commit = {flush}",
        "a commit must be on disk: SET GLOBAL innodb_flush_log_at_trx_commit = 1, and in my.cnf",
    )
    yield _finding(
        "row store packet",
        int(packet) >= LEAST_PACKET,
        f"max_allowed_packet = {int(packet) // 2**20} MiB",
        "a batch of rows would not fit: set max_allowed_packet = 64M in my.cnf",
    )
    yield _clock("row store clock", float(now) - (before + time.time()) / 2)


async def _migrations(url: str) -> Finding:
    found = await migrate.status(url)
    return _finding(
        "migrations",
        found.up_to_date,
        f"at {found.current or 'nothing'}, newest is {found.head}",
        "run `scaiqueue migrate up`",
    )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:2])
