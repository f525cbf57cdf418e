"""claim: leases for the next messages of one or more queues, in their own order."""

from __future__ import annotations

from typing import Any

import msgspec

from scaiqueue.fallback import members, rows
from scaiqueue.fallback.call import Call, Item, number, reply, text
from scaiqueue.fallback.overdue import expire, settle
from scaiqueue.fallback.rows import Counters, GivenClaim
from scaiqueue.fallback.rules import Rules
from scaiqueue.fallback.work import Message, Work
from scaiqueue.persister.journal import ID_LENGTH
from scaiqueue.records import Flag, State, encode_record, join_envelope

MOST_MESSAGES = 1000
MOST_BYTES = 8 * 2**20
SETTLED_A_CALL = 100
MOST_CHANGES = 2000


class _Request(msgspec.Struct):
    item: Item
    key: str
    same: _Request | None
    held: list[Message]
    leases: list[Message] = []

    @property
    def given(self) -> list[Message]:
        return self.same.given if self.same else self.held or self.leases


class _Window:
    """The next messages of a queue, page by page; those whose time has passed expire on the way."""

    def __init__(self, work: Work, rules: Rules, size: int) -> None:
        self.rules = rules
        self.taken = 0
        self.bounded = False
        self._work = work
        self._size = size
        self._after = (-1, "")
        self._page: list[Message] = []
        self._more = True

    async def head(self) -> Message | None:
        while True:
            while self._page:
                message = self._page[0]
                if not 0 < message.record.expires_at <= self._work.now:
                    return message
                expire(self._work, self._page.pop(0))
            if not self._more:
                return None
            if self._work.changes >= MOST_CHANGES:
                self.bounded = True
                return None
            await self._turn()

    def take(self) -> Message:
        self.taken += 1
        return self._page.pop(0)

    async def _turn(self) -> None:
        queue = self._work.queue(self.rules.slug)
        places = await members.following(self._work.conn, queue, self._after, self._size)
        self._more = len(places) == self._size
        if places:
            self._after = places[-1]
            found = await self._work.load([message_id for _, message_id in places])
            self._page = [m for m in found if m is not None and m.record.state == State.pending]


