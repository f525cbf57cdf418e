"""Makes an expanded script cheaper to run: constants folded, unused definitions left out.

Redis runs a script's text from top to bottom at every call, so each definition costs at every call.
"""

from __future__ import annotations

import re

_constants = re.compile(
    r"^local ([A-Z][A-Z0-9_]*(?:, [A-Z][A-Z0-9_]*)*) = (\d+(?:, \d+)*)(?: --.*)?\n", re.MULTILINE
)
_definition = re.compile(
    r"^local (?:function (?P<function>\w+)\(.*?^end\n"
    r"|(?P<table>\w+) = \{(?:\n.*?^\}|[^\n]*\})(?: --[^\n]*)?\n)",
    re.MULTILINE | re.DOTALL,
)


def slim(source: str) -> str:
    """The same script: numeric constants in upper case stand as numbers, what is never named is gone."""
    head, marker, code = source.partition("\n]]\n")
    code = _drop_unused(_fold_constants(code)).replace("redis.call(", "call(")
    return f"{head}{marker}local call = redis.call\n{code}"


def _fold_constants(code: str) -> str:
    values: dict[str, str] = {}
    for names, numbers in _constants.findall(code):
        values.update(zip(names.split(", "), numbers.split(", "), strict=True))
    if not values:
        return code
    named = re.compile(r"\b(" + "|".join(sorted(values, key=len, reverse=True)) + r")\b")
    return named.sub(lambda found: values[found[1]], _constants.sub("", code))


def _drop_unused(code: str) -> str:
    while True:
        unused = [
            found
            for found in _definition.finditer(code)
            if not re.search(
                rf"\b{found['function'] or found['table']}\b", code[: found.start()] + code[found.end() :]
            )
        ]
        if not unused:
            return code
        for found in reversed(unused):
            code = code[: found.start()] + code[found.end() :]
