"""The chart of a result, as SVG: how far each measure is from its goal, and P1 beside its peers."""

import math
from collections.abc import Iterable
from html import escape

from benchmarks.row import Holds, Row

_WIDTH, _LEFT, _RIGHT, _LINE, _BAR = 960, 430, 90, 26, 14
_INK, _DIM, _GOOD, _BAD, _PEER = "#24292f", "#6e7781", "#2da44e", "#cf222e", "#8c959f"
_LEAST, _MOST = 0.05, 20.0
"""The ends of the scale, which is logarithmic; what lies outside is drawn at its end."""


def draw(rows: list[Row], caption: str) -> str:
    """Draw the chart of these rows."""
    goals = [row for row in rows if row.goal is not None]
    compared = [row for row in rows if row.key == "P1" and row.baseline is not None]
    parts: list[str] = []
    top = 20.0
    top = _panel(parts, top, "Time of many entries, as a ratio to a bare pool of the same scripts (1 = the pool)", [
        (row.what.strip() if row.goal is None else "jobd", row.figure.median, _GOOD if row.goal else _PEER)
        for row in compared
    ])  # fmt: skip
    top = _panel(parts, top + 16, "Each measure as a ratio to its goal (1 = the goal; shorter is better)", [
        (f"{row.key} {row.what}", row.figure.median / (row.goal or 1), _colour(row)) for row in goals
    ])  # fmt: skip
    parts.append(_text(20, top + 22, caption, _DIM, 11))
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{top + 36:.0f}" '
        f'viewBox="0 0 {_WIDTH} {top + 36:.0f}" font-family="system-ui, sans-serif">\n'
        f'<rect width="100%" height="100%" fill="#ffffff"/>\n{body}\n</svg>\n'
    )


def _panel(parts: list[str], top: float, title: str, bars: Iterable[tuple[str, float, str]]) -> float:
    """Draw bars below a title, with a line at 1; give where the panel ends."""
    lines = list(bars)
    parts.append(_text(20, top + 8, title, _INK, 13, weight="600"))
    begin, end = top + 20, top + 24 + _LINE * len(lines)
    for tick in (0.1, 0.5, 1.0, 2.0, 5.0, 10.0):
        parts.append(_rule(_x(tick), begin, end, _INK if tick == 1.0 else "#d0d7de"))
        parts.append(_text(_x(tick), end + 12, f"{tick:g}", _DIM, 10, anchor="middle"))
    for place, (name, value, colour) in enumerate(lines):
        y = begin + 6 + _LINE * place
        parts.append(_text(_LEFT - 8, y + 11, name, _INK, 12, anchor="end"))
        width = max(1.0, _x(value) - _LEFT)
        parts.append(f'<rect x="{_LEFT}" y="{y:.0f}" width="{width:.1f}" height="{_BAR}" rx="2" fill="{colour}"/>')
        parts.append(_text(_x(value) + 6, y + 11, f"{value:.2f}", _INK, 11))
    return end + 18


def _colour(row: Row) -> str:
    return _GOOD if row.holds is Holds.YES else _BAD


def _x(value: float) -> float:
    bounded = min(max(value, _LEAST), _MOST)
    share = math.log(bounded / _LEAST) / math.log(_MOST / _LEAST)
    return _LEFT + share * (_WIDTH - _LEFT - _RIGHT)


def _text(x: float, y: float, text: str, colour: str, size: int, *, anchor: str = "start", weight: str = "400") -> str:
    look = f'fill="{colour}" font-size="{size}" text-anchor="{anchor}" font-weight="{weight}"'
    return f'<text x="{x:.1f}" y="{y:.1f}" {look}>{escape(text)}</text>'


def _rule(x: float, top: float, bottom: float, colour: str) -> str:
    return f'<line x1="{x:.1f}" y1="{top:.0f}" x2="{x:.1f}" y2="{bottom:.0f}" stroke="{colour}"/>'
