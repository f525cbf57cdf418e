"""docs/state-machine.svg: the transition table as a picture, which needs nothing but a browser."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from math import hypot
from typing import NamedTuple

WIDTH, HEIGHT = 1180, 700
BOX = (150, 44)


class Place(NamedTuple):
    x: float
    y: float
    colour: str


PLACES = {
    "awaiting_review": Place(330, 84, "#8250df"),
    "scheduled": Place(330, 250, "#0969da"),
    "pending": Place(330, 440, "#1a7f37"),
    "claimed": Place(690, 350, "#bc4c00"),
    "dead_letter": Place(330, 630, "#cf222e"),
    "completed": Place(1070, 150, "#57606a"),
    "expired": Place(1070, 350, "#57606a"),
    "cancelled": Place(1070, 560, "#57606a"),
    "none": Place(80, 345, "#57606a"),
}
# How far an edge is bent, and where on it its text stands; the rest are straight and have it in the middle.
BENDS: dict[tuple[str, str], tuple[float, float]] = {
    ("pending", "claimed"): (-40, 0.5),
    ("claimed", "pending"): (-40, 0.35),
    ("claimed", "scheduled"): (40, 0.5),
    ("claimed", "dead_letter"): (-60, 0.55),
    ("dead_letter", "claimed"): (130, 0.35),
    ("dead_letter", "pending"): (45, 0.5),
    ("scheduled", "dead_letter"): (-150, 0.35),
    ("awaiting_review", "pending"): (220, 0.35),
    ("scheduled", "pending"): (0, 0.5),
    ("pending", "cancelled"): (100, 0.42),
    ("scheduled", "cancelled"): (-10, 0.78),
    ("awaiting_review", "cancelled"): (-20, 0.72),
    ("dead_letter", "cancelled"): (40, 0.5),
    ("pending", "expired"): (-10, 0.8),
    ("scheduled", "expired"): (-60, 0.3),
    ("awaiting_review", "expired"): (-50, 0.4),
    ("awaiting_review", "completed"): (-30, 0.5),
}


def picture(edges: Sequence[tuple[str, str, Sequence[str]]]) -> str:
    """The SVG of `edges`: state, next state, verbs. That the index forgets what is final is left out."""
    shown = [edge for edge in edges if edge[1] != "none"]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img"',
            '  font-family="system-ui, sans-serif" font-size="14">',
            "<title>States of a message</title>",
            f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
            *_markers(),
            *(line for edge in shown for line in _edge(*edge)),
            *(line for edge in shown for line in _label(*edge)),
            *(line for name in PLACES for line in _state(name)),
            "</svg>\n",
        ]
    )


def _markers() -> Iterator[str]:
    for colour in sorted({place.colour for place in PLACES.values()}):
        yield (
            f'<marker id="arrow-{colour[1:]}" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8" '
            f'markerHeight="8" orient="auto"><path d="M0 0L10 5L0 10z" fill="{colour}"/></marker>'
        )


def _curve(state: str, to: str) -> tuple[tuple[float, float], ...]:
    """Start, bending point and end, the ends on the boxes' borders."""
    a, b = PLACES[state], PLACES[to]
    bend, _ = BENDS.get((state, to), (0, 0.5))
    dx, dy = b.x - a.x, b.y - a.y
    length = hypot(dx, dy)
    middle = ((a.x + b.x) / 2 - dy / length * bend, (a.y + b.y) / 2 + dx / length * bend)
    return _border(a, middle), middle, _border(b, middle)


def _border(place: Place, towards: tuple[float, float]) -> tuple[float, float]:
    dx, dy = towards[0] - place.x, towards[1] - place.y
    scale = min((BOX[0] / 2 + 3) / abs(dx) if dx else 9e9, (BOX[1] / 2 + 3) / abs(dy) if dy else 9e9)
    return place.x + dx * scale, place.y + dy * scale


def _edge(state: str, to: str, verbs: Sequence[str]) -> Iterator[str]:
    colour = PLACES[state].colour
    if state == to:
        x, y, side = PLACES[state].x, PLACES[state].y - BOX[1] / 2, 28
        path = f"M{x - side} {y}C{x - side} {y - 52} {x + side} {y - 52} {x + side} {y - 3}"
    else:
        (ax, ay), (mx, my), (bx, by) = _curve(state, to)
        path = f"M{ax:.0f} {ay:.0f}Q{mx:.0f} {my:.0f} {bx:.0f} {by:.0f}"
    yield f'<path d="{path}" fill="none" stroke="{colour}" marker-end="url(#arrow-{colour[1:]})"/>'


def _label(state: str, to: str, verbs: Sequence[str]) -> Iterator[str]:
    place = PLACES[state]
    if state == to:
        x, y = place.x, place.y - BOX[1] / 2 - 44
    else:
        t = BENDS.get((state, to), (0, 0.5))[1]
        start, middle, end = _curve(state, to)
        x, y = (
            (1 - t) ** 2 * p + 2 * t * (1 - t) * q + t * t * r
            for p, q, r in zip(start, middle, end, strict=True)
        )
    text = escape(", ".join(verbs))
    halo = 'stroke="#ffffff" stroke-width="5" stroke-linejoin="round"'
    for drawn in (halo, f'fill="{place.colour}"'):
        yield f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="middle" font-size="12" {drawn}>{text}</text>'


def _state(name: str) -> Iterator[str]:
    x, y, colour = PLACES[name]
    if name == "none":
        yield f'<circle cx="{x}" cy="{y}" r="10" fill="{colour}"/>'
        return
    left, top = x - BOX[0] / 2, y - BOX[1] / 2
    yield (
        f'<rect x="{left:.0f}" y="{top:.0f}" width="{BOX[0]}" height="{BOX[1]}" rx="8" fill="#ffffff" '
        f'stroke="{colour}" stroke-width="2"/>'
    )
    yield f'<text x="{x}" y="{y + 5}" text-anchor="middle" fill="{colour}">{name}</text>'
