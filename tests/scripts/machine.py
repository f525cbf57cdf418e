"""The state machine's rules: what producers, consumers, operators, time and accidents do to a shard."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule

from scaiqueue.records import State
from scaiqueue.scripts import binding
from tests.scripts.direct import handed_out, publish_item
from tests.scripts.machine_base import (
    HOLDERS,
    QUEUES,
    SHARD,
    MachineBase,
    holders,
    maybe_spans,
    or_empty,
    picks,
    scopes,
    spans,
)  # fmt: skip
from tests.scripts.model_parts import DEAD_QUEUE, LIVE, Scope

ABSENT = dict.fromkeys(["rank", "delay_ms", "ttl_ms", "deadline_in", "max_retries", "review_ms", "repeat"])
HEADERS = [b"{}", b'{"type":"t","n":12345678901234567890}']
HEADERS += [
    b'{"hitl_spec":{"on_timeout":"%b"}}' % how for how in (b"requeue", b"escalate", b"auto:yes \xc3\xa9")
]
_choices = st.fixed_dictionaries(
    {
        "queue": st.sampled_from([slug for slug in QUEUES if slug != DEAD_QUEUE] + ["spill", "small"]),
        "actor": st.sampled_from(["pat", "kim"]),
        "header": st.sampled_from(HEADERS),
        "body": st.sampled_from([b"", b"[]", b"\x00\xff{}", "\u00e9\U0001f600".encode()]),
        "rank": st.none() | st.sampled_from([0, 1, 2499, 2500, 4000, 5000]),
        "delay_ms": st.none() | st.sampled_from([0, 1, 500, 4000]),
        "ttl_ms": st.none() | st.none() | st.sampled_from([1, 800, 5000]),
        "deadline_in": st.none() | st.none() | st.sampled_from([-5, 1, 2000, 9000]),
        "max_retries": st.none() | st.sampled_from([0, 1, 3]),
        "review_ms": st.none() | st.none() | st.none() | st.sampled_from([1, 1500]),
        "idem_key": st.sampled_from(["", "", "", "k1", "k2"]),
        "digest": st.sampled_from(["d1", "d2"]),
        "repeat": st.none() | st.none() | st.none() | picks,
    }
)
publications = _choices.map(lambda item: {name: value for name, value in item.items() if value is not None})

lists = st.lists(picks, min_size=1, max_size=4)
leases = st.sampled_from([None, None, 1, 600])
tokens = st.sampled_from(["right", "right", "right", "right", "none", "wrong"])


class Machine(MachineBase):
    """Producers and consumers."""

    @initialize(items=st.lists(publications, min_size=3, max_size=8))
    def begin(self, items: list[dict[str, Any]]) -> None:
        self.publish(0, items)

    @rule(number=scopes, items=st.lists(publications, min_size=1, max_size=5))
    def publish_some(self, number: int, items: list[dict[str, Any]]) -> None:
        self.publish(number, items)

    @rule(item=publications)
    def publish_one(self, item: dict[str, Any]) -> None:
        self.publish(0, [item])

    def publish(self, number: int, items: list[dict[str, Any]]) -> None:
        scope, keys = self.scope(number), self.keys[number]
        queues = sorted({item["queue"] for item in items})
        idem_keys: list[str] = []
        calls, given = [], []
        for item in items:
            item = {**ABSENT, **item}
            repeated = None if item["repeat"] is None else self.pick(scope, item["repeat"])
            item["id"] = repeated.id if repeated else self.new_id()
            late = item["deadline_in"]
            item["deadline"] = None if late is None else self.model.now + late
            item["idem"] = keys.idempotency(item["queue"], item["idem_key"]) if item["idem_key"] else ""
            if item["idem"]:
                idem_keys.append(item["idem"])
            given.append(item)
            names = ("rank", "delay_ms", "ttl_ms", "deadline", "max_retries", "review_ms")
            options = {name: item[name] for name in names}
            # As callers do: what is as it mostly is goes unsaid.
            options["queue"] = queues.index(item["queue"]) + 1 if item["queue"] != queues[0] else None
            options["actor"] = item["actor"] if item["actor"] != given[0]["actor"] else None
            if item["idem"]:
                options |= {"idem": len(idem_keys), "digest": item["digest"]}
            calls.append(publish_item(item["id"], item["header"], item["body"], **options))
        call = binding.publish_call(
            keys, [keys.queue(slug) for slug in queues], idem_keys, given[0]["actor"], 0, calls
        )
        self.agree(call, lambda _: self.model.publish(scope, given))

    @rule(
        number=scopes, places=st.lists(picks, min_size=1, max_size=3),
        strategy=st.sampled_from(["ordered", "oldest", "fair"]),
        requests=st.lists(
            st.tuples(holders, st.integers(1, 4), leases, st.sampled_from("  xy")),
            min_size=1, max_size=3,
        ),
    )  # fmt: skip
    def claim(self, number: int, places: list[int], strategy: str, requests: list[Any]) -> None:
        scope, keys = self.scope(number), self.keys[number]
        useful = [slug for slug in QUEUES if scope.members(slug, *LIVE)]
        names = list(dict.fromkeys(self.one_of(place, useful, list(QUEUES)) for place in places))
        items, claim_keys, given = [], [], []
        for holder, want, visibility_ms, claim_id in requests:
            key = keys.claim(holder, claim_id) if claim_id.strip() else ""
            if key:
                claim_keys.append(key)
                visibility_ms = 3_600_000  # the claim key lives by the real clock
            items.append(
                binding.ClaimItem(holder, want, or_empty(visibility_ms), len(claim_keys) if key else "")
            )
            given.append({"holder": holder, "want": want, "visibility_ms": visibility_ms, "claim": key})
        queues = [keys.queue(slug) for slug in names]
        raw = self.call(binding.claim_call(keys, queues, claim_keys, strategy, items))
        expected = self.model.claim(scope, names, strategy, given, raw)
        for item, (word, *ids) in zip(raw, expected, strict=True):
            handed = handed_out(item)
            said = item[0] if item[0] in ("OK", "MORE", "EMPTY") else word
            short = item[0] == "MORE" and len(ids) < 4
            assert said == word or short, (item[0], word)
            if said in ("OK", "MORE", "EMPTY"):
                assert [message.id.decode() for message in handed] == ids
                self.messages_are_whole(scope, item)
            else:
                assert [item[0], *(part.decode() for part in item[1:])] == [word, *ids]

    def messages_are_whole(self, scope: Scope, reply: list[Any]) -> None:
        outcomes, ends = dict.fromkeys(scope.messages, b""), []
        extras = reply[3] if len(reply) > 3 else []
        for id, overlay, outcome in zip(extras[::3], extras[1::3], extras[2::3], strict=True):
            outcomes[id.decode()] = outcome
            assert overlay == b""
        for id, token, record, envelope in handed_out(reply):
            m = scope.messages[id.decode()]
            ends.append(m.record.due_at)
            assert (token.decode(), envelope) == (m.record.token, m.envelope)
            assert record == self.client.hget(f"{scope.root}:state", id)
            assert outcomes[m.id] == (self.client.hget(f"{scope.root}:outcome", id) or b"")
        assert not ends or reply[2] == min(ends)

    def holder_items(self, scope: Scope, places: list[int], token: str, holder: str) -> list[dict[str, Any]]:
        items = []
        for place in places:
            id = self.pick_id(scope, place, State.claimed)
            m = scope.messages.get(id)
            right = m.record.token if m else "1.1"
            given = {"right": right, "none": "", "wrong": right + "0"}[token]
            right_holder = m.record.holder if m and m.record.holder else HOLDERS[0]
            items.append({"id": id, "token": given, "holder": holder if token == "none" else right_holder})
        return items

    @rule(number=scopes, places=lists, token=tokens, holder=holders, response=st.sampled_from([b"", b"[1]"]))
    def complete(self, number: int, places: list[int], token: str, holder: str, response: bytes) -> None:
        scope = self.scope(number)
        items = [{**item, "response": response} for item in self.holder_items(scope, places, token, holder)]
        call = binding.complete_call(self.keys[number], [binding.CompleteItem(**item) for item in items])
        self.agree(call, lambda _: self.model.complete(scope, items))

    @rule(
        number=scopes, places=lists, token=tokens, holder=holders,
        reason=st.sampled_from(["", "boom \u00e9"]),
        retryable=st.sampled_from([None, 1, 0]), retry_after_ms=st.sampled_from([None, None, 0, 400]),
    )  # fmt: skip
    def fail(
        self, number: int, places: list[int], token: str, holder: str, reason: str,
        retryable: int | None, retry_after_ms: int | None,
    ) -> None:  # fmt: skip
        scope = self.scope(number)
        extra = {"reason": reason, "retryable": retryable, "retry_after_ms": retry_after_ms}
        items = [{**item, **extra} for item in self.holder_items(scope, places, token, holder)]
        given = [binding.FailItem(**{name: or_empty(value) for name, value in i.items()}) for i in items]
        call = binding.fail_call(self.keys[number], given)
        self.agree(call, lambda answered: self.model.fail(scope, items, answered))

    @rule(number=scopes, places=lists, token=tokens, holder=holders, delay_ms=maybe_spans)
    def release(self, number: int, places: list[int], token: str, holder: str, delay_ms: int | None) -> None:
        scope = self.scope(number)
        items = [{**item, "delay_ms": delay_ms} for item in self.holder_items(scope, places, token, holder)]
        given = [binding.ReleaseItem(**{name: or_empty(value) for name, value in i.items()}) for i in items]
        call = binding.release_call(self.keys[number], given)
        self.agree(call, lambda _: self.model.release(scope, items))

    @rule(number=scopes, places=lists, token=tokens, holder=holders, visibility_ms=maybe_spans)
    def extend(
        self, number: int, places: list[int], token: str, holder: str, visibility_ms: int | None
    ) -> None:
        scope = self.scope(number)
        items = self.holder_items(scope, places, token, holder)
        items = [{**item, "visibility_ms": visibility_ms} for item in items]
        given = [binding.ExtendItem(**{name: or_empty(value) for name, value in i.items()}) for i in items]
        call = binding.extend_call(self.keys[number], given)
        self.agree(call, lambda _: self.model.extend(scope, items))

    @rule(number=scopes, place=picks, verb=st.sampled_from(["complete", "fail", "release"]))
    def repeat_a_verb(self, number: int, place: int, verb: str) -> None:
        """A lost reply: the same call again, with the token that it succeeded with."""
        scope = self.scope(number)
        ended = [m for _, m in sorted(scope.messages.items()) if m.record.verb == verb]
        if not ended:
            return
        m = ended[place % len(ended)]
        item = {"id": m.id, "token": m.record.token, "holder": "anna"}
        extra = {"fail": {"reason": "", "retryable": None, "retry_after_ms": None}}
        make = {
            "complete": lambda: self.model.complete(scope, [{**item, "response": b""}]),
            "fail": lambda: self.model.fail(scope, [{**item, **extra["fail"]}], [["OK", "", 0]]),
            "release": lambda: self.model.release(scope, [{**item, "delay_ms": None}]),
        }
        calls: dict[str, Any] = {
            "complete": (binding.complete_call, binding.CompleteItem),
            "fail": (binding.fail_call, binding.FailItem),
            "release": (binding.release_call, binding.ReleaseItem),
        }
        build, item_type = calls[verb]
        assert m.record.state != State.claimed
        self.agree(build(self.keys[number], [item_type(**item)]), lambda _: make[verb]())

    @rule(ms=spans)
    def time_passes(self, ms: int) -> None:
        self.model.now += ms

    @rule(limit=st.sampled_from([1, 100, 1000]))
    def sweep(self, limit: int) -> None:
        due = [(root.decode(), int(at)) for root, at in self.client.zrange(SHARD.due, 0, -1, withscores=True)]
        self.agree(binding.sweep_call(SHARD, limit), lambda _: self.model.sweep(limit, due))
