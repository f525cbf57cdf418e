"""One typed function per script. Generated from the contracts by `make generate`."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

from msgspec import Struct

from scaiqueue.keys import QueueKeys, ScopeKeys, Shard, StreamKeys
from scaiqueue.scripts.replies import Reply, parse_reply
from scaiqueue.scripts.runner import Arg, Call, ScriptRunner


def age_call(
    scope: ScopeKeys, queue: QueueKeys, limit: Arg, cursor: Arg, *, epoch: Arg = "", now: Arg = ""
) -> Call:
    """The call of `age` for a pipeline."""
    keys = [
        scope.shard.epoch,
        scope.shard.journal,
        scope.key("meta"),
        scope.key("state"),
        *(queue.key(name) for name in ("meta", "pending")),
    ]
    return "age", keys, [epoch, now, limit, cursor]


async def age(
    runner: ScriptRunner,
    scope: ScopeKeys,
    queue: QueueKeys,
    limit: Arg,
    cursor: Arg,
    *,
    epoch: Arg = "",
    now: Arg = "",
) -> Reply:
    """Raise what has waited long in a priority queue, by the queue's aging setting. It looks at the oldest of each rank, so a queue without old messages costs a few reads, however long it is."""
    return parse_reply(await runner.run(*age_call(scope, queue, limit, cursor, epoch=epoch, now=now)))


class BackfillItem(NamedTuple):
    """One item of `backfill`; "" is an absent value."""

    id: Arg
    """uuid: the message."""
    record: Arg
    """bytes: its state record."""
    envelope: Arg
    """bytes: header, newline, body."""
    overlay: Arg = ""
    """bytes: what rules changed."""


def backfill_call(
    scope: ScopeKeys,
    queue: QueueKeys,
    subscription: Arg,
    actor: Arg,
    items: Sequence[BackfillItem],
    *,
    epoch: Arg = "",
    now: Arg = "",
) -> Call:
    """The call of `backfill` for a pipeline."""
    keys = [
        scope.shard.epoch,
        scope.shard.journal,
        scope.shard.due,
        scope.shard.limits,
        scope.key("meta"),
        scope.key("state"),
        *(queue.key(name) for name in ("meta", "pending", "scheduled", "expiry", "review")),
    ]
    return "backfill", keys, [epoch, now, subscription, actor, *chain.from_iterable(items)]


async def backfill(
    runner: ScriptRunner,
    scope: ScopeKeys,
    queue: QueueKeys,
    subscription: Arg,
    actor: Arg,
    items: Sequence[BackfillItem],
    *,
    epoch: Arg = "",
    now: Arg = "",
) -> Reply:
    """Copies, for one subscription, of messages that were published before it was there. Called by the API alone, with what the rows hold of them."""
    return parse_reply(
        await runner.run(*backfill_call(scope, queue, subscription, actor, items, epoch=epoch, now=now))
    )


class CancelItem(NamedTuple):
    """One item of `cancel`; "" is an absent value."""

    id: Arg
    """uuid: the message."""
    actor: Arg
    """text(320): who asks."""


def cancel_call(scope: ScopeKeys, items: Sequence[CancelItem], *, epoch: Arg = "", now: Arg = "") -> Call:
    """The call of `cancel` for a pipeline."""
    keys = [scope.shard.epoch, scope.shard.journal, scope.shard.due, scope.key("meta"), scope.key("state")]
    return "cancel", keys, [epoch, now, *chain.from_iterable(items)]


async def cancel(
    runner: ScriptRunner, scope: ScopeKeys, items: Sequence[CancelItem], *, epoch: Arg = "", now: Arg = ""
) -> Reply:
    """Take back messages nobody works on; the holder of a claimed one hears of it at its next extend."""
    return parse_reply(await runner.run(*cancel_call(scope, items, epoch=epoch, now=now)))


