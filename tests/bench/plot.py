"""A chart as SVG, by hand: lines, points, axes, and nothing that would need a library."""

import math
from collections.abc import Sequence
from html import escape

from tests.bench.growth import Chart

WIDTH, HEIGHT = 640, 360
LEFT, RIGHT, TOP, BOTTOM = 70, 20, 44, 50
COLOURS = {"ours": "#1f6feb", "haproxy": "#bf4b00"}
OTHER = "#57606a"
STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
LINES = 5  # about so many across a chart


def ticks(most: float) -> list[float]:
    """Round numbers from 0 to the first that is not below `most`."""
    if most <= 0:
        return [0.0, 1.0]
    rough = most / LINES
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(one * power for one in STEPS if one * power >= rough * (1 - 1e-9))
    return [number * step for number in range(math.ceil(most / step - 1e-9) + 1)]


def decades(least: float, most: float) -> list[float]:
    """Powers of ten, from the last that is not above `least` to the first that is not below `most`."""
    low, high = math.floor(math.log10(least)), math.ceil(math.log10(most))
    return [10.0**power for power in range(low, max(high, low + 1) + 1)]


def short(value: float) -> str:
    """A number as one reads it on an axis."""
    for limit, letter in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= limit:
            return f"{value / limit:.3g}{letter}"
    return f"{value:.3g}"


def svg(chart: Chart) -> str:
    """The whole file."""
    xs = sorted({x for curve in chart.curves.values() for x, _ in curve})
    ys = [y for curve in chart.curves.values() for _, y in curve]
    rows = decades(min(ys), max(ys)) if chart.decades else ticks(max(ys))
    across, up = _Scale(xs, logarithmic=chart.logarithmic), _Scale(rows, logarithmic=chart.decades)

    def place(x: float, y: float) -> tuple[float, float]:
        return LEFT + across(x) * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up(y) * (HEIGHT - TOP - BOTTOM)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">'
    ]
    parts.append(f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>')
    parts.append(_text(LEFT, 20, f"{chart.title} ({chart.y})", "start", 'font-size="14"'))
    for row in rows:
        _, y = place(xs[0], row)
        parts.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#d0d7de"/>')
        parts.append(_text(LEFT - 8, y + 4, short(row), "end"))
    parts += [_text(place(x, rows[0])[0], HEIGHT - BOTTOM + 18, short(x), "middle") for x in xs]
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, chart.x, "middle"))
    for number, (name, curve) in enumerate(chart.curves.items()):
        colour = COLOURS.get(name, OTHER)
        points = [place(x, y) for x, y in curve]
        parts.append(f'<polyline points="{_points(points)}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in points]
        parts.append(_text(LEFT + 10 + 90 * number, 38, name, "start", f'fill="{colour}"'))
    return "\n".join([*parts, "</svg>", ""])


class _Scale:
    """From a value to its part of the way from the first to the last."""

    def __init__(self, values: Sequence[float], *, logarithmic: bool) -> None:
        self._logarithmic = logarithmic
        self._lowest = self._read(values[0])
        self._span = self._read(values[-1]) - self._lowest or 1.0

    def __call__(self, value: float) -> float:
        return (self._read(value) - self._lowest) / self._span

    def _read(self, value: float) -> float:
        return math.log(value) if self._logarithmic else value


def _points(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def _text(x: float, y: float, text: str, anchor: str, more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {more}>{escape(text)}</text>'
