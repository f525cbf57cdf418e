"""Writes `binding.py` and the reference page from the contracts: `python -m scaiqueue.scripts.generate`."""

from __future__ import annotations

from pathlib import Path

from scaiqueue.scripts.bundle import load_bundle
from scaiqueue.scripts.contract import COMMON, Argument, Contract

BINDING = Path(__file__).with_name("binding.py")
REFERENCE = Path(__file__).parents[2] / "docs" / "reference" / "scripts.md"

_HEAD = '''"""One typed function per script. Generated from the contracts by `make generate`."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

from msgspec import Struct

from scaiqueue.keys import QueueKeys, ScopeKeys, Shard, StreamKeys
from scaiqueue.scripts.replies import Reply, parse_reply
from scaiqueue.scripts.runner import Arg, Call, ScriptRunner
'''


def binding_source() -> str:
    """The text of `binding.py`."""
    return _HEAD + "".join(_function(script.contract) for script in load_bundle().values())


def _function(contract: Contract) -> str:
    name = contract.name
    own = contract.arguments[len(COMMON) :]
    given = [argument for argument in own if argument.name != "queues"]
    parameters, call, keys, args = [], [], [], ["epoch", "now"]
    scoped = contract.group("scope") is not None
    owner = "scope" if scoped else "shard"
    parameters.append(f"{owner}: {'ScopeKeys' if scoped else 'Shard'}")
    shard = "scope.shard" if scoped else "shard"
    for group in contract.keys:
        names = group.names
        if group.owner == "shard":
            keys += [f"{shard}.{key}" for key in names]
        elif group.owner == "scope":
            keys += [f'scope.key("{key}")' for key in names]
        elif group.owner == "stream":
            parameters.append("stream: StreamKeys")
            keys += [f'stream.key("{key}")' for key in names]
        elif group.owner == "queue":
            parameters.append("queues: Sequence[QueueKeys]" if group.repeated else "queue: QueueKeys")
            listed = ", ".join(f'"{key}"' for key in names)
            each = "for queue in queues " if group.repeated else ""
            keys.append(f"*(queue.key(name) {each}for name in ({listed}))")
        else:
            parameters.append(f"{names[0]}_keys: Sequence[str]")
            keys.append(f"*{names[0]}_keys")
    parameters += [f"{argument.name}: Arg" for argument in given]
    args += ["len(queues)" if argument.name == "queues" else argument.name for argument in own]
    item = ""
    if contract.items:
        title = "".join(part.title() for part in name.split("_"))
        item = _item_class(f"{title}Item", contract)
        if contract.options:
            item += _options_class(f"{title}Options", contract)
        parameters.append(f"items: Sequence[{title}Item]")
        args.append("*chain.from_iterable(items)")
    call = [parameter.partition(":")[0] for parameter in parameters]
    listed = ", ".join(parameters)
    return f'''
{item}
def {name}_call({listed}, *, epoch: Arg = "", now: Arg = "") -> Call:
    """The call of `{name}` for a pipeline."""
    keys = [{", ".join(keys)}]
    return "{name}", keys, [{", ".join(args)}]


async def {name}(runner: ScriptRunner, {listed}, *, epoch: Arg = "", now: Arg = "") -> Reply:
    """{contract.summary[0].upper() + contract.summary[1:]}"""
    return parse_reply(await runner.run(*{name}_call({", ".join(call)}, epoch=epoch, now=now)))
'''


def _item_class(title: str, contract: Contract) -> str:
    required = [argument for argument in contract.items if not argument.optional]
    last_required = contract.items.index(required[-1])
    fields = []
    for i, argument in enumerate(contract.items):
        default = ' = ""' if i > last_required else ""
        fields.append(f"    {argument.name}: Arg{default}\n    {_doc(argument)}\n")
    return (
        f'\nclass {title}(NamedTuple):\n    """One item of `{contract.name}`; "" is an absent value."""\n\n'
        + "".join(fields)
        + "\n"
    )


def _options_class(title: str, contract: Contract) -> str:
    kinds = {"text": "str | None"}
    fields = [
        f"    {option.name}: {kinds.get(option.kind, 'int | None')} = None\n    {_doc(option)}\n"
        for option in contract.options
    ]
    about = f'"""What an item of `{contract.name}` may say besides, encoded as JSON."""'
    return f"\nclass {title}(Struct, omit_defaults=True):\n    {about}\n\n" + "".join(fields) + "\n"


def _doc(argument: Argument) -> str:
    about = f"{argument.kind}({', '.join(argument.limits)})" if argument.limits else argument.kind
    return f'"""{about}: {argument.text}."""'


def reference_source() -> str:
    """The text of the reference page for direct callers."""
    parts = [
        "# Scripts\n\nGenerated from their headers; [the protocol](../../lua/README.md) is around them.\n"
    ]
    for script in load_bundle().values():
        parts.append(_reference(script.contract))
    return "\n".join(parts)


def _reference(contract: Contract) -> str:
    lines = [f"## {contract.name}\n", f"{contract.summary[0].upper() + contract.summary[1:]}\n"]
    lines.append(
        "KEYS, in this order: "
        + "; ".join(
            f"{group.owner}{' (each)' if group.repeated else ''}: "
            + " ".join(f"`{key}`" for key in group.names)
            for group in contract.keys
        )
        + "\n"
    )
    lines += ["| ARGV | type | meaning |", "|---|---|---|"]
    lines += [_row(argument, "") for argument in contract.arguments]
    lines += [_row(argument, "per item: ") for argument in contract.items]
    lines += [_row(option, "option: ") for option in contract.options]
    lines += ["", "| reply | means |", "|---|---|"]
    lines += [f"| `{reply.word}` | {reply.text} |" for reply in contract.replies]
    lines += ["", f"Cost {contract.complexity}. Journal: {contract.journal}. Since {contract.since}.\n"]
    return "\n".join(lines)


def _row(argument: Argument, prefix: str) -> str:
    kind = f"{argument.kind}({', '.join(argument.limits)})" if argument.limits else argument.kind
    optional = ", may be empty" if argument.optional else ""
    return f"| {prefix}`{argument.name}` | {kind}{optional} | {argument.text} |"


if __name__ == "__main__":
    BINDING.write_text(binding_source())
    REFERENCE.parent.mkdir(parents=True, exist_ok=True)
    REFERENCE.write_text(reference_source())