class ClaimItem(NamedTuple):
    """One item of `claim`; "" is an absent value."""

    holder: Arg
    """text(320): who claims: principal, or principal/consumer."""
    want: Arg
    """int(1, 1000): messages at most."""
    visibility_ms: Arg = ""
    """int(1, 43200000): length of the lease; empty: the queue's."""
    claim: Arg = ""
    """index: the request's claim key in KEYS: the same key within the lease returns the same leases."""


def claim_call(
    scope: ScopeKeys,
    queues: Sequence[QueueKeys],
    claim_keys: Sequence[str],
    strategy: Arg,
    items: Sequence[ClaimItem],
    *,
    epoch: Arg = "",
    now: Arg = "",
) -> Call:
    """The call of `claim` for a pipeline."""
    keys = [
        scope.shard.epoch,
        scope.shard.journal,
        scope.shard.due,
        scope.key("meta"),
        scope.key("state"),
        scope.key("body"),
        scope.key("overlay"),
        scope.key("outcome"),
        *(
            queue.key(name)
            for queue in queues
            for name in ("meta", "pending", "scheduled", "claimed", "expiry", "review")
        ),
        *claim_keys,
    ]
    return "claim", keys, [epoch, now, len(queues), strategy, *chain.from_iterable(items)]


async def claim(
    runner: ScriptRunner,
    scope: ScopeKeys,
    queues: Sequence[QueueKeys],
    claim_keys: Sequence[str],
    strategy: Arg,
    items: Sequence[ClaimItem],
    *,
    epoch: Arg = "",
    now: Arg = "",
) -> Reply:
    """Lease the next messages of one or more queues. What is overdue in them returns first."""
    return parse_reply(
        await runner.run(*claim_call(scope, queues, claim_keys, strategy, items, epoch=epoch, now=now))
    )


class CompleteItem(NamedTuple):
    """One item of `complete`; "" is an absent value."""

    id: Arg
    """uuid: the message."""
    token: Arg
    """text(40): the claim token; empty: the caller must be the current holder."""
    holder: Arg
    """text(320): who asks: principal, or principal/consumer."""
    response: Arg = ""
    """bytes: what the consumer answers, as JSON text."""


def complete_call(scope: ScopeKeys, items: Sequence[CompleteItem], *, epoch: Arg = "", now: Arg = "") -> Call:
    """The call of `complete` for a pipeline."""
    keys = [
        scope.shard.epoch,
        scope.shard.journal,
        scope.shard.due,
        scope.key("meta"),
        scope.key("state"),
        scope.key("outcome"),
    ]
    return "complete", keys, [epoch, now, *chain.from_iterable(items)]


async def complete(
    runner: ScriptRunner, scope: ScopeKeys, items: Sequence[CompleteItem], *, epoch: Arg = "", now: Arg = ""
) -> Reply:
    """End claimed messages with success."""
    return parse_reply(await runner.run(*complete_call(scope, items, epoch=epoch, now=now)))


class ConfigureItem(NamedTuple):
    """One item of `configure`; "" is an absent value."""

    field: Arg
    """word(state, ordering, mode, max_depth, overflow, max_retries, visibility_ms, backoff, require_token, aging, access): the setting."""
    value: Arg = ""
    """text(200): empty: the default; for state also "removed", which takes an empty queue away."""


def configure_call(
    scope: ScopeKeys,
    queues: Sequence[QueueKeys],
    version: Arg,
    items: Sequence[ConfigureItem],
    *,
    epoch: Arg = "",
    now: Arg = "",
) -> Call:
    """The call of `configure` for a pipeline."""
    keys = [
        scope.shard.epoch,
        scope.shard.due,
        scope.key("meta"),
        *(
            queue.key(name)
            for queue in queues
            for name in ("meta", "pending", "scheduled", "claimed", "expiry", "review")
        ),
    ]
    return "configure", keys, [epoch, now, len(queues), version, *chain.from_iterable(items)]


