"""The scripts as they run: includes expanded, checks generated, addressed by SHA-1."""

from __future__ import annotations

import re
from functools import cache
from hashlib import sha1
from importlib.resources import files
from typing import NamedTuple

from scaiqueue.scripts.checks import argument_checks, needed_includes
from scaiqueue.scripts.contract import Contract, ContractError, parse_contract
from scaiqueue.scripts.slim import slim

_include = re.compile(r" *-- @include (\w+)\n")


class Script(NamedTuple):
    name: str
    sha1: str
    source: str
    contract: Contract


Bundle = dict[str, Script]


@cache
def load_bundle() -> Bundle:
    """Every script of the package by name, in alphabetical order."""
    folder = files("scaiqueue_lua")
    names = sorted(entry.name[:-4] for entry in folder.iterdir() if entry.name.endswith(".lua"))
    bundle = {name: compile_script((folder / f"{name}.lua").read_text()) for name in names}
    for name, script in bundle.items():
        if script.contract.name != name:
            raise ContractError(f"{name}.lua calls itself {script.contract.name}")
    return bundle


def compile_script(source: str) -> Script:
    """Expand one script's source."""
    contract = parse_contract(source)
    included: set[str] = set()
    checks = "".join(f"-- @include {name}\n" for name in needed_includes(contract)) + argument_checks(
        contract
    )
    expanded = slim(_expand(source.replace("-- @arguments\n", checks + "\n"), included))
    return Script(contract.name, sha1(expanded.encode()).hexdigest(), expanded, contract)


def _expand(source: str, included: set[str]) -> str:
    """An include inside of a function counts there alone: others of the file may need it too."""
    lines: list[str] = []
    inner: set[str] | None = None
    for line in source.splitlines(keepends=True):
        found = _include.match(line)
        if found is None:
            lines.append(line)
            if line == "end\n":
                inner = None
            continue
        if line[0] != "-" and inner is None:
            inner = set(included)
        known = included if line[0] == "-" or inner is None else inner
        if found[1] not in known:
            known.add(found[1])
            lines.append(_expand((files("scaiqueue_lua") / "include" / f"{found[1]}.lua").read_text(), known))
    return "".join(lines)
