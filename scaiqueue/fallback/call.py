"""A script call's keys and arguments by name, as the script's header lists them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from scaiqueue.keys import ScopeKeys
from scaiqueue.scripts.bundle import load_bundle
from scaiqueue.scripts.runner import Arg

Item = dict[str, Arg]


class Call(NamedTuple):
    """`item_keys` are the keys that items name by their place, from 1."""

    name: str
    epoch: str
    now: int | None
    scope: ScopeKeys
    queues: list[str]
    item_keys: list[str]
    arguments: Item
    items: list[Item]


def read_call(name: str, keys: Sequence[str], args: Sequence[Arg]) -> Call:
    """The call must be one that the script would take: its callers have checked it."""
    contract = load_bundle()[name].contract
    fixed = sum(len(group.names) for group in contract.keys if group.owner in ("shard", "scope"))
    per_queue = next((len(group.names) for group in contract.keys if group.owner == "queue"), 0)
    names = [argument.name for argument in contract.arguments]
    arguments = dict(zip(names, args[: len(names)], strict=True))
    queues = int(arguments.get("queues", 0))
    beyond = fixed + queues * per_queue
    scope_meta = next(key for key in keys if key.endswith(":meta"))
    fields = [item.name for item in contract.items]
    rest = args[len(names) :]
    return Call(
        name,
        text(arguments["epoch"]),
        number(arguments["now"]),
        ScopeKeys.parse(scope_meta.removesuffix(":meta")),
        [key.rpartition(":q:")[2].partition(":")[0] for key in keys[fixed : beyond : per_queue or 1]],
        list(keys[beyond:]),
        arguments,
        [
            dict(zip(fields, rest[at : at + len(fields)], strict=True))
            for at in range(0, len(rest), len(fields))
        ],
    )


def text(value: Arg) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def data(value: Arg) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


def number(value: Arg) -> int | None:
    """None where the argument is empty."""
    return None if value in ("", b"") else int(value)


def reply(*parts: Any) -> list[Any]:
    """An item's reply as a Redis client gives it: text as bytes."""
    return [part.encode() if isinstance(part, str) else part for part in parts]