async def configure(
    runner: ScriptRunner,
    scope: ScopeKeys,
    queues: Sequence[QueueKeys],
    version: Arg,
    items: Sequence[ConfigureItem],
    *,
    epoch: Arg = "",
    now: Arg = "",
) -> Reply:
    """Settings that the scripts obey, for a scope or one of its queues. The rows hold them first."""
    return parse_reply(await runner.run(*configure_call(scope, queues, version, items, epoch=epoch, now=now)))


class DecideItem(NamedTuple):
    """One item of `decide`; "" is an absent value."""

    id: Arg
    """uuid: the message."""
    version: Arg
    """text(40): the version that the reviewer saw, "epoch-n"."""
    actor: Arg
    """text(320): the reviewer."""
    response: Arg
    """bytes: the decision, as JSON text."""


def decide_call(scope: ScopeKeys, items: Sequence[DecideItem], *, epoch: Arg = "", now: Arg = "") -> Call:
    """The call of `decide` for a pipeline."""
    keys = [
        scope.shard.epoch,
        scope.shard.journal,
        scope.shard.due,
        scope.key("meta"),
        scope.key("state"),
        scope.key("outcome"),
    ]
    return "decide", keys, [epoch, now, *chain.from_iterable(items)]


async def decide(
    runner: ScriptRunner, scope: ScopeKeys, items: Sequence[DecideItem], *, epoch: Arg = "", now: Arg = ""
) -> Reply:
    """Complete messages that await a human, with the reviewer's decision; of two reviewers one wins."""
    return parse_reply(await runner.run(*decide_call(scope, items, epoch=epoch, now=now)))


def end_stream_call(
    scope: ScopeKeys,
    stream: StreamKeys,
    verb: Arg,
    actor: Arg,
    detail: Arg,
    *,
    epoch: Arg = "",
    now: Arg = "",
) -> Call:
    """The call of `end_stream` for a pipeline."""
    keys = [
        scope.shard.epoch,
        scope.shard.journal,
        scope.shard.limits,
        scope.shard.open_streams,
        scope.shard.closed_streams,
        scope.shard.ended_streams,
        scope.key("meta"),
        stream.key("meta"),
        stream.key("chunks"),
    ]
    return "end_stream", keys, [epoch, now, verb, actor, detail]


async def end_stream(
    runner: ScriptRunner,
    scope: ScopeKeys,
    stream: StreamKeys,
    verb: Arg,
    actor: Arg,
    detail: Arg,
    *,
    epoch: Arg = "",
    now: Arg = "",
) -> Reply:
    """End an open stream, note what became of a closed one, or drop an ended one that the rows hold."""
    return parse_reply(
        await runner.run(*end_stream_call(scope, stream, verb, actor, detail, epoch=epoch, now=now))
    )


class EraseItem(NamedTuple):
    """One item of `erase`; "" is an absent value."""

    id: Arg
    """uuid: the message."""
    envelope: Arg = ""
    """bytes: header, newline, body: what stands for it from now on, and for all that share its envelope; empty: an item before it, which shares it, has said so."""
    outcome: Arg = ""
    """bytes: response and failure reason, msgpack, likewise; empty: none."""
    alone: Arg = ""
    """int(0, 1): 1: from now on it shares its envelope with no other."""


def erase_call(
    scope: ScopeKeys, stay: Arg, actor: Arg, items: Sequence[EraseItem], *, epoch: Arg = "", now: Arg = ""
) -> Call:
    """The call of `erase` for a pipeline."""
    keys = [
        scope.shard.epoch,
        scope.shard.journal,
        scope.shard.due,
        scope.key("meta"),
        scope.key("state"),
        scope.key("body"),
        scope.key("overlay"),
        scope.key("outcome"),
    ]
    return "erase", keys, [epoch, now, stay, actor, *chain.from_iterable(items)]


async def erase(
    runner: ScriptRunner,
    scope: ScopeKeys,
    stay: Arg,
    actor: Arg,
    items: Sequence[EraseItem],
    *,
    epoch: Arg = "",
    now: Arg = "",
) -> Reply:
    """Put something else in the place of what messages hold. What waits or is claimed ends as cancelled, and its holder's token counts no more; or it stays as it is, with the new content."""
    return parse_reply(await runner.run(*erase_call(scope, stay, actor, items, epoch=epoch, now=now)))


