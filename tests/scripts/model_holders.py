"""The model's claims: handing messages out, and what their holders may do with them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from scaiqueue.records import Flag, State
from tests.scripts.direct import handed_out
from tests.scripts.model_core import ModelCore, Replies
from tests.scripts.model_parts import LIVE, Message, Scope
from tests.scripts.transitions import check_allowed


class Holders(ModelCore):
    """claim, complete, fail, release, extend."""

    def claim(
        self, scope: Scope, slugs: Sequence[str], strategy: str, requests: Sequence[dict[str, Any]],
        answered: Replies,
    ) -> Replies:  # fmt: skip
        """Replies with the ids instead of the messages; what a message must carry is `handed_out`."""
        refusals = {slug: scope.refusal(slug, enters=False) for slug in slugs}
        open_slugs = [slug for slug in slugs if not refusals[slug]]
        for slug in open_slugs:
            self._settle(scope, slug, 100)
        replies: Replies = []
        taken = dict.fromkeys(open_slugs, 0)
        for request, answer in zip(requests, answered, strict=True):
            held = self._held(scope, request["claim"])
            if held:
                replies.append(["OK", *held])
            elif not open_slugs:
                replies.append(refusals[slugs[0]] or [])
            else:
                given = [message.id.decode() for message in handed_out(answer)]
                self._lease(scope, taken, strategy, request, given)
                left = any(scope.waiting(slug) for slug in open_slugs)
                word = "OK" if given else "EMPTY"
                if len(given) < request["want"] and left:
                    word = "MORE"
                replies.append([word, *given])
        self._commit("claim", scope.root)
        return replies

    def _held(self, scope: Scope, key: str) -> list[str]:
        token, ids = scope.claims.get(key, ("", []))
        found = [scope.messages.get(id) for id in ids]
        return [m.id for m in found if m and m.record.state == State.claimed and m.record.token == token]

    def _lease(
        self, scope: Scope, taken: dict[str, int], strategy: str, request: dict[str, Any], given: list[str]
    ) -> None:
        assert len(given) <= request["want"]
        scope.token += bool(given)
        for id in given:
            m = scope.messages[id]
            heads = [waiting[0] for slug in taken if (waiting := scope.waiting(slug))]
            if strategy == "ordered":
                heads = heads[:1]
            elif strategy == "oldest":
                heads = [min(heads, key=lambda m: m.record.seq)]
            else:
                fewest = min(taken[head.record.queue] for head in heads)
                heads = [head for head in heads if taken[head.record.queue] == fewest]
            assert m in heads, f"{id} is handed out, legal were {[head.id for head in heads]}"
            taken[m.record.queue] += 1
            r, before = m.record, m.view
            r.state, r.attempts, r.holder, r.verb = State.claimed, r.attempts + 1, request["holder"], ""
            lease = request["visibility_ms"] or scope.queue(r.queue).number("visibility_ms", 30000)
            r.due_at, r.token = self.now + lease, f"{self.epoch}.{scope.token}"
            check_allowed(before, "claim", m.view)
            self._event(m, "claimed", request["holder"])
        if given and request["claim"]:
            scope.claims[request["claim"]] = (f"{self.epoch}.{scope.token}", given)

    def _holds(self, scope: Scope, item: dict[str, Any], verb: str) -> tuple[Message | None, list[Any]]:
        """The message, if the caller may end or extend its claim; else the reply."""
        m, token = scope.messages.get(item["id"]), item["token"]
        if m is None:
            return None, ["NOT_FOUND"]
        r = m.record
        if r.state == State.claimed:
            loose = not token and r.holder == item["holder"]
            if loose and scope.queue(r.queue).get("require_token", "0") == "0":
                return m, []
            return (m, []) if token and token == r.token else (None, ["CLAIM_LOST"])
        if token and token == r.token and r.verb == verb:
            return None, ["OK", State(r.state).name, r.due_at, r.queue]
        if token and (token != r.token or r.state in LIVE):
            return None, ["CLAIM_LOST"]
        return None, ["INVALID_STATE", State(r.state).name]

    def complete(self, scope: Scope, items: Sequence[dict[str, Any]]) -> Replies:
        replies: Replies = []
        for item in items:
            m, reply = self._holds(scope, item, "complete")
            if m:
                self._end(m, "complete", State.completed)
                m.record.verb = "complete"
                self._event(m, "completed", item["holder"])
                if item["response"]:
                    m.outcome = (item["response"], "")
                    m.record.flags |= Flag.outcome
                reply = ["OK", "completed", 0, m.record.queue]
            replies.append(reply)
        self._commit("complete", scope.root)
        return replies

    def fail(self, scope: Scope, items: Sequence[dict[str, Any]], answered: Replies) -> Replies:
        replies: Replies = []
        for item, answer in zip(items, answered, strict=True):
            m, reply = self._holds(scope, item, "fail")
            if m:
                r = m.record
                waits = scope.queue(r.queue).backoff(r.attempts)
                if item["retry_after_ms"] is not None:
                    waits = range(item["retry_after_ms"], item["retry_after_ms"] + 1)
                r.verb, r.flags, m.outcome = "fail", r.flags | Flag.outcome, (b"", item["reason"])
                drawn = int(answer[2]) if answer[0] == "OK" else 0
                last = item["retryable"] == 0
                self._give_back(
                    scope, m, "fail", "failed", item["holder"], item["reason"], waits, last, drawn
                )
                reply = ["OK", State(r.state).name, r.due_at, r.queue]
            replies.append(reply)
        self._commit("fail", scope.root)
        return replies

    def release(self, scope: Scope, items: Sequence[dict[str, Any]]) -> Replies:
        replies: Replies = []
        for item in items:
            m, reply = self._holds(scope, item, "release")
            if m:
                r, delay = m.record, item["delay_ms"] or 0
                r.verb, r.attempts = "release", r.attempts - 1
                waits = range(delay, delay + 1)
                self._give_back(scope, m, "release", "released", item["holder"], "", waits, False)
                reply = ["OK", State(r.state).name, r.due_at, r.queue]
            replies.append(reply)
        self._commit("release", scope.root)
        return replies

    def extend(self, scope: Scope, items: Sequence[dict[str, Any]]) -> Replies:
        replies: Replies = []
        extended: set[str] = set()
        for item in items:
            m, reply = self._holds(scope, item, "extend")
            if m:
                r = m.record
                lease = item["visibility_ms"] or scope.queue(r.queue).number("visibility_ms", 30000)
                r.due_at = self.now + lease
                check_allowed("claimed", "extend", m.view)
                if m.id not in extended:
                    self._event(m, "extended", item["holder"])
                extended.add(m.id)
                reply = ["OK", r.due_at, int(bool(r.flags & Flag.cancel_requested))]
            replies.append(reply)
        self._commit("extend", scope.root)
        return replies
