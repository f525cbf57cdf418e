"""The verbs of lua/README.md: every answer and every error of each script, from its header and the page's own words."""
# ruff: noqa: E501

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from scaiqueue.scripts.bundle import load_bundle
from scaiqueue.scripts.contract import Contract

PAGE = Path(__file__).parents[2] / "lua" / "README.md"
SECTION = re.compile(r"(?<=<!-- verbs -->\n).*(?=<!-- /verbs -->)", re.DOTALL)
WORD_ROW = re.compile(r"^\| ((?:`[A-Z_]+` ?)+)\| [^|]* \| ([^|]*) \|$", re.MULTILINE)
# What ScaiQueue's own processes call, and nobody else.
OWN = ("age", "configure", "forget", "instruct", "repair", "restore", "sweep")


def protocol_page() -> str:
    """The text of lua/README.md with its verbs as the headers tell them."""
    page = PAGE.read_text()
    advice = {word: what for words, what in WORD_ROW.findall(page) for word in re.findall(r"\w+", words)}
    contracts = [script.contract for script in load_bundle().values()]
    parts = [_verb(contract, advice) for contract in contracts if contract.name not in OWN]
    parts.append(
        "### ScaiQueue's own\n\nA direct caller MUST NOT call these; the reference has their answers.\n"
    )
    parts += [f"- `{contract.name}`: {contract.summary}" for contract in contracts if contract.name in OWN]
    return SECTION.sub(lambda _: "\n" + "\n".join(parts) + "\n\n", page)


def _verb(contract: Contract, advice: dict[str, str]) -> str:
    return "\n".join(_lines(contract, advice)) + "\n"


def _lines(contract: Contract, advice: dict[str, str]) -> Iterator[str]:
    yield f"### {contract.name}\n"
    yield f"{contract.summary[0].upper()}{contract.summary[1:]}"
    yield f"[Keys and arguments](../docs/reference/scripts.md#{contract.name}).\n"
    yield "| answer | means | the caller should |\n|---|---|---|"
    for reply in contract.replies:
        yield f"| `{reply.word}` | {reply.text or 'done'} | {advice[reply.word]} |"
    yield f"| `NOT_READY`, error `NOSCRIPT` | nothing is done | {advice['NOT_READY']} |"
    yield "| error `BADARG` | malformed; nothing is done | correct the call; never repeat it |"
    if "no-writes" not in contract.flags:
        if "allow-oom" not in contract.flags:
            yield "| error `OOM` | Redis is at its memory limit; nothing is done | wait, with a growing pause |"
        yield "| error `MISCONF` | Redis can't write its file; nothing is done | wait, with a growing pause |"
    yield "| error `NOPERM`, `CROSSSLOT` | keys of another shard | correct the keys |"