class EvaluateItem(NamedTuple):
    """One item of `evaluate`; "" is an absent value."""

    id: Arg
    """uuid: the message."""
    envelope: Arg
    """bytes: header, newline, body; empty: those of the stored message."""
    overlay: Arg
    """bytes: what rules have changed of it."""
    rank: Arg
    """int(0, 5000): tier * 1000 + score."""
    attempts: Arg
    """int(0, 65535): how often it has been claimed."""
    values: Arg = ""
    """text(16384): what rules ask of the body, as with publish."""


def evaluate_call(
    scope: ScopeKeys,
    queue: QueueKeys,
    trigger: Arg,
    items: Sequence[EvaluateItem],
    *,
    epoch: Arg = "",
    now: Arg = "",
) -> Call:
    """The call of `evaluate` for a pipeline."""
    keys = [
        scope.shard.epoch,
        scope.key("meta"),
        scope.key("rules"),
        scope.key("body"),
        *(queue.key(name) for name in ("meta", "pending", "scheduled")),
    ]
    return "evaluate", keys, [epoch, now, trigger, *chain.from_iterable(items)]


async def evaluate(
    runner: ScriptRunner,
    scope: ScopeKeys,
    queue: QueueKeys,
    trigger: Arg,
    items: Sequence[EvaluateItem],
    *,
    epoch: Arg = "",
    now: Arg = "",
) -> Reply:
    """What a scope's routing rules would make of messages that come one after the other. Nothing is written."""
    return parse_reply(await runner.run(*evaluate_call(scope, queue, trigger, items, epoch=epoch, now=now)))


class ExtendItem(NamedTuple):
    """One item of `extend`; "" is an absent value."""

    id: Arg
    """uuid: the message."""
    token: Arg
    """text(40): the claim token; empty: the caller must be the current holder."""
    holder: Arg
    """text(320): who asks."""
    visibility_ms: Arg = ""
    """int(1, 43200000): the new length; empty: the queue's."""


def extend_call(scope: ScopeKeys, items: Sequence[ExtendItem], *, epoch: Arg = "", now: Arg = "") -> Call:
    """The call of `extend` for a pipeline."""
    keys = [scope.shard.epoch, scope.shard.journal, scope.shard.due, scope.key("meta"), scope.key("state")]
    return "extend", keys, [epoch, now, *chain.from_iterable(items)]


async def extend(
    runner: ScriptRunner, scope: ScopeKeys, items: Sequence[ExtendItem], *, epoch: Arg = "", now: Arg = ""
) -> Reply:
    """Lengthen leases, counted from now; the heartbeat of a consumer."""
    return parse_reply(await runner.run(*extend_call(scope, items, epoch=epoch, now=now)))


class FailItem(NamedTuple):
    """One item of `fail`; "" is an absent value."""

    id: Arg
    """uuid: the message."""
    token: Arg
    """text(40): the claim token; empty: the caller must be the current holder."""
    holder: Arg
    """text(320): who asks."""
    reason: Arg = ""
    """text(4096): why, for people."""
    retryable: Arg = ""
    """int(0, 1): 0: no further attempt."""
    retry_after_ms: Arg = ""
    """int(0, 31622400000): instead of the queue's backoff."""


def fail_call(scope: ScopeKeys, items: Sequence[FailItem], *, epoch: Arg = "", now: Arg = "") -> Call:
    """The call of `fail` for a pipeline."""
    keys = [
        scope.shard.epoch,
        scope.shard.journal,
        scope.shard.due,
        scope.key("meta"),
        scope.key("state"),
        scope.key("outcome"),
    ]
    return "fail", keys, [epoch, now, *chain.from_iterable(items)]


