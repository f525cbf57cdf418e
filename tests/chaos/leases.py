"""Who may work on a message, and until when."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from tests.chaos.history import ENDING_VERBS, Claim, Settle
from tests.chaos.story import Given, Story, Token

# The server rounds its clock to ms, when a lease begins and when it ends.
ROUNDING_MS = 2


def tokens_rise(story: Story) -> Iterator[str]:
    """A later claim of a message has a higher token, and no two claims have the same; but a direct caller
    does not see that the rows took over, and is served by the Redis that was left until it is fenced."""
    for message_id, given in story.given.items():
        latest = max((one for one in given), key=lambda one: one.begun)
        for before, after in pairwise(given):
            if before.token == after.token:
                yield f"{message_id}: {before.delivery.token} was given to two claims"
            elif after.ended < before.begun and not _unaware(story, before.claim):
                yield (
                    f"{message_id}: {before.delivery.token} was given after {after.delivery.token}; "
                    f"the latest is {latest.delivery.token}"
                )


def no_stale_token(story: Story) -> Iterator[str]:
    """Once a later claim was answered, the token of an earlier one moves nothing; with the same
    exception, and where Redis came back without the later claim."""
    for message_id, settles in story.settles.items():
        given = story.given.get(message_id, [])
        for settle in settles:
            if settle.outcome != "ok" or _unaware(story, settle):
                continue
            token = Token.parse(settle.token)
            for later in given:
                forgotten = story.may_be_lost(later.begun, later.ended)
                if later.token > token and later.ended < settle.begun and not forgotten:
                    yield (
                        f"{message_id}: {settle.verb} with {settle.token} was accepted at "
                        f"{settle.ended:.3f}, after {later.delivery.token} was given at {later.ended:.3f}"
                    )
                    break


def one_lease(story: Story) -> Iterator[str]:
    """At no server time two leases are valid. A raised epoch voids the leases of the one before."""
    for message_id, given in story.given.items():
        for before, after in pairwise(given):
            if before.token.epoch != after.token.epoch or before.token == after.token:
                continue
            begins = after.delivery.lease_end - after.claim.lease_ms
            if begins + ROUNDING_MS >= _lease_end(story, message_id, before):
                continue
            token = before.delivery.token
            ended = any(
                settle.begun <= after.ended for settle in story.settled(message_id, token, *ENDING_VERBS)
            )
            if not ended:
                yield (
                    f"{message_id}: {after.delivery.token} was given "
                    f"{_lease_end(story, message_id, before) - begins} ms before {token} ended"
                )


def _unaware(story: Story, call: Claim | Settle) -> bool:
    return call.via == "script" and story.may_be_unseen(call.begun, call.ended)


def _lease_end(story: Story, message_id: str, given: Given) -> int:
    extended = story.settled(message_id, given.delivery.token, "extend")
    return max([given.delivery.lease_end, *(settle.lease_end for settle in extended)])


def completed_stays(story: Story) -> Iterator[str]:
    """What was completed is not handed out again: never once the rows hold it, and before that only
    where Redis lost its last moments, or was left in them; with the same exception."""
    for message_id, given in story.given.items():
        seen = story.seen.get(message_id)
        completed = [
            settle
            for settle in story.settles.get(message_id, ())
            if settle.verb == "complete" and settle.outcome == "ok"
        ]
        for one in given:
            if _unaware(story, one.claim):
                continue
            if seen is not None and one.begun > seen:
                yield f"{message_id}: given at {one.ended:.3f}, completed in the rows at {seen:.3f}"
            for settle in completed:
                begun, ended = settle.begun, settle.ended
                forgotten = story.may_be_lost(begun, ended) or story.may_be_unseen(begun, ended)
                if ended < one.begun and not forgotten:
                    yield f"{message_id}: given at {one.ended:.3f}, completed at {settle.ended:.3f}"
