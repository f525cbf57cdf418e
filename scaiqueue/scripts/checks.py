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
    kinds = {argument.kind for argument in contract.arguments + contract.items + contract.options}
    called = {"is_text": "text", "is_object": "envelope"}
    return [name for name, kind in called.items() if kind in kinds]


def _preamble(contract: Contract) -> list[str]:
    return [
        f'local SCRIPT = "{contract.name}"',
        "local find, concat = string.find, table.concat",
        "local function bad(argument, what)",
        '  return redis.error_reply("BADARG " .. SCRIPT .. " " .. argument .. ": " .. what)',
        "end",
        f"if #ARGV < {len(contract.arguments)} then",
        f'  return bad("ARGV", "{len(contract.arguments)} at least")',
        "end",
    ]


def _keys(contract: Contract) -> list[str]:
    """Names the keys that a call always has, and compares all of one owner at once."""
    lines, place = [], 0
    for group in contract.keys:
        if group.owner not in _ROOTS:
            continue
        pattern, parent = _ROOTS[group.owner]
        root, first = f"{group.owner.upper()}_ROOT", place + 1
        prefix = "STREAM_" if group.owner == "stream" else ""
        place += len(group.names)
        lines += [
            f"local {prefix}{name.upper()}_KEY = KEYS[{at}]" for at, name in enumerate(group.names, first)
        ]
        head = f"{prefix}{group.names[0].upper()}_KEY"
        lines.append(f'local {root} = {head} and {head}:match("{pattern}")')
        tests = [f"not {root}", f"not KEYS[{place}]"]
        if parent:
            tests.append(f'{root}:sub(1, #{parent} + 1) ~= {parent} .. ":"')
        if len(group.names) > 1:
            tests.append(f'concat(KEYS, " ", {first}, {place}) ~= {_joined(group, root)}')
        lines += [
            f"if {' or '.join(tests)} then",
            f'  return bad("KEYS", "{group.owner}: {" ".join(group.names)}")',
            "end",
        ]
    if not contract.group("queue") and not contract.group("item"):
        lines += [f"if #KEYS ~= {place} then", f'  return bad("KEYS", "{place} of them")', "end"]
    return lines


def _joined(group: KeyGroup, root: str) -> str:
    """Lua: the keys of a group as one text, in their order, with blanks between them."""
    return ' .. " " .. '.join(f'{root} .. ":{name}"' for name in group.names)


def _fixed(contract: Contract) -> list[str]:
    lines = ["local v"]
    for i, argument in enumerate(contract.arguments, 1):
        lines.append(f"local {argument.constant} = ARGV[{i}]")
        lines += _check(argument, argument.constant, "", contract)
    return lines


def _queues(contract: Contract) -> list[str]:
    group = contract.group("queue")
    before = sum(len(g.names) for g in contract.keys if g.owner in _ROOTS)
    if group is None:
        return [f"local ITEM_KEYS = {before}"] if contract.group("item") else []
    count = "tonumber(A_QUEUES)" if group.repeated else "1"
    total = f"{before} + {len(group.names)} * QUEUE_COUNT"
    return [
        f"local QUEUE_COUNT = {count}",
        f"local ITEM_KEYS = {total}",
        "local QUEUES = {}",
        "for i = 1, QUEUE_COUNT do",
        f"  local at = {before + 1} + (i - 1) * {len(group.names)}",
        '  local slug = (KEYS[at] or ""):match(":q:([a-z0-9_][a-z0-9_.-]*):meta$") or ""',
        '  local root = SCOPE_ROOT .. ":q:" .. slug',
        f"  if #slug < 1 or #slug > 63 or not KEYS[at + {len(group.names) - 1}]",
        f'    or concat(KEYS, " ", at, at + {len(group.names) - 1}) ~= {_joined(group, "root")} then',
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
        '  if #rest < 64 or not rest:find("^[a-z0-9_.:-]*$") or not rest:sub(-64):find("^[0-9a-f]+$") then',
        f'    return bad("KEYS", "item: {name}, ending in a hash")',
        "  end",
        "end",
    ]