async def fail(
    runner: ScriptRunner, scope: ScopeKeys, items: Sequence[FailItem], *, epoch: Arg = "", now: Arg = ""
) -> Reply:
    """Give up on claimed messages; each is tried again after a backoff, or goes to the dead letter."""
    return parse_reply(await runner.run(*fail_call(scope, items, epoch=epoch, now=now)))


class ForgetItem(NamedTuple):
    """One item of `forget`; "" is an absent value."""

    id: Arg
    """uuid: the message."""
    version: Arg
    """text(40): the committed version, "epoch-n"."""


def forget_call(
    scope: ScopeKeys, persisted: Arg, items: Sequence[ForgetItem], *, epoch: Arg = "", now: Arg = ""
) -> Call:
    """The call of `forget` for a pipeline."""
    keys = [
        scope.shard.epoch,
        scope.shard.limits,
        scope.key("meta"),
        scope.key("state"),
        scope.key("body"),
        scope.key("overlay"),
        scope.key("outcome"),
    ]
    return "forget", keys, [epoch, now, persisted, *chain.from_iterable(items)]


async def forget(
    runner: ScriptRunner,
    scope: ScopeKeys,
    persisted: Arg,
    items: Sequence[ForgetItem],
    *,
    epoch: Arg = "",
    now: Arg = "",
) -> Reply:
    """Drop terminal messages whose last version the rows hold."""
    return parse_reply(await runner.run(*forget_call(scope, persisted, items, epoch=epoch, now=now)))


class InstructItem(NamedTuple):
    """One item of `instruct`; "" is an absent value."""

    rule: Arg
    """uuid: a rule whose breaker closes."""


def instruct_call(
    scope: ScopeKeys,
    version: Arg,
    index: Arg,
    program: Arg,
    items: Sequence[InstructItem],
    *,
    epoch: Arg = "",
    now: Arg = "",
) -> Call:
    """The call of `instruct` for a pipeline."""
    keys = [scope.shard.epoch, scope.key("meta"), scope.key("rules")]
    return "instruct", keys, [epoch, now, version, index, program, *chain.from_iterable(items)]


async def instruct(
    runner: ScriptRunner,
    scope: ScopeKeys,
    version: Arg,
    index: Arg,
    program: Arg,
    items: Sequence[InstructItem],
    *,
    epoch: Arg = "",
    now: Arg = "",
) -> Reply:
    """The routing rules of a scope, compiled, for the scripts to obey. The rows hold them first."""
    return parse_reply(
        await runner.run(*instruct_call(scope, version, index, program, items, epoch=epoch, now=now))
    )


class PublishItem(NamedTuple):
    """One item of `publish`; "" is an absent value."""

    id: Arg
    """uuid: made by the caller, version 7."""
    envelope: Arg
    """envelope(16384, checked): the header, a JSON object on one line; a newline; the body's bytes, untouched, at most the shard's max_body."""
    options: Arg = ""
    """options: what else is said of the message, a JSON object; empty: nothing."""


class PublishOptions(Struct, omit_defaults=True):
    """What an item of `publish` may say besides, encoded as JSON."""

    queue: int | None = None
    """index(queues): which of the declared queues; absent: the first."""
    rank: int | None = None
    """int(0, 5000): tier * 1000 + score; absent: 2500, normal."""
    delay_ms: int | None = None
    """int(0, 31622400000): how long it stays out of reach."""
    ttl_ms: int | None = None
    """int(1, 31622400000): it expires unclaimed after so long."""
    deadline: int | None = None
    """int(1, 4102444800000): ms since 1970: order of deadline queues, and expiry."""
    max_retries: int | None = None
    """int(0, 100): instead of the queue's."""
    review_ms: int | None = None
    """int(1, 31622400000): it awaits a human decision, at most so long; then `hitl_spec.on_timeout` of the header holds."""
    idem: int | None = None
    """index: its idempotency key in KEYS."""
    digest: str | None = None
    """text(64): of what the caller sent: the same key with another digest is a conflict."""
    idem_ms: int | None = None
    """int(1, 2678400000): how long the idempotency key is remembered; absent: a day."""
    actor: str | None = None
    """text(320): instead of the call's."""
    values: str | None = None
    """text(16384): what rules ask of the body: a JSON object of path and value; absent: the script reads the body."""


