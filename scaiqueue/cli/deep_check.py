"""`scaiqueue doctor --deep`: the consistency checker over everything, at once and without a bound."""

from __future__ import annotations

from collections import Counter

from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from scaiqueue.cli.findings import Finding
from scaiqueue.connection import open_redis
from scaiqueue.integrity.checker import MOST_SUSPECTS, Checker
from scaiqueue.integrity.kinds import Finding as Divergence
from scaiqueue.integrity.kinds import Kind
from scaiqueue.integrity.walk import Cursor
from scaiqueue.rows.engine import open_engine
from scaiqueue.settings import Settings

SHOWN = 3


async def check_deeply(settings: Settings) -> list[Finding]:
    """Index against rows. It changes nothing: that is the agent's."""
    engine = open_engine(settings.database_url, pool_size=1)
    redis = open_redis(settings.redis_url)
    cursor: Cursor | None = Cursor()
    messages, found = 0, list[Divergence]()
    try:
        checker = Checker(redis, engine, shards=settings.shards)
        while cursor is not None and len(found) < MOST_SUSPECTS:
            report = await checker.run(cursor, lambda: False)
            messages, cursor = messages + report.messages, report.after
            found += report.findings
    except (RedisError, SQLAlchemyError, OSError) as error:
        return [Finding("index and rows", "bad", str(error), "both servers must answer for a deep look")]
    finally:
        await redis.aclose()
        await engine.dispose()
    if not found:
        return [Finding("index and rows", "ok", f"agree, {messages} messages looked at")]
    counts = Counter(one.kind for one in found)
    return [_finding(kind, count, found) for kind, count in counts.most_common()]


def _finding(kind: Kind, count: int, found: list[Divergence]) -> Finding:
    shown = [f"{one.scope} {one.queue} {one.subject}: {one.detail}" for one in found if one.kind is kind]
    remedy = (
        "the agent consistency_checker puts it right: `scaiqueue agent run consistency_checker`"
        if kind.repaired
        else "recovery or an operator must look: docs/reference/divergences.md"
    )
    return Finding(kind.name, "bad", f"{count}: {'; '.join(shown[:SHOWN])}", f"{kind.value.means} {remedy}")
