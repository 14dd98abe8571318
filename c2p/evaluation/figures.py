"""Pictures of the report as inline SVG and PNG; colours come from the page, so light and dark both work."""

import base64
import io
from collections.abc import Mapping, Sequence
from html import escape
from math import floor, log10

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 340, 210
LEFT, RIGHT, TOP, BOTTOM = 44, 10, 12, 30
SERIES = 6
"""Line colours the page defines."""


def line_chart(series: Mapping[str, Sequence[tuple[float, float]]], *, x_label: str, title: str) -> str:
    """Lines over a common axis, one a name, as SVG.

    series: points (x, y) in order of x, by name; at least one point in all.
    """
    points = [point for line in series.values() for point in line]
    xs, ys = [x for x, _ in points], [y for _, y in points]
    x_ticks = [x for x in ticks(min(xs), max(xs), 5) if x == round(x)]
    y_ticks = ticks(min(ys), max(ys), 4)
    x_low, x_high = min(xs), max(max(xs), min(xs) + 1e-9)
    y_low, y_high = min(y_ticks[0], min(ys)), max(y_ticks[-1], max(ys))

    def place(x: float, y: float) -> tuple[float, float]:
        across = LEFT + (x - x_low) / (x_high - x_low) * (WIDTH - LEFT - RIGHT)
        up = HEIGHT - BOTTOM - (y - y_low) / ((y_high - y_low) or 1) * (HEIGHT - TOP - BOTTOM)
        return across, up

    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}" class="chart">']
    for value in y_ticks:
        _, y = place(x_low, value)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 3.5:.1f}" text-anchor="end">{value:g}</text>')
    for value in x_ticks:
        if x_low <= value <= x_high:
            x, _ = place(value, y_low)
            parts.append(f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 14}" text-anchor="middle">{value:g}</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<text x="{middle:.1f}" y="{HEIGHT - 3}" text-anchor="middle">{escape(x_label)}</text>')
    for number, (name, line) in enumerate(series.items()):
        path = " ".join("{:.1f},{:.1f}".format(*place(x, y)) for x, y in line)
        label = f"<title>{escape(name)}</title>"
        parts.append(f'<polyline class="line s{number % SERIES}" points="{path}">{label}</polyline>')
        x, y = place(*line[-1])
        parts.append(f'<circle class="dot s{number % SERIES}" cx="{x:.1f}" cy="{y:.1f}" r="2.6"/>')
    return "".join(parts) + "</svg>"


def ticks(low: float, high: float, count: int) -> list[float]:
    """Round numbers that span low to high, about count of them."""
    span = (high - low) or abs(high) or 1.0
    raw = span / max(1, count - 1)
    base = 10.0 ** floor(log10(raw))
    step = next(base * factor for factor in (1, 2, 2.5, 5, 10) if base * factor >= raw * 0.999)
    first = floor(low / step + 1e-9)
    values = [round(step * n, 10) for n in range(first, first + count + 3)]
    last = next((n for n, value in enumerate(values) if value >= high - 1e-9), len(values) - 1)
    return values[: last + 1]


def confusion_chart(confusion: np.ndarray, classes: Sequence[str]) -> str:
    """Confusion matrix (K, K) of counts as SVG: rows actual, columns predicted, shade the share of the row."""
    count = len(classes)
    cell = 26 if count <= 20 else 16
    margin = 8 + round(6.6 * max(len(name) for name in classes))
    size = margin + cell * count + 4
    objects = confusion.sum(axis=1)
    parts = [
        f'<svg viewBox="0 0 {size} {size}" style="min-width:{min(size, 520)}px" role="img" '
        'aria-label="Confusion matrix: rows actual, columns predicted" class="chart confusion">'
    ]
    for row, name in enumerate(classes):
        y = margin + row * cell
        parts.append(f'<text x="{margin - 6}" y="{y + cell / 2 + 4:.1f}" text-anchor="end">{escape(name)}</text>')
        x = margin + row * cell + cell / 2 + 4
        parts.append(
            f'<text transform="translate({x:.1f} {margin - 6}) rotate(-90)" text-anchor="start">{escape(name)}</text>'
        )
        for column, other in enumerate(classes):
            value = int(confusion[row, column])
            share = value / objects[row] if objects[row] else 0.0
            kind = "right" if row == column else "wrong"
            left = margin + column * cell
            parts.append(
                f'<rect class="back" x="{left}" y="{y}" width="{cell - 1}" height="{cell - 1}" rx="3"/>'
                if not value
                else f'<rect class="back" x="{left}" y="{y}" width="{cell - 1}" height="{cell - 1}" rx="3"/>'
                f'<rect class="{kind}" x="{left}" y="{y}" width="{cell - 1}" height="{cell - 1}" rx="3" '
                f'fill-opacity="{0.15 + 0.85 * share:.2f}">'
                f"<title>{escape(name)} taken for {escape(other)}: {value} of {objects[row]}</title></rect>"
            )
            if value and cell > 20:
                bright = " strong" if share > 0.55 else ""
                parts.append(
                    f'<text class="count{bright}" x="{left + cell / 2 - 0.5:.1f}" y="{y + cell / 2 + 3.5:.1f}" '
                    f'text-anchor="middle">{value}</text>'
                )
    return "".join(parts) + "</svg>"


def png_uri(image: np.ndarray) -> str:
    """An (H, W, 3) or (H, W) uint8 picture as a data URI."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def contact_sheet(views: np.ndarray, *, size: int) -> np.ndarray:
    """Views (V, H, W, 3) or (V, H, W) uint8 side by side, each scaled to size pixels: (size, V * size, 3) uint8."""
    tiles = []
    for view in views:
        picture = Image.fromarray(view).convert("RGB")
        enlarged = picture.size[0] < size
        tiles.append(
            np.asarray(picture.resize((size, size), Image.Resampling.NEAREST if enlarged else Image.Resampling.BOX))
        )
    return np.concatenate(tiles, axis=1)
