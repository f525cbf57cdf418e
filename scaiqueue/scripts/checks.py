"""Makes the Lua that names a call's keys and arguments, and refuses a malformed call before any write."""

from __future__ import annotations

from scaiqueue.scripts.contract import Argument, Contract, KeyGroup

MAX_ITEMS = 1000
# How the root of each owner's keys is read from its first key, and whose root it begins with.
_ROOTS = {
    "shard": ("^(sq:{%d+}):epoch$", ""),
    "scope": ("^(sq:{%d+}:[^:]+:[^:]+):meta$", "SHARD_ROOT"),
    "stream": ("^(sq:{%d+}:[^:]+:[^:]+:stream:[0-9a-f-]+):meta$", "SCOPE_ROOT"),
}
UUID = "^" + "%-".join("%x" * digits for digits in (8, 4, 4, 4, 12)) + "$"


def argument_checks(contract: Contract) -> str:
    """Lua source for the `-- @arguments` line of a script."""
    return "\n".join(
        [*_preamble(contract), *_keys(contract), *_fixed(contract), *_queues(contract), *_items(contract)]
    )


def needed_includes(contract: Contract) -> list[str]:
    """Includes that the checks of this contract call."""
    kinds = {argument.kind for argument in contract.arguments + contract.items}
    return (["is_text"] if "text" in kinds else []) + (["is_object"] if "object" in kinds else [])


def _preamble(contract: Contract) -> list[str]:
    return [
        f'local SCRIPT = "{contract.name}"',
        "local find = string.find",
        "local function bad(argument, what)",
        '  return redis.error_reply("BADARG " .. SCRIPT .. " " .. argument .. ": " .. what)',
        "end",
        f"if #ARGV < {len(contract.arguments)} then",
        f'  return bad("ARGV", "{len(contract.arguments)} at least")',
        "end",
    ]


def _keys(contract: Contract) -> list[str]:
    lines, place = [], 0
    for group in contract.keys:
        if group.owner not in _ROOTS:
            continue
        pattern, parent = _ROOTS[group.owner]
        root, first = f"{group.owner.upper()}_ROOT", place + 1
        prefix = "STREAM_" if group.owner == "stream" else ""
        for name in group.names:
            place += 1
            lines.append(f"local {prefix}{name.upper()}_KEY = KEYS[{place}]")
        head = f"{prefix}{group.names[0].upper()}_KEY"
        lines.append(f'local {root} = {head} and {head}:match("{pattern}")')
        tests = [f"not {root}"]
        if parent:
            tests.append(f'{root}:sub(1, #{parent} + 1) ~= {parent} .. ":"')
        tests += [f'KEYS[{first + i}] ~= {root} .. ":{name}"' for i, name in enumerate(group.names) if i]
        lines += [
            f"if {' or '.join(tests)} then",
            f'  return bad("KEYS", "{group.owner}: {" ".join(group.names)}")',
            "end",
        ]
    if not contract.group("queue") and not contract.group("item"):
        lines += [f"if #KEYS ~= {place} then", f'  return bad("KEYS", "{place} of them")', "end"]
    return lines


def _fixed(contract: Contract) -> list[str]:
    lines = ["local v"]
    for i, argument in enumerate(contract.arguments, 1):
        lines.append(f"local {argument.constant} = ARGV[{i}]")
        lines += _check(argument, argument.constant, "")
    return lines


def _queues(contract: Contract) -> list[str]:
    group = contract.group("queue")
    before = sum(len(g.names) for g in contract.keys if g.owner in _ROOTS)
    if group is None:
        return [f"local ITEM_KEYS = {before}"] if contract.group("item") else []
    count = "tonumber(A_QUEUES)" if group.repeated else "1"
    total = f"{before} + {len(group.names)} * QUEUE_COUNT"
    wrong = [f'KEYS[at + {i}] ~= root .. "{name}"' for i, name in enumerate(group.names)]
    return [
        f"local QUEUE_COUNT = {count}",
        f"local ITEM_KEYS = {total}",
        "local QUEUES = {}",
        "for i = 1, QUEUE_COUNT do",
        f"  local at = {before + 1} + (i - 1) * {len(group.names)}",
        '  local slug = (KEYS[at] or ""):match(":q:([a-z0-9_][a-z0-9_-]*):meta$") or ""',
        '  local root = SCOPE_ROOT .. ":q:" .. slug .. ":"',
        f"  if #slug < 1 or #slug > 63 or {' or '.join(wrong)} then",
        f'    return bad("KEYS", "queue: {" ".join(group.names)}")',
        "  end",
        "  QUEUES[i], QUEUES[tostring(i)] = slug, slug",
        "end",
        f"if #KEYS {'<' if contract.group('item') else '~='} ITEM_KEYS then",
        '  return bad("KEYS", "wrong number")',
        "end",
        *_item_keys(contract.group("item")),
    ]


