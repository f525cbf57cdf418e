"""Bars of the ratios to the floors, and of the peers' rates."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl

mpl.use("svg")
mpl.rcParams["svg.hashsalt"] = "scaiqueue"

from matplotlib import pyplot  # noqa: E402  (the backend is chosen first)
from matplotlib.axes import Axes  # noqa: E402

from loadtest.bench.measure import Row  # noqa: E402

_OURS, _OTHERS = "#2563eb", "#94a3b8"


def plot(rows: list[Row], file: Path) -> None:
    """Writes `file` as SVG and as PNG: one panel of ratios, and one of peers if there are any."""
    ratios = [row for row in rows if row.ratio is not None and row.section != "peers"]
    peers = [row for row in rows if row.section == "peers" and " drain" in row.name]
    panels = [part for part in (ratios, peers) if part]
    if not panels:
        return
    heights = [max(2.0, 0.32 * len(part)) for part in panels]
    figure, axes = pyplot.subplots(
        len(panels), 1, figsize=(10, sum(heights) + 1.5), squeeze=False, height_ratios=heights,
        layout="constrained",
    )  # fmt: skip
    for place, part in zip(axes[:, 0], panels, strict=True):
        if part is ratios:
            _ratios(place, part)
        else:
            _peers(place, part)
    figure.savefig(file.with_suffix(".svg"), metadata={"Date": None})
    figure.savefig(file.with_suffix(".png"), metadata={"Software": None})
    pyplot.close(figure)


def _ratios(axes: Axes, rows: list[Row]) -> None:
    values = [row.ratio.median for row in rows if row.ratio]
    errors = [
        [row.ratio.median - row.ratio.low for row in rows if row.ratio],
        [row.ratio.high - row.ratio.median for row in rows if row.ratio],
    ]
    names = [f"{row.section}: {row.name}" for row in rows]
    axes.barh(names, values, xerr=errors, color=_OURS)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.invert_yaxis()
    axes.set_title("Ours to the floor measured in the same minute (larger is better)")


def _peers(axes: Axes, rows: list[Row]) -> None:
    ordered = sorted(rows, key=lambda row: row.value.median)
    colours = [_OURS if row.name.startswith("scaiqueue") else _OTHERS for row in ordered]
    names = [row.name.replace(" drain", "") for row in ordered]
    axes.barh(names, [row.value.median for row in ordered], color=colours)
    axes.set_xscale("log")
    axes.set_title("Jobs done a second by one worker process (log scale)")
