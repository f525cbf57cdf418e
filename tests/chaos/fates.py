"""What became of each message."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

from tests.chaos.history import Publish, Settle
from tests.chaos.story import Given, Story, Told

SETS = {"scheduled": "scheduled", "pending": "pending", "claimed": "claimed", "awaiting_review": "review"}
TERMINAL = ("completed", "expired", "cancelled", "archived")


def ids_by_key(story: Story) -> dict[str, set[str]]:
    found: dict[str, set[str]] = defaultdict(set)
    for message_id, fate in story.final.fates():
        found[fate.key].add(message_id)
    return found


def _lost(story: Story) -> Iterator[tuple[Told, str, Publish, bool]]:
    """Acknowledged and not there: the id, the acknowledged call, and whether that was to be expected."""
    there = {message_id for message_id, _ in story.final.fates()}
    for told in story.told.values():
        for message_id, ack in told.acks.items():
            if message_id not in there:
                allowed = told.durability == "indexed" and story.may_be_lost(ack.begun, ack.ended)
                yield told, message_id, ack, allowed


class Loss(NamedTuple):
    """Of an `indexed` publish with Redis: how long before the strike it was acknowledged, and what struck."""

    before_s: float
    kind: str


def allowed_losses(story: Story) -> list[Loss]:
    lossy = [strike for strike in story.strikes if strike.loses is not None]
    return [
        min(
            Loss(max(0.0, strike.begun - ack.ended), strike.kind)
            for strike in lossy
            if ack.begun <= strike.healed
        )
        for _, _, ack, allowed in _lost(story)
        if allowed
    ]


def one_fate(story: Story) -> Iterator[str]:
    """Every acknowledged publish has exactly one fate, every other at most one, a refused one none."""
    for told, message_id, ack, allowed in _lost(story):
        if not allowed:
            what = f"{message_id} of {told.key} ({told.durability}, {told.queue})"
            yield f"{what}, acknowledged at {ack.ended:.3f}, is lost"
    found = ids_by_key(story)
    for told in story.told.values():
        ids = found.get(told.key, set())
        if len(ids) > 1 and not story.told_twice(told):
            yield f"{told.key} ({told.durability}, {told.queue}) has {len(ids)} fates: {sorted(ids)}"
        if ids and not told.possible:
            yield f"{told.key} was refused and exists as {sorted(ids)}"


def nothing_unasked(story: Story) -> Iterator[str]:
    """What exists, and what is handed out, was published; a reply belongs to its own message."""
    for message_id, fate in story.final.fates():
        if fate.key not in story.told:
            yield f"{message_id} in {fate.queue} has the key {fate.key!r}, which nobody published"
    for message_id, given in story.given.items():
        for one in given:
            told = story.told.get(one.delivery.key)
            if told is None:
                yield f"{message_id} was handed out with the key {one.delivery.key!r}, which nobody published"
            elif told.queue != one.claim.queue:
                yield f"{message_id} was published into {told.queue} and handed out from {one.claim.queue}"
            elif told.acks and message_id not in told.acks and not _may_differ(story, told, one.begun):
                yield f"{told.key} was handed out as {message_id} and acknowledged as {sorted(told.acks)}"


def _may_differ(story: Story, told: Told, at: float) -> bool:
    return story.may_be_lost(told.begun, at) or story.told_twice(told)


def conservation(story: Story) -> Iterator[str]:
    """Index and rows are one state: each message in one table, in one set, the same in both."""
    final = story.final
    for message_id in final.rows.keys() & final.archive.keys():
        yield f"{message_id} is both live and archived"
    members: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for member in final.members:
        if member.set != "expiry":
            members[member.id].append((member.queue, member.set))
    for message_id, fate in final.index.items():
        at = [(fate.queue, SETS[fate.state])] if fate.state in SETS else []
        if members.pop(message_id, []) != at:
            yield f"{message_id} is {fate.state} in {fate.queue}, and its sets say otherwise"
        row = final.rows.get(message_id) or final.archive.get(message_id)
        if row is None:
            yield f"{message_id} is {fate.state} in the index, and has no row"
        elif (row.queue, row.state, row.attempts) != (fate.queue, fate.state, fate.attempts):
            yield f"{message_id}: the index says {fate}, the row says {row}"
    for message_id in members:
        yield f"{message_id} is in {members[message_id]} without a record"
    for message_id, row in final.rows.items():
        if row.state not in TERMINAL and message_id not in final.index:
            yield f"{message_id} is {row.state} in the rows, and not in the index"


def completion_kept(story: Story) -> Iterator[str]:
    """An acknowledged completion is the message's fate, unless it was forgotten before it was committed."""
    fates = dict(story.final.fates())
    for message_id, settles in story.settles.items():
        for settle in settles:
            if settle.verb != "complete" or settle.outcome != "ok" or message_id not in fates:
                continue
            fate = fates[message_id]
            if fate.state not in TERMINAL and (
                message_id in story.seen or not _may_be_forgotten(story, settle)
            ):
                yield f"{message_id} was completed at {settle.ended:.3f} and is {fate.state} in {fate.queue}"
                break


def attempts_counted(story: Story) -> Iterator[str]:
    """Attempts are claims minus releases; what is unknown widens the bounds."""
    for message_id, fate in story.final.fates():
        told = story.told.get(fate.key)
        given = story.given.get(message_id, [])
        if told is None:
            continue
        released = {s.token: s for s in story.settles.get(message_id, ()) if s.verb == "release"}
        maybe = {t for t in released if story.settled(message_id, t, "release")}
        sure = {t for t in maybe if _acknowledged(story, message_id, t)}
        claims = {one.delivery.token for one in given}
        lapsed = {one.delivery.token for one in given if _may_be_forgotten(story, one)}
        lapsed_releases = {t for t in sure if _may_be_forgotten(story, released[t])}
        unheard = story.unheard_claims(told.queue, told.begun)
        least = len(claims) - len(maybe) - len(lapsed)
        most = len(claims) + unheard - len(sure) + len(lapsed_releases)
        if not max(0, least) <= fate.attempts <= most:
            yield f"{message_id}: {fate.attempts} attempts, not {least} to {most} ({fate.state})"


def _may_be_forgotten(story: Story, call: Given | Settle) -> bool:
    return story.may_be_lost(call.begun, call.ended) or story.may_be_unseen(call.begun, call.ended)


def _acknowledged(story: Story, message_id: str, token: str) -> bool:
    return any(settle.outcome == "ok" for settle in story.settled(message_id, token, "release"))