def _items(contract: Contract) -> list[str]:
    """Checks the items. Where the first argument of an item is its id, the script finds them all in IDS."""
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
    named = contract.items[0].kind == "uuid"
    checks = []
    for i, argument in enumerate(contract.items):
        checks += _check(argument, f"ARGV[at + {i}]" if i else "ARGV[at]", "  ", contract)
        if named and not i:
            checks.append("  IDS[#IDS + 1] = v")
    if not checks:
        return lines
    options = ["local OPTIONS = {}"] if contract.options else []
    ids, case = ["local IDS = {}"] if named else [], []
    if named:
        case = [
            "local ALL_IDS = concat(IDS)",
            "if ALL_IDS:lower() ~= ALL_IDS then",
            f'  return bad("{contract.items[0].name}", "a UUID in lower case")',
            "end",
        ]
    return [*lines, *ids, *options, "for at = FIRST, #ARGV, STRIDE do", *checks, "end", *case]


def _options(contract: Contract) -> list[str]:
    """Lua for the item argument of kind `options`: decoded into OPTIONS, each of its values checked."""
    names = " or ".join(f'name == "{option.name}"' for option in contract.options)
    lines = [
        '  if v ~= "" then',
        "    local ok, o = pcall(cjson.decode, v)",
        '    if not ok or type(o) ~= "table" or v:sub(1, 1) ~= "{" then',
        '      return bad("options", "a JSON object of numbers and texts")',
        "    end",
        "    for name in pairs(o) do",
        f"      if not ({names}) then",
        '        return bad("options", "no such option: " .. name)',
        "      end",
        "    end",
    ]
    for option in contract.options:
        wrong, what = _wrong_option(option)
        lines += [
            f"    v = o.{option.name}",
            f"    if v ~= nil and ({wrong}) then",
            f'      return bad("{option.name}", "{what}")',
            "    end",
        ]
    return [*lines, "    OPTIONS[#IDS] = o", "  end"]


def _wrong_option(option: Argument) -> tuple[str, str]:
    match option.kind, option.limits:
        case "int", (low, high):
            test = f'type(v) ~= "number" or v < {low} or v > {high} or v % 1 ~= 0'
            return test, f"an integer from {low} to {high}"
        case "text", (most,):
            test = f'type(v) ~= "string" or v == "" or #v > {most} or not is_text(v)'
            return test, f"UTF-8 text of at most {most} bytes"
        case "index", ("queues",):
            return 'type(v) ~= "number" or not QUEUES[v]', "a declared queue"
        case _:
            test = 'type(v) ~= "number" or v < 0 or v % 1 ~= 0 or v > #KEYS - ITEM_KEYS'
            return test, "a declared key, or 0"


def _check(argument: Argument, value: str, indent: str, contract: Contract) -> list[str]:
    if argument.kind == "options":
        return [f"{indent}v = {value}", *_options(contract)]
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
            return f'not find({v}, "{UUID}")', "a UUID in lower case"
        case "int", (low, high):
            test = f'not find({v}, "^%d+$") or tonumber({v}) < {low} or tonumber({v}) > {high}'
            return test, f"an integer from {low} to {high}"
        case "text", (most,):
            empty = "" if argument.optional else f'{v} == "" or '
            return (
                f"{empty}#{v} > {most} or not (texts[{v}] or is_text({v}))",
                f"UTF-8 text of at most {most} bytes",
            )
        case "envelope", (most, unless):
            line = f'find({v}, "\\n", 1, true)'
            untrusted = f'A_{unless.upper()} ~= "1" and not is_object({v}:sub(1, {line} - 1))'
            test = f"({line} or {most} + 2) > {most} + 1 or ({untrusted})"
            return test, f"a JSON object of at most {most} bytes on one line, then the body"
        case "slug", _:
            return f'#{v} > 63 or not find({v}, "^[a-z0-9_][a-z0-9_.-]*$")', "a slug"
        case "word", words:
            return " and ".join(f'{v} ~= "{word}"' for word in words), f"one of {', '.join(words)}"
        case "index", ("queues",):
            return f"not QUEUES[{v}]", "a declared queue"
        case "index", _:
            test = f'not find({v}, "^%d+$") or tonumber({v}) > #KEYS - ITEM_KEYS'
            return test, "a declared key, or 0"
        case _:
            return "", ""