def _item_keys(group: KeyGroup | None) -> list[str]:
    if group is None:
        return []
    name = group.names[0]
    return [
        "for i = ITEM_KEYS + 1, #KEYS do",
        f'  local rest = KEYS[i]:sub(1, #SCOPE_ROOT + {len(name) + 2}) == SCOPE_ROOT .. ":{name}:"',
        f'    and KEYS[i]:sub(#SCOPE_ROOT + {len(name) + 3}) or ""',
        '  if #rest < 64 or not rest:find("^[a-z0-9_:-]*$") or not rest:sub(-64):find("^[0-9a-f]+$") then',
        f'    return bad("KEYS", "item: {name}, ending in a hash")',
        "  end",
        "end",
    ]


def _items(contract: Contract) -> list[str]:
    fixed, stride = len(contract.arguments), len(contract.items)
    if not stride:
        return [f"if #ARGV ~= {fixed} then", '  return bad("ARGV", "too many")', "end"]
    least = fixed + stride * contract.least_items
    lines = [
        f"local FIRST, STRIDE = {fixed + 1}, {stride}",
        f"if (#ARGV - {fixed}) % STRIDE ~= 0 or #ARGV < {least} or #ARGV > {fixed + stride * MAX_ITEMS} then",
        f'  return bad("ARGV", "{contract.least_items} to {MAX_ITEMS} items of {stride}")',
        "end",
    ]
    lines += [f"local {argument.constant} = {i}" for i, argument in enumerate(contract.items)]
    checks = [
        line
        for i, argument in enumerate(contract.items)
        for line in _check(argument, f"ARGV[at + {i}]" if i else "ARGV[at]", "  ")
    ]
    return [*lines, "for at = FIRST, #ARGV, STRIDE do", *checks, "end"] if checks else lines


def _check(argument: Argument, value: str, indent: str) -> list[str]:
    wrong, what = _wrong(argument, "v")
    if not wrong:
        return []
    test = f'v ~= "" and ({wrong})' if argument.optional else wrong
    return [
        f"{indent}v = {value}",
        f"{indent}if {test} then",
        f'{indent}  return bad("{argument.name}", "{what}")',
        f"{indent}end",
    ]


def _wrong(argument: Argument, v: str) -> tuple[str, str]:
    """A Lua expression that is true for a wrong value, and what is expected instead."""
    match argument.kind, argument.limits:
        case "uuid", _:
            return f'not find({v}, "{UUID}") or {v}:lower() ~= {v}', "a UUID in lower case"
        case "int", (low, high):
            test = f'not find({v}, "^%d+$") or tonumber({v}) < {low} or tonumber({v}) > {high}'
            return test, f"an integer from {low} to {high}"
        case "text", (most,):
            empty = "" if argument.optional else f'{v} == "" or '
            return f"{empty}#{v} > {most} or not is_text({v})", f"UTF-8 text of at most {most} bytes"
        case "object", (most, unless):
            trusted = f'ARGV[at + A_{unless.upper()}] ~= "1" and '
            return f"#{v} > {most} or ({trusted}not is_object({v}))", f"a JSON object of at most {most} bytes"
        case "object", (most,):
            return f"#{v} > {most} or not is_object({v})", f"a JSON object of at most {most} bytes"
        case "slug", _:
            return f'#{v} > 63 or not find({v}, "^[a-z0-9_][a-z0-9_-]*$")', "a slug"
        case "word", words:
            return " and ".join(f'{v} ~= "{word}"' for word in words), f"one of {', '.join(words)}"
        case "index", ("queues",):
            return f"not QUEUES[{v}]", "a declared queue"
        case "index", _:
            test = f'not find({v}, "^%d+$") or tonumber({v}) > #KEYS - ITEM_KEYS'
            return test, "a declared key, or 0"
        case _:
            return "", ""
