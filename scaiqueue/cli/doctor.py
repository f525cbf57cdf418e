"""`scaiqueue doctor`: is everything fit to keep messages?"""

from __future__ import annotations

import asyncio

from scaiqueue.cli.checks import check_key, check_redis, check_rows
from scaiqueue.cli.deep_check import check_deeply
from scaiqueue.cli.findings import Finding
from scaiqueue.cli.output import Json, print_json, print_table
from scaiqueue.embedded.data_folder import with_embedded
from scaiqueue.settings import Settings, load_settings


def doctor(*, deep: bool = False, json: Json = False) -> int:
    """Check servers and settings; exit status 0 if all is well, 1 if something is bad.

    Parameters
    ----------
    deep
        Compare index and rows too, message by message. It changes nothing.
    """
    findings = asyncio.run(_examine(with_embedded(load_settings()), deep=deep))
    if json:
        print_json(findings)
    else:
        print_table(["check", "", "found"], [(one.check, one.state, one.found) for one in findings])
        for one in findings:
            if one.remedy:
                print(f"\n{one.check}: {one.remedy}")
    return 1 if any(one.state == "bad" for one in findings) else 0


async def _examine(settings: Settings, *, deep: bool) -> list[Finding]:
    redis, rows = await asyncio.gather(check_redis(settings), check_rows(settings))
    found = [*check_key(settings), *redis, *rows]
    return [*found, *await check_deeply(settings)] if deep else found
