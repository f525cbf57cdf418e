"""The installation itself: its agents and its scripts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from scaiqueue import moments
from scaiqueue.api.answers import Rendered
from scaiqueue.api.endpoint import Call, Registry
from scaiqueue.errors import Code, QueueError
from scaiqueue.rows.system_agents import list_agents
from scaiqueue.scripts.bundle import load_bundle
from scaiqueue.scripts.contract import COMMON, Argument, KeyGroup

system = Registry("System")


class SystemAgent(msgspec.Struct, kw_only=True):
    """Times are null for an agent that has not run yet."""

    name: str
    schedule: str
    last_run_at: str | None
    last_duration_ms: int
    last_result: Any
    runs: int
    errors: int
    next_run_at: str | None


class AgentRun(msgspec.Struct):
    """`queued` is false where a run asked for by hand is waiting already."""

    name: str
    queued: bool


class ScriptArgument(msgspec.Struct):
    name: str
    kind: str
    optional: bool
    meaning: str


class Script(msgspec.Struct, kw_only=True):
    """For direct callers: `EVALSHA sha1` with KEYS and ARGV as told."""

    name: str
    sha1: str
    summary: str
    keys: list[str]
    arguments: list[ScriptArgument]
    item_arguments: list[ScriptArgument]
    replies: list[str]


@system("GET /system-agents", "List the system agents with their last runs", answer=SystemAgent, many=True)
async def list_system_agents(call: Call) -> Rendered:
    found = await list_agents(call.services.engine)
    return call.many(
        [
            SystemAgent(
                name=row["name"],
                schedule=row["schedule"],
                last_run_at=moments.optional_text(row["last_run_at"]),
                last_duration_ms=row["last_duration_ms"],
                last_result=msgspec.Raw(row["last_result"].encode()),
                runs=row["runs"],
                errors=row["errors"],
                next_run_at=moments.optional_text(row["next_run_at"]),
            )
            for row in found
        ]
    )


@system(
    "POST /system-agents/{agent}/run",
    "Run a system agent now",
    answer=AgentRun,
    status=202,
    errors=(Code.SCAIQUEUE_AGENT_NOT_FOUND,),
)
async def run_system_agent(call: Call) -> Rendered:
    """A worker takes the run up; without a worker it waits for one."""
    name = call.path("agent")
    try:
        queued = await call.services.run_agent(name)
    except LookupError:
        raise QueueError(Code.SCAIQUEUE_AGENT_NOT_FOUND) from None
    return call.one(AgentRun(name, queued), 202)


def _key_names(group: KeyGroup) -> list[str]:
    owner = f"every {group.owner}" if group.repeated else group.owner
    return [f"{owner}: {name}" for name in group.names]


def _arguments(arguments: Sequence[Argument]) -> list[ScriptArgument]:
    return [
        ScriptArgument(
            argument.name,
            argument.kind + (f"({', '.join(argument.limits)})" if argument.limits else ""),
            argument.optional,
            argument.text,
        )
        for argument in arguments
    ]


@system("GET /scripts", "List the scripts for direct callers", answer=Script, many=True)
async def list_scripts(call: Call) -> Rendered:
    """SHA-1, keys and arguments of each, in the order of ARGV: arguments, then the items, one by one."""
    return call.many(
        [
            Script(
                name=script.name,
                sha1=script.sha1,
                summary=script.contract.summary,
                keys=[name for group in script.contract.keys for name in _key_names(group)],
                arguments=_arguments([*COMMON, *script.contract.arguments]),
                item_arguments=_arguments(script.contract.items),
                replies=[f"{reply.word} {reply.text}".strip() for reply in script.contract.replies],
            )
            for script in load_bundle().values()
        ]
    )