async def claim(work: Work, call: Call) -> list[list[Any]]:
    """The sets of the queues must be whole, but for those that refuse claims."""
    scope_state = await rows.scope_state(work.conn, work.scope)
    await work.load_rules(call.queues)
    refusals = {slug: work.rules(slug).refuses(scope_state, entering=False) for slug in call.queues}
    settled = 0
    for slug in call.queues:
        if not refusals[slug]:
            settled += await settle(work, slug, SETTLED_A_CALL - settled)
    requests = await _requests(work, call)
    wanted = sum(_want(request) for request in requests)
    open_slugs = [slug for slug in call.queues if not refusals[slug]]
    size = max(1, min(wanted, MOST_MESSAGES) // max(1, len(open_slugs)))
    windows = [_Window(work, work.rules(slug), size) for slug in open_slugs]
    bounded = await _lease_all(work, windows, text(call.arguments["strategy"]), requests)
    bounded = bounded or settled >= SETTLED_A_CALL
    await _number_and_remember(work, requests)
    refused = next((refusal for refusal in refusals.values() if refusal), None)
    contents = await _contents(work, requests)
    replies = []
    for request in requests:
        if not windows and not request.given and refused:
            replies.append(reply(*refused))
            continue
        given = request.given
        more = bounded and len(given) < _want(request.same or request)
        if given:
            replies.append([b"MORE" if more else b"OK", *_handed_out(given, contents)])
        else:
            replies.append([b"MORE" if more else b"EMPTY"])
    return replies


def _want(request: _Request) -> int:
    return 0 if request.same or request.held else number(request.item["want"]) or 0


async def _requests(work: Work, call: Call) -> list[_Request]:
    """A request whose claim key holds leases is given those again, and one that repeats the claim key of an
    earlier request shares that one's answer."""
    hashes = [key.rpartition(":")[2] for key in call.item_keys]
    known: dict[str, GivenClaim] = {}
    if hashes:
        known = await rows.claims_given(work.conn, work.scope.scope_id, work.term, hashes, work.now)
    requests: list[_Request] = []
    by_key: dict[str, _Request] = {}
    for item in call.items:
        place = number(item["claim"]) or 0
        key = hashes[place - 1] if place else ""
        request = _Request(item, key, by_key.get(key) if key else None, [])
        if key and request.same is None:
            request.held = await _still_held(work, known.get(key))
            by_key[key] = request
        requests.append(request)
    return requests


async def _still_held(work: Work, claim: GivenClaim | None) -> list[Message]:
    if claim is None:
        return []
    found = await work.load([claim.ids[at : at + ID_LENGTH] for at in range(0, len(claim.ids), ID_LENGTH)])
    return [
        message
        for message in found
        if message and message.record.state == State.claimed and message.record.token == claim.token
    ]


async def _lease_all(work: Work, windows: list[_Window], strategy: str, requests: list[_Request]) -> bool:
    """Answers whether a bound ended it, and not the end of the queues."""
    leased = size = 0
    for request in requests:
        want = _want(request)
        given: list[Message] = []
        while len(given) < want:
            window = await _pick(windows, strategy, work.now)
            if window is None:
                break
            head = await window.head()
            assert head is not None
            size += head.record.size
            if leased and (size > MOST_BYTES or leased == MOST_MESSAGES):
                request.leases = given
                return True
            given.append(_lease(work, window, request))
            leased += 1
        request.leases = given
    return any(window.bounded for window in windows)


async def _pick(windows: list[_Window], strategy: str, now: int) -> _Window | None:
    """The queue to take from next: by the order given, by publish order, or by turns."""
    best: tuple[int, _Window] | None = None
    for place, window in enumerate(windows):
        head = await window.head()
        if head is None:
            continue
        if strategy == "ordered":
            return window
        turn = window.taken * len(windows) + (place + now) % len(windows)
        key = head.record.seq if strategy == "oldest" else turn
        if best is None or key < best[0]:
            best = (key, window)
    return best and best[1]


def _lease(work: Work, window: _Window, request: _Request) -> Message:
    message = window.take()
    record, holder = message.record, text(request.item["holder"])
    record.state, record.attempts = State.claimed, record.attempts + 1
    record.due_at = work.now + (number(request.item["visibility_ms"]) or window.rules.visibility_ms)
    record.holder, record.verb = holder, ""
    work.change(message, "claimed", holder)
    return message


async def _number_and_remember(work: Work, requests: list[_Request]) -> None:
    """A token for each request that got messages; what its claim id was given lasts as long as the leases."""
    given = [request for request in requests if request.leases]
    if not given:
        return
    seq, counter = await work.counters()
    claims = []
    for request in given:
        counter += 1
        token = f"{work.epoch}.{counter}"
        for message in request.leases:
            message.record.token = token
        if request.key:
            ids = "".join(message.id for message in request.leases)
            ends = max(message.record.due_at for message in request.leases)
            claims.append(GivenClaim(request.key, token, ids, ends))
    await work.set_counters(Counters(seq, counter))
    if claims:
        await rows.remember_claims(work.conn, work.scope.scope_id, work.term, claims)


async def _contents(work: Work, requests: list[_Request]) -> dict[str, tuple[bytes, bytes]]:
    ids = [message.id for request in requests for message in request.given]
    return await rows.contents(work.conn, ids) if ids else {}


def _handed_out(given: list[Message], contents: dict[str, tuple[bytes, bytes]]) -> list[Any]:
    """Token, the first lease's end, what few messages have besides, and the messages themselves."""
    extras: list[bytes] = []
    parts: list[bytes] = []
    for message in given:
        if message.record.flags & (Flag.overlay | Flag.outcome):
            extras += (message.id.encode(), message.overlay.encode(), message.packed_outcome)
        envelope = join_envelope(*contents[message.id])
        parts += (message.id.encode(), encode_record(message.record), envelope)
    first_end = min(message.record.due_at for message in given)
    return [given[0].record.token.encode(), first_end, extras, *parts]
