"""Everything that must hold of a rule before it is stored; queues are looked up by the caller's function."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import msgspec

from scaiqueue.errors import Code, Detail, QueueError
from scaiqueue.keys import SYSTEM_QUEUES
from scaiqueue.routing.actions import Route, Then, wrong_actions
from scaiqueue.routing.conditions import Reader
from scaiqueue.routing.contradictions import contradictions
from scaiqueue.routing.stored import Definition

NO_TRUST = "No such scope, or no trust of it lets messages of this scope into the queue"


class Abroad(NamedTuple):
    """A queue of another scope; of the rule's own, without a scope."""

    scope_id: str | None
    queue: str


# What a scope and queue mean; None where that scope does not trust the rule's.
FindAbroad = Callable[[str, str], Awaitable[Abroad | None]]
# The slug of the queue that a reference means; None where there is none.
FindQueue = Callable[[str], Awaitable[str | None]]


def invalid_rule(*wrong: Detail) -> QueueError:
    places = ", ".join(dict.fromkeys(detail.field for detail in wrong))
    return QueueError(Code.SCAIQUEUE_INVALID_RULE, f"The rule is not valid: {places}.", details=wrong)


async def checked(
    trigger: str, queue: str, when: Any, then: Then, find_queue: FindQueue, find_abroad: FindAbroad
) -> tuple[str, Definition]:
    """The rule's queue ("" is any) and definition, with slugs for queues. Raises SCAIQUEUE_INVALID_RULE."""
    reader = Reader()
    tree = reader.read_optional(when)
    wrong = reader.wrong or list(contradictions(tree, trigger))
    wrong += wrong_actions(then, trigger)
    if then.route is not None and then.route.scope is not None:
        place = await find_abroad(then.route.scope, then.route.queue)
        if place is None:
            wrong.append(Detail("then.route.scope", NO_TRUST))
        else:
            route = msgspec.structs.replace(then.route, scope=place.scope_id, queue=place.queue)
            then = msgspec.structs.replace(then, route=route)
    found = await find_queue(queue) if queue else ""
    if found is None:
        wrong.append(Detail("queue", "No such queue in this scope"))
    elif found in SYSTEM_QUEUES:
        wrong.append(Detail("queue", "Messages of system queues meet no rules"))
    for name, action in (("route", then.route), ("escalate", then.escalate)):
        reference = action.queue if action is not None else None
        if action is None or reference is None or set(reference) & set("/:"):
            continue
        if isinstance(action, Route) and action.scope is not None:
            continue
        target = await find_queue(reference)
        if target is None:
            wrong.append(Detail(f"then.{name}.queue", "No such queue in this scope"))
        elif target in SYSTEM_QUEUES:
            wrong.append(Detail(f"then.{name}.queue", "System queues can't be targets"))
        elif found and target == found:
            wrong.append(Detail(f"then.{name}.queue", "The rule would send messages where they are"))
        else:
            then = msgspec.structs.replace(then, **{name: msgspec.structs.replace(action, queue=target)})
    if wrong:
        raise invalid_rule(*wrong)
    return found or "", Definition(when, then)