def publish_call(
    scope: ScopeKeys,
    queues: Sequence[QueueKeys],
    idem_keys: Sequence[str],
    actor: Arg,
    checked: Arg,
    items: Sequence[PublishItem],
    *,
    epoch: Arg = "",
    now: Arg = "",
) -> Call:
    """The call of `publish` for a pipeline."""
    keys = [
        scope.shard.epoch,
        scope.shard.journal,
        scope.shard.due,
        scope.shard.limits,
        scope.key("meta"),
        scope.key("state"),
        scope.key("body"),
        *(
            queue.key(name)
            for queue in queues
            for name in ("meta", "pending", "scheduled", "expiry", "review")
        ),
        *idem_keys,
    ]
    return "publish", keys, [epoch, now, len(queues), actor, checked, *chain.from_iterable(items)]


async def publish(
    runner: ScriptRunner,
    scope: ScopeKeys,
    queues: Sequence[QueueKeys],
    idem_keys: Sequence[str],
    actor: Arg,
    checked: Arg,
    items: Sequence[PublishItem],
    *,
    epoch: Arg = "",
    now: Arg = "",
) -> Reply:
    """Store new messages and index them in their queues."""
    return parse_reply(
        await runner.run(*publish_call(scope, queues, idem_keys, actor, checked, items, epoch=epoch, now=now))
    )


def purge_call(
    scope: ScopeKeys, queue: QueueKeys, limit: Arg, actor: Arg, *, epoch: Arg = "", now: Arg = ""
) -> Call:
    """The call of `purge` for a pipeline."""
    keys = [
        scope.shard.epoch,
        scope.shard.journal,
        scope.shard.due,
        scope.key("meta"),
        scope.key("state"),
        *(queue.key(name) for name in ("meta", "pending", "scheduled", "expiry", "review")),
    ]
    return "purge", keys, [epoch, now, limit, actor]


async def purge(
    runner: ScriptRunner,
    scope: ScopeKeys,
    queue: QueueKeys,
    limit: Arg,
    actor: Arg,
    *,
    epoch: Arg = "",
    now: Arg = "",
) -> Reply:
    """Cancel what waits in a queue; claimed messages stay."""
    return parse_reply(await runner.run(*purge_call(scope, queue, limit, actor, epoch=epoch, now=now)))


class RedriveItem(NamedTuple):
    """One item of `redrive`; "" is an absent value."""

    id: Arg
    """uuid: the message."""
    actor: Arg
    """text(320): who asks."""
    target: Arg = ""
    """slug: the queue; empty: where the message came from."""


def redrive_call(scope: ScopeKeys, items: Sequence[RedriveItem], *, epoch: Arg = "", now: Arg = "") -> Call:
    """The call of `redrive` for a pipeline."""
    keys = [scope.shard.epoch, scope.shard.journal, scope.shard.due, scope.key("meta"), scope.key("state")]
    return "redrive", keys, [epoch, now, *chain.from_iterable(items)]


async def redrive(
    runner: ScriptRunner, scope: ScopeKeys, items: Sequence[RedriveItem], *, epoch: Arg = "", now: Arg = ""
) -> Reply:
    """Send messages from the dead letter back to work, with their attempts at 0."""
    return parse_reply(await runner.run(*redrive_call(scope, items, epoch=epoch, now=now)))


class ReleaseItem(NamedTuple):
    """One item of `release`; "" is an absent value."""

    id: Arg
    """uuid: the message."""
    token: Arg
    """text(40): the claim token; empty: the caller must be the current holder."""
    holder: Arg
    """text(320): who asks."""
    delay_ms: Arg = ""
    """int(0, 31622400000): how long it stays out of reach."""


