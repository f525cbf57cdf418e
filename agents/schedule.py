"""All agents, in one place."""

from __future__ import annotations

from .agent import Agent
from .audit_keeper import keep_audit
from .consistency_checker import check_consistency
from .dead_letter_monitor import watch_dead_letters
from .event_pruner import prune_old_events
from .expiry_enforcer import enforce_expiry
from .idempotency_pruner import prune_idempotency_keys
from .message_archiver import archive_messages
from .priority_aging_worker import age_priorities
from .retention_enforcer import enforce_retention
from .stream_keeper import keep_streams
from .subscription_monitor import watch_subscriptions
from .visibility_timeout_enforcer import enforce_visibility_timeouts

AGENTS: tuple[Agent, ...] = (
    Agent(
        "visibility_timeout_enforcer",
        every_s=1,
        bound_s=0.8,
        purpose="Takes back what is due: lost leases, delays that are over, expiries.",
        run=enforce_visibility_timeouts,
    ),
    Agent(
        "expiry_enforcer",
        every_s=60,
        bound_s=30,
        purpose="The same sweep with room for mass expiries that the short bound leaves over.",
        run=enforce_expiry,
    ),
    Agent(
        "message_archiver",
        every_s=300,
        bound_s=120,
        purpose="Moves terminal rows that are old enough into the archive table.",
        run=archive_messages,
    ),
    Agent(
        "dead_letter_monitor",
        every_s=60,
        bound_s=20,
        purpose="Warns when a dead-letter queue has grown since its last look.",
        run=watch_dead_letters,
    ),
    Agent(
        "subscription_monitor",
        every_s=60,
        bound_s=20,
        purpose="Measures how far each subscription of a broadcast queue is behind.",
        run=watch_subscriptions,
    ),
    Agent(
        "priority_aging_worker",
        every_s=300,
        bound_s=120,
        purpose="Raises messages that wait long in queues with aging, so that none starves.",
        run=age_priorities,
    ),
    Agent(
        "retention_enforcer",
        every_s=300,
        bound_s=60,
        purpose="Deletes terminal messages that their queue keeps no longer.",
        run=enforce_retention,
    ),
    Agent(
        "idempotency_pruner",
        every_s=300,
        bound_s=60,
        purpose="Deletes rows of idempotency keys whose window is over.",
        run=prune_idempotency_keys,
    ),
    Agent(
        "event_pruner",
        every_s=300,
        bound_s=60,
        purpose="Deletes events that are older than they are kept.",
        run=prune_old_events,
    ),
    Agent(
        "stream_keeper",
        every_s=5,
        bound_s=4,
        purpose="Aborts streams that nobody writes to, and deletes those that ended long enough ago.",
        run=keep_streams,
    ),
    Agent(
        "consistency_checker",
        every_s=300,
        bound_s=60,
        purpose="Compares index and rows, notes what differs and puts right what is safe.",
        run=check_consistency,
    ),
    Agent(
        "audit_keeper",
        every_s=300,
        bound_s=120,
        purpose="Verifies the audit's newest rows, writes a checkpoint, deletes what is too old.",
        run=keep_audit,
    ),
)

_by_name = {agent.name: agent for agent in AGENTS}


def find_agent(name: str) -> Agent:
    """Raises LookupError for an unknown name."""
    try:
        return _by_name[name]
    except KeyError:
        raise LookupError(f"no agent is called {name}") from None
