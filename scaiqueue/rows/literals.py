"""Rows as literals of MariaDB statements, many rows escaped at once.

A driver that escapes value by value costs more than the rest of a bulk insert. Here a row is formatted with
a mark in place of the quotation marks, nothing escaped, and then the whole statement is escaped for the
sql_mode that rows/engine.py sets. Where a value holds the mark itself, values are escaped one by one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from scaiqueue.rows.bulk import CHUNK_BYTES

_MARK = "\0"
_FORMS = {"text": f"{_MARK}%s{_MARK}", "hex": f"x{_MARK}%s{_MARK}", "number": "%d"}
# Small enough to be escaped within the processor's cache, large enough that a statement costs nothing.
ROWS_PER_STATEMENT = 500

Value = str | int | bytes


def text(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"


class RowShape:
    """What the columns of a table hold, in order: "text", "number", or "hex" (bytes, given as hex text).

    `zeros` columns more that are 0 in every row.
    """

    def __init__(self, kinds: Sequence[str], zeros: int = 0) -> None:
        self.kinds = kinds
        self._end = ",0" * zeros + ")"
        self._format = "(" + ",".join(_FORMS[kind] for kind in kinds) + self._end
        self._marks = self._format.count(_MARK)

    def statements(self, head: str, rows: Iterable[tuple[Value, ...]], tail: str = "") -> Iterator[str]:
        """Multi-row statements of about CHUNK_BYTES at most, and at least one row each."""
        chunk: list[tuple[Value, ...]] = []
        raw: list[str] = []
        size = 0
        for row in rows:
            literal = self._format % row
            if raw and (size + len(literal) > CHUNK_BYTES or len(raw) == ROWS_PER_STATEMENT):
                yield head + self._escaped(chunk, raw) + tail
                chunk, raw, size = [], [], 0
            chunk.append(row)
            raw.append(literal)
            size += len(literal)
        if raw:
            yield head + self._escaped(chunk, raw) + tail

    def _escaped(self, rows: Sequence[tuple[Value, ...]], raw: Sequence[str]) -> str:
        joined = ",".join(raw)
        if joined.count(_MARK) != self._marks * len(rows):
            return ",".join(map(self._literal, rows))
        return joined.replace("\\", "\\\\").replace("'", "''").replace(_MARK, "'")

    def _literal(self, row: tuple[Value, ...]) -> str:
        return "(" + ",".join(map(_one, self.kinds, row)) + self._end


def _one(kind: str, value: Value) -> str:
    if kind == "number":
        return f"{int(value)}"
    return ("x" if kind == "hex" else "") + text(str(value))