def release_call(scope: ScopeKeys, items: Sequence[ReleaseItem], *, epoch: Arg = "", now: Arg = "") -> Call:
    """The call of `release` for a pipeline."""
    keys = [scope.shard.epoch, scope.shard.journal, scope.shard.due, scope.key("meta"), scope.key("state")]
    return "release", keys, [epoch, now, *chain.from_iterable(items)]


async def release(
    runner: ScriptRunner, scope: ScopeKeys, items: Sequence[ReleaseItem], *, epoch: Arg = "", now: Arg = ""
) -> Reply:
    """Return claimed messages untried; the attempt does not count."""
    return parse_reply(await runner.run(*release_call(scope, items, epoch=epoch, now=now)))


class RepairItem(NamedTuple):
    """One item of `repair`; "" is an absent value."""

    id: Arg
    """uuid: the message."""
    found: Arg
    """text(64): what was found, for its history."""
    record: Arg = ""
    """bytes: its row's state record, in case the index has none."""
    envelope: Arg = ""
    """bytes: its row's envelope, in case the index has none."""
    overlay: Arg = ""
    """bytes: what rules changed, likewise."""
    outcome: Arg = ""
    """bytes: response and failure reason, likewise."""
    idem: Arg = ""
    """index: an idempotency key in KEYS: it is forgotten if it names a message that nobody knows."""


def repair_call(
    scope: ScopeKeys,
    queues: Sequence[QueueKeys],
    idem_keys: Sequence[str],
    seq_floor: Arg,
    token_floor: Arg,
    items: Sequence[RepairItem],
    *,
    epoch: Arg = "",
    now: Arg = "",
) -> Call:
    """The call of `repair` for a pipeline."""
    keys = [
        scope.shard.epoch,
        scope.shard.journal,
        scope.shard.due,
        scope.shard.limits,
        scope.key("meta"),
        scope.key("state"),
        scope.key("body"),
        scope.key("overlay"),
        scope.key("outcome"),
        *(
            queue.key(name)
            for queue in queues
            for name in ("meta", "pending", "scheduled", "claimed", "expiry", "review")
        ),
        *idem_keys,
    ]
    return "repair", keys, [epoch, now, len(queues), seq_floor, token_floor, *chain.from_iterable(items)]


async def repair(
    runner: ScriptRunner,
    scope: ScopeKeys,
    queues: Sequence[QueueKeys],
    idem_keys: Sequence[str],
    seq_floor: Arg,
    token_floor: Arg,
    items: Sequence[RepairItem],
    *,
    epoch: Arg = "",
    now: Arg = "",
) -> Reply:
    """Put messages where their records say they belong, and what the index lost of them back from their rows. Everything is decided anew here, so a message that moved meanwhile stays where it is. Called by the consistency checker alone."""
    return parse_reply(
        await runner.run(
            *repair_call(scope, queues, idem_keys, seq_floor, token_floor, items, epoch=epoch, now=now)
        )
    )


class RestoreItem(NamedTuple):
    """One item of `restore`; "" is an absent value."""

    id: Arg
    """uuid: the message."""
    record: Arg
    """bytes: its state record."""
    envelope: Arg
    """bytes: header, newline, body."""
    overlay: Arg = ""
    """bytes: what rules changed."""
    outcome: Arg = ""
    """bytes: response and failure reason, msgpack."""


def restore_call(
    scope: ScopeKeys,
    seq_floor: Arg,
    token_floor: Arg,
    items: Sequence[RestoreItem],
    *,
    epoch: Arg = "",
    now: Arg = "",
) -> Call:
    """The call of `restore` for a pipeline."""
    keys = [
        scope.shard.epoch,
        scope.shard.journal,
        scope.shard.due,
        scope.shard.limits,
        scope.key("meta"),
        scope.key("state"),
        scope.key("body"),
        scope.key("overlay"),
        scope.key("outcome"),
    ]
    return "restore", keys, [epoch, now, seq_floor, token_floor, *chain.from_iterable(items)]


