"""Values as literals of MariaDB statements.

A driver that escapes value by value costs more than the rest of a bulk insert. Texts are escaped here for
the sql_mode and the character set that rows/engine.py sets.
"""

from __future__ import annotations

from collections.abc import Iterable

Value = str | int | bytes


def text(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"


def literal(value: Value) -> str:
    if isinstance(value, str):
        return text(value)
    return f"x'{value.hex()}'" if isinstance(value, bytes) else str(int(value))


def joined(values: Iterable[Value]) -> str:
    """Literals of several columns."""
    return ",".join(map(literal, values))
