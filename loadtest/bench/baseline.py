"""The ratios that a change may not lose: saved once, compared from then on."""

from __future__ import annotations

from pathlib import Path

import msgspec

from loadtest.bench.measure import Row

FILE = Path(__file__).parents[1] / "baseline.json"
TOLERANCE = 0.15
SECTIONS = ("scripts", "http", "persister")


def ratios(rows: list[Row]) -> dict[str, float]:
    """Median ratios by section and name; peers are others' work and stay out."""
    return {
        f"{row.section}: {row.name}": round(row.ratio.median, 4)
        for row in rows
        if row.ratio is not None and row.section in SECTIONS
    }


def save(rows: list[Row], file: Path = FILE) -> None:
    """Replace what was saved of the cases in `rows`; other sections stay."""
    known = load(file) if file.exists() else {}
    file.write_bytes(msgspec.json.format(msgspec.json.encode({**known, **ratios(rows)}), indent=1) + b"\n")


def load(file: Path = FILE) -> dict[str, float]:
    return msgspec.json.decode(file.read_bytes(), type=dict[str, float])


def losses(rows: list[Row], file: Path = FILE) -> list[str]:
    """Cases that lost more than 15 % and whose best round is below the baseline, too; a line for each.

    The best round counts because a busy machine makes single rounds worse, never better.
    """
    saved = load(file)
    found = []
    for row in rows:
        before = saved.get(f"{row.section}: {row.name}")
        if before is None or row.ratio is None:
            continue
        if row.ratio.median < before * (1 - TOLERANCE) and row.ratio.high < before:
            found.append(f"{row.section}: {row.name}: ratio {row.ratio.median:.2f}, baseline {before:.2f}")
    return found