async def restore(
    runner: ScriptRunner,
    scope: ScopeKeys,
    seq_floor: Arg,
    token_floor: Arg,
    items: Sequence[RestoreItem],
    *,
    epoch: Arg = "",
    now: Arg = "",
) -> Reply:
    """Put messages back into the index from their rows. Only while the shard has no epoch; claimed messages come back as pending, with the attempt counted. Called by recovery alone."""
    return parse_reply(
        await runner.run(*restore_call(scope, seq_floor, token_floor, items, epoch=epoch, now=now))
    )


class StreamItem(NamedTuple):
    """One item of `stream`; "" is an absent value."""

    seq: Arg
    """int(0, 9999): the chunk's place, from 0."""
    data: Arg
    """bytes: its content, untouched."""
    final: Arg = ""
    """int(0, 1): 1: there is none after it."""


def stream_call(
    scope: ScopeKeys,
    stream: StreamKeys,
    verb: Arg,
    actor: Arg,
    queue: Arg,
    template: Arg,
    max_bytes: Arg,
    max_chunks: Arg,
    idle_ms: Arg,
    items: Sequence[StreamItem],
    *,
    epoch: Arg = "",
    now: Arg = "",
) -> Call:
    """The call of `stream` for a pipeline."""
    keys = [
        scope.shard.epoch,
        scope.shard.journal,
        scope.shard.limits,
        scope.shard.open_streams,
        scope.shard.closed_streams,
        scope.shard.ended_streams,
        scope.key("meta"),
        stream.key("meta"),
        stream.key("chunks"),
    ]
    return (
        "stream",
        keys,
        [
            epoch,
            now,
            verb,
            actor,
            queue,
            template,
            max_bytes,
            max_chunks,
            idle_ms,
            *chain.from_iterable(items),
        ],
    )


async def stream(
    runner: ScriptRunner,
    scope: ScopeKeys,
    stream: StreamKeys,
    verb: Arg,
    actor: Arg,
    queue: Arg,
    template: Arg,
    max_bytes: Arg,
    max_chunks: Arg,
    idle_ms: Arg,
    items: Sequence[StreamItem],
    *,
    epoch: Arg = "",
    now: Arg = "",
) -> Reply:
    """Open a stream, collect its chunks, which may come twice and out of order, and close it."""
    return parse_reply(
        await runner.run(
            *stream_call(
                scope,
                stream,
                verb,
                actor,
                queue,
                template,
                max_bytes,
                max_chunks,
                idle_ms,
                items,
                epoch=epoch,
                now=now,
            )
        )
    )


def subscribe_call(
    scope: ScopeKeys, queue: QueueKeys, version: Arg, program: Arg, *, epoch: Arg = "", now: Arg = ""
) -> Call:
    """The call of `subscribe` for a pipeline."""
    keys = [scope.shard.epoch, scope.key("meta"), *(queue.key(name) for name in ("meta", "subscriptions"))]
    return "subscribe", keys, [epoch, now, version, program]


async def subscribe(
    runner: ScriptRunner,
    scope: ScopeKeys,
    queue: QueueKeys,
    version: Arg,
    program: Arg,
    *,
    epoch: Arg = "",
    now: Arg = "",
) -> Reply:
    """The subscriptions of a broadcast queue, compiled, for publish to obey. The rows hold them first."""
    return parse_reply(
        await runner.run(*subscribe_call(scope, queue, version, program, epoch=epoch, now=now))
    )


def sweep_call(shard: Shard, limit: Arg, *, epoch: Arg = "", now: Arg = "") -> Call:
    """The call of `sweep` for a pipeline."""
    keys = [shard.epoch, shard.journal, shard.due]
    return "sweep", keys, [epoch, now, limit]


async def sweep(runner: ScriptRunner, shard: Shard, limit: Arg, *, epoch: Arg = "", now: Arg = "") -> Reply:
    """Settle the queue of a shard that is longest overdue: lost leases, expiries, delayed messages, reviews. Scope and queue follow from the due index; their keys carry the shard's tag."""
    return parse_reply(await runner.run(*sweep_call(shard, limit, epoch=epoch, now=now)))
