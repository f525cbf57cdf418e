"""More rules: what operators, the persister and accidents do to a shard."""

from __future__ import annotations

from copy import deepcopy

import msgspec
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from scaiqueue.keys import ScopeKeys
from scaiqueue.records import State, encode_record
from scaiqueue.scripts import binding
from scaiqueue.scripts.replies import NotReadyError
from tests.scripts.machine import Machine, lists
from tests.scripts.machine_base import (
    QUEUES,
    SHARD,
    or_empty,
    picks,
    scopes,
    seldom,
    slugs,
)  # fmt: skip
from tests.scripts.model_parts import DEAD_QUEUE, LIVE, Message, Scope
from tests.scripts.shard import dump, run

# fmt: off
SETTINGS = ("state", "ordering", "max_depth", "overflow", "max_retries", "visibility_ms", "backoff",
            "require_token", "aging", "access")
# fmt: on
queue_states = st.sampled_from(["active", "active", "paused", "draining", "archived"])


class Operators(Machine):
    """Operators, the persister, and accidents."""

    @rule(number=scopes, places=lists, actor=st.sampled_from(["op", "ann"]))
    def cancel(self, number: int, places: list[int], actor: str) -> None:
        scope = self.scope(number)
        items = [{"id": self.pick_id(scope, place, *LIVE), "actor": actor} for place in places]
        call = binding.cancel_call(self.keys[number], [binding.CancelItem(**item) for item in items])
        self.agree(call, lambda _: self.model.cancel(scope, items))

    @seldom
    @rule(number=scopes, place=picks)
    def cancel_claimed(self, number: int, place: int) -> None:
        scope = self.scope(number)
        items = [{"id": self.pick_id(scope, place, State.claimed), "actor": "op"}]
        call = binding.cancel_call(self.keys[number], [binding.CancelItem(**items[0])])
        self.agree(call, lambda _: self.model.cancel(scope, items))

    @seldom
    @rule(number=scopes, places=lists, stay=st.booleans())
    def erase(self, number: int, places: list[int], stay: bool) -> None:
        scope, envelope = self.scope(number), b'{"type":"gone"}\nnull'
        ids = [self.pick_id(scope, place, *LIVE) for place in places]
        items = [binding.EraseItem(id, envelope) for id in ids]
        call = binding.erase_call(self.keys[number], int(stay), "op", items)
        self.agree(call, lambda _: self.model.erase(scope, ids, envelope, stay, "op"))

    @rule(number=scopes, places=lists, to=st.sampled_from(["", "", "", "prio", "jobs", "nowhere"]))
    def redrive(self, number: int, places: list[int], to: str) -> None:
        scope = self.scope(number)
        dead = scope.waiting(DEAD_QUEUE)
        ids = [dead[p % len(dead)].id if dead else self.pick_id(scope, p, *LIVE) for p in places]
        items = [{"id": id, "actor": "op", "target": to} for id in ids]
        call = binding.redrive_call(self.keys[number], [binding.RedriveItem(**item) for item in items])
        self.agree(call, lambda _: self.model.redrive(scope, items))

    @rule(number=scopes, places=lists, stale=st.booleans())
    def decide(self, number: int, places: list[int], stale: bool) -> None:
        scope, items = self.scope(number), []
        for place in places:
            m = scope.messages.get(self.pick_id(scope, place, State.awaiting_review))
            version = str(m.record.version) if m and not stale else "1-999999"
            id = m.id if m else self.new_id()
            items.append({"id": id, "version": version, "actor": "rev", "response": b'{"ok":true}'})
        call = binding.decide_call(self.keys[number], [binding.DecideItem(**item) for item in items])
        self.agree(call, lambda _: self.model.decide(scope, items))

    @seldom
    @rule(number=scopes, slug=slugs, limit=st.sampled_from([1, 2, 1000]))
    def purge(self, number: int, slug: str, limit: int) -> None:
        scope, keys = self.scope(number), self.keys[number]
        call = binding.purge_call(keys, keys.queue(slug), limit, "op")
        self.agree(call, lambda _: self.model.purge(scope, slug, limit, "op"))

    @seldom
    @rule(number=scopes, slug=st.sampled_from(["prio", "prio", "small", "jobs"]))
    def age(self, number: int, slug: str) -> None:
        scope, keys = self.scope(number), self.keys[number]
        items = self.call(binding.age_call(keys, keys.queue(slug), 1000, ""))
        assert [[items[0][0], items[0][1]]] == self.model.age(scope, slug)

    @seldom
    @rule(number=scopes, places=lists, stale=st.booleans(), committed=st.booleans())
    def forget(self, number: int, places: list[int], stale: bool, committed: bool) -> None:
        scope, items = self.scope(number), []
        ended = (State.completed, State.expired, State.cancelled)
        for id in dict.fromkeys(self.pick_id(scope, place, *ended) for place in places):
            m = scope.messages.get(id)
            items.append({"id": id, "version": str(m.record.version) if m and not stale else "1-0"})
        persisted = self.model.published if committed else None
        given = [binding.ForgetItem(**item) for item in items]
        call = binding.forget_call(self.keys[number], or_empty(persisted), given)
        self.agree(call, lambda _: self.model.forget(scope, items, persisted))

    @precondition(lambda self: self.closed())
    @rule(place=picks)
    def open_again(self, place: int) -> None:
        keys, slug = self.closed()[place % len(self.closed())]
        if slug:
            self.configure_queue(self.scope_of(keys), slug, {"state": "active"})
        else:
            self.set_scope_state(keys, "active")

    def closed(self) -> list[tuple[ScopeKeys, str]]:
        """Scopes and queues that are not active."""
        found = [(keys, "") for keys in self.keys if self.scope_of(keys).state != "active"]
        for keys in self.keys:
            for slug, queue in self.scope_of(keys).queues.items():
                found += [(keys, slug)] if queue.get("state") != "active" else []
        return found

    @seldom
    @rule(number=scopes, state=st.sampled_from(["active", "active", "paused", "archived"]))
    def change_scope(self, number: int, state: str) -> None:
        self.set_scope_state(self.keys[number], state)

    @seldom
    @rule(
        number=scopes,
        slug=slugs,
        state=st.sampled_from(["active", "active", "paused", "draining", "archived"]),
    )
    def change_queue_state(self, number: int, slug: str, state: str) -> None:
        if self.scope(number).exists(slug):
            self.configure_queue(self.scope(number), slug, {"state": state})

    @seldom
    @rule(
        number=scopes, slug=slugs,
        field=st.sampled_from([
            ("max_depth", "1"), ("max_depth", ""), ("overflow", "dead_letter"), ("overflow", "drop_oldest"),
            ("max_retries", "1"), ("visibility_ms", "50"), ("require_token", "1"), ("aging", "0 300 1000"),
            ("aging", ""), ("access", "readonly"), ("access", ""),
            ("backoff", "exponential 100 2.5 2000 none"),
        ]),
    )  # fmt: skip
    def change_setting(self, number: int, slug: str, field: tuple[str, str]) -> None:
        if slug != DEAD_QUEUE and self.scope(number).exists(slug):
            self.configure_queue(self.scope(number), slug, dict([field]))

    @seldom
    @rule(number=scopes, slug=slugs)
    def configure_from_an_old_version(self, number: int, slug: str) -> None:
        if self.scope(number).exists(slug):
            self.configure_queue(self.scope(number), slug, {"max_depth": "7"}, version=1)

    @seldom
    @rule(number=scopes, slug=st.sampled_from(["strict", "dates"]))
    def remove_or_make_a_queue(self, number: int, slug: str) -> None:
        scope = self.scope(number)
        fields = {"state": "removed"} if scope.exists(slug) else {"state": "active", **QUEUES[slug]}
        self.configure_queue(scope, slug, fields)

    @seldom
    @rule(limit=st.sampled_from([None, 0, 3, 20]))
    def limit_the_backlog(self, limit: int | None) -> None:
        self.model.backlog_limit = limit
        if limit is None:
            self.client.hdel(SHARD.limits, "backlog_limit")
        else:
            self.client.hset(SHARD.limits, "backlog_limit", limit)

    @seldom
    @rule()
    def call_with_another_epoch(self) -> None:
        """Whatever it was, the last call is refused, and nothing changes."""
        name, keys, args = self.last
        if name not in ("configure", "restore"):
            with pytest.raises(NotReadyError):
                run(self.client, (name, keys, [self.model.epoch + 1, *args[1:]]))

    @seldom
    @rule()
    def lose_redis(self) -> None:
        self.client.flushdb()
        self.recover([{} for _ in self.keys])

    @seldom
    @rule()
    def remember(self) -> None:
        """What a restart would find in its append-only file."""
        self.kept = dump(self.client), deepcopy(self.model)

    @precondition(lambda self: hasattr(self, "kept"))
    @seldom
    @rule()
    def lose_redis_tail(self) -> None:
        values, before = self.kept
        self.client.flushdb()
        for key, value in values.items():
            self.client.restore(key, 0, value)
        self.client.delete(SHARD.epoch)
        for keys in self.keys:
            old, scope = before.scopes[keys.root], self.scope_of(keys)
            scope.idem, scope.claims = dict(old.idem), dict(old.claims)
        self.recover([deepcopy(before.scopes[keys.root].messages) for keys in self.keys])
        del self.kept

    def recover(self, indexes: list[dict[str, Message]]) -> None:
        """What recovery does: restore from the rows into what is left, then open a new epoch."""
        model = self.model
        model.begin_epoch()
        self.seen = 0
        counts = {"test_clock": 1, "published": model.published, "persisted": model.persisted}
        self.client.hset(SHARD.limits, mapping=counts)
        self.client.hdel(SHARD.limits, "backlog_limit")
        model.backlog_limit = None
        for keys, index in zip(self.keys, indexes, strict=True):
            scope = self.scope_of(keys)
            if not index:
                scope.idem, scope.claims = {}, {}
            self.configure_again(scope)
            self.restore(scope, index, sorted({**scope.messages, **scope.rows}))
            scope.messages = index
        self.client.set(SHARD.epoch, model.epoch)

    def configure_again(self, scope: Scope) -> None:
        self.set_scope_state(self.scope_keys(scope), scope.state)
        for slug in QUEUES:
            known = ("state", "ordering", "max_depth", "overflow", "max_retries", "visibility_ms", "backoff")
            fields = {
                name: scope.queue(slug).get(name) for name in (*known, "require_token", "aging", "access")
            }
            if scope.exists(slug):
                self.configure_queue(scope, slug, fields)
            else:
                self.client.delete(f"{scope.root}:q:{slug}:meta")

    def restore(self, scope: Scope, index: dict[str, Message], ids: list[str]) -> None:
        items = []
        for id in ids:
            m = scope.messages.get(id) or scope.rows[id]
            outcome = msgspec.msgpack.encode([m.outcome[0].decode(), m.outcome[1]]) if m.outcome else b""
            items.append(binding.RestoreItem(id, encode_record(m.record), m.envelope, "", outcome))
        call = binding.restore_call(
            self.scope_keys(scope), scope.seq, scope.token, items, epoch=self.model.epoch
        )
        self.agree(call, lambda _: self.model.restore(scope, index, ids))
