"""Decisions of reviewers: held against the message's spec, then one script call; of two one wins."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scaiqueue.errors import Code, Detail, QueueError
from scaiqueue.persister.watermarks import Watermarks
from scaiqueue.queueing import metrics, refusals
from scaiqueue.queueing.directory import ScopeEntry
from scaiqueue.queueing.reading import MessageReader
from scaiqueue.records import State
from scaiqueue.review.decision import decision_faults, response
from scaiqueue.review.spec import stored_spec
from scaiqueue.scripts import binding
from scaiqueue.scripts.binding import DecideItem
from scaiqueue.scripts.runner import ScriptRunner


class Reviews:
    """Answers when the rows hold the decision."""

    def __init__(
        self,
        runner: ScriptRunner,
        watermarks: Watermarks,
        reader: MessageReader,
        commit_timeout_s: float,
        max_response_bytes: int,
    ) -> None:
        self._runner = runner
        self._watermarks = watermarks
        self._reader = reader
        self._commit_timeout_s = commit_timeout_s
        self._max_response_bytes = max_response_bytes

    async def decide(
        self,
        scope: ScopeEntry,
        message_id: str,
        *,
        decision: str,
        fields: Mapping[str, Any],
        note: str | None,
        reviewer: str,
        actor: str,
        version: str | None,
    ) -> bytes:
        """The response that completes the message; `version`: only what the reviewer saw is decided.

        Raises SCAIQUEUE_MESSAGE_NOT_FOUND, SCAIQUEUE_HITL_INVALID_DECISION, and SCAIQUEUE_INVALID_STATE where
        it awaits no decision, or no longer.
        """
        record, header = await self._reader.head(scope, message_id)
        if record.state != State.awaiting_review:
            raise self._late(State(record.state).name)
        spec = stored_spec(header.hitl_spec)
        wrong = [] if spec is None else decision_faults(spec, decision, fields, note)
        if wrong:
            metrics.reviews_decided_total.labels("refused").inc()
            raise QueueError(Code.SCAIQUEUE_HITL_INVALID_DECISION, details=tuple(wrong))
        said = response(decision, fields, note, reviewer)
        if len(said) > self._max_response_bytes:
            raise QueueError(Code.SCAIQUEUE_MESSAGE_TOO_LARGE, "The decision is larger than a body may be.")
        item = DecideItem(message_id, version or str(record.version), actor, said)
        reply = await binding.decide(self._runner, scope.keys, [item])
        await self._settled(scope, message_id, reply.items[0])
        metrics.reviews_decided_total.labels("made").inc()
        metrics.count(scope.row.tenant_id, scope.row.slug, "decide", 1)
        seen = reply.entry is None or await self._watermarks.wait(
            scope.keys.shard.number, reply.entry, self._commit_timeout_s
        )
        if not seen:
            raise refusals.unavailable("The rows' commit was not seen in time.")
        return said

    async def _settled(self, scope: ScopeEntry, message_id: str, reply: list[Any]) -> None:
        """Raises what the script's refusal means."""
        match reply[0]:
            case "OK":
                return
            case "CONFLICT":
                current = reply[1].decode()
                raise self._late("awaiting_review", Detail("version", f"It is {current} now: read it again"))
            case "INVALID_STATE":
                raise self._late(reply[1].decode())
        record, _ = await self._reader.head(scope, message_id)
        raise self._late(State(record.state).name)

    @staticmethod
    def _late(state: str, *details: Detail) -> QueueError:
        metrics.reviews_decided_total.labels("late").inc()
        return QueueError(
            Code.SCAIQUEUE_INVALID_STATE,
            "The message has changed since it was read." if details else f"The message is {state}.",
            details=(Detail("state", state), *details),
        )
