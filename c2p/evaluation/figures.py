"""Pictures of the report as inline SVG and PNG; colours come from the page, so light and dark both work."""

import base64
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from math import floor, log10

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 340, 220
LEFT, RIGHT, TOP, BOTTOM = 44, 12, 12, 32
SERIES = 8
"""Line colours the page defines."""
MARKED = 24
"""A line with more points shows only the last of them."""
LONGEST = 24
"""Letters of a class name in the confusion matrix."""
MARKS = ("circle", "square", "triangle", "diamond")
"""Shapes of points, in turn: lines differ by more than their colour."""


@dataclass(frozen=True)
class Line:
    """One line of a chart."""

    points: Sequence[tuple[float, float]]
    """(x, y) in order of x."""
    band: Sequence[tuple[float, float]] = ()
    """(low, high) at each of the points; empty: none."""
    labels: Sequence[str] = ()
    """What each point says when pointed at; empty: its name and numbers."""


def line_chart(
    lines: Mapping[str, Line],
    *,
    title: str,
    x_label: str,
    y_label: str = "",
    x_ticks: Sequence[float] = (),
    y_range: tuple[float, float] | None = None,
    log_x: bool = False,
    diagonal: bool = False,
) -> str:
    """Lines over common axes, one a name, as SVG.

    Args:
        lines: by name; at least one point in all.
        title: what a screen reader says of it.
        x_ticks: where the x axis is labelled; empty: round numbers.
        y_range: of the y axis; None: what the lines span.
        log_x: x on a logarithmic scale.
        diagonal: draw y = x behind the lines.
    """
    points = [point for line in lines.values() for point in line.points]
    ends = [value for line in lines.values() for pair in line.band for value in pair]
    xs, ys = [x for x, _ in points], [*(y for _, y in points), *ends]
    if y_range:
        xs, ys = [*xs, *(y_range if diagonal else ())], [*y_range]
    y_ticks = ticks(min(ys), max(ys), 4)
    shown = list(x_ticks) or [x for x in ticks(min(xs), max(xs), 5) if x == round(x)]
    axes = _Axes(min(xs), max(xs), min(y_ticks[0], min(ys)), max(y_ticks[-1], max(ys)), log_x)
    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}" class="chart">']
    parts += _frame(axes, shown, y_ticks, x_label, y_label)
    if diagonal:
        (x1, y1), (x2, y2) = axes.place(min(xs), min(xs)), axes.place(max(xs), max(xs))
        parts.append(f'<line class="diagonal" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>')
    for number, line in enumerate(lines.values()):
        if line.band:
            high = [axes.place(x, top) for (x, _), (_, top) in zip(line.points, line.band, strict=True)]
            low = [axes.place(x, bottom) for (x, _), (bottom, _) in zip(line.points, line.band, strict=True)]
            outline = " ".join(f"{x:.1f},{y:.1f}" for x, y in [*high, *reversed(low)])
            parts.append(f'<polygon class="band s{number % SERIES}" points="{outline}"/>')
    for number, (name, line) in enumerate(lines.items()):
        parts.append(_line(axes, number, name, line))
    return "".join(parts) + "</svg>"


def mark(number: int, x: float, y: float, *, size: float = 3.2, label: str = "") -> str:
    """A point of the line with this number, in the colour and shape that are the line's, as SVG."""
    attributes = f'class="dot s{number % SERIES}"'
    inside = f"<title>{escape(label)}</title>" if label else ""
    shape = MARKS[number % len(MARKS)]
    if shape == "circle":
        return f'<circle {attributes} cx="{x:.1f}" cy="{y:.1f}" r="{size:g}">{inside}</circle>'
    corners = {
        "square": [(-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)],
        "triangle": [(0, -1.15), (1.1, 0.85), (-1.1, 0.85)],
        "diamond": [(0, -1.25), (1.15, 0), (0, 1.25), (-1.15, 0)],
    }[shape]
    outline = " ".join(f"{x + size * a:.1f},{y + size * b:.1f}" for a, b in corners)
    return f'<polygon {attributes} points="{outline}">{inside}</polygon>'


def key_mark(number: int) -> str:
    """The line and the point of the line with this number, for a legend, as SVG."""
    line = f'<line class="line s{number % SERIES}" x1="0" y1="6" x2="22" y2="6"/>'
    return f'<svg class="mark" viewBox="0 0 22 12" aria-hidden="true">{line}{mark(number, 11, 6, size=3.6)}</svg>'


@dataclass(frozen=True)
class _Axes:
    """What a chart spans."""

    x_low: float
    x_high: float
    y_low: float
    y_high: float
    log_x: bool

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Where a point lies in the picture."""
        low, high, value = (log10(v) if self.log_x else v for v in (self.x_low, self.x_high, x))
        share = (value - low) / (high - low) if high > low else 0.5
        height = (y - self.y_low) / ((self.y_high - self.y_low) or 1)
        return LEFT + share * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - height * (HEIGHT - TOP - BOTTOM)


def _frame(
    axes: _Axes, x_ticks: Sequence[float], y_ticks: Sequence[float], x_label: str, y_label: str
) -> Iterator[str]:
    """Grid, ticks and the axes' names."""
    for value in y_ticks:
        _, y = axes.place(axes.x_low, value)
        yield f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield f'<text x="{LEFT - 6}" y="{y + 3.5:.1f}" text-anchor="end">{value:g}</text>'
    for value in x_ticks:
        if axes.x_low <= value <= axes.x_high:
            x, _ = axes.place(value, axes.y_low)
            yield f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 14}" text-anchor="middle">{value:g}</text>'
    middle = (LEFT + WIDTH - RIGHT) / 2
    yield f'<text x="{middle:.1f}" y="{HEIGHT - 3}" text-anchor="middle">{escape(x_label)}</text>'
    if y_label:
        height = (TOP + HEIGHT - BOTTOM) / 2
        turned = f'transform="translate(10 {height:.1f}) rotate(-90)" text-anchor="middle"'
        yield f"<text {turned}>{escape(y_label)}</text>"


def _line(axes: _Axes, number: int, name: str, line: Line) -> str:
    places = [axes.place(x, y) for x, y in line.points]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    labels = line.labels or [f"{name}: {y:g} at {x:g}" for x, y in line.points]
    marked = list(zip(places, labels, strict=True))[-1 if len(places) > MARKED else 0 :]
    dots = "".join(mark(number, x, y, label=label) for (x, y), label in marked)
    return f'<polyline class="line s{number % SERIES}" points="{path}"><title>{escape(name)}</title></polyline>{dots}'


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
    cell = 26 if count <= 20 else 18
    names = [name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…" for name in classes]
    margin = 12 + round(6.6 * max(len(name) for name in names))
    size = margin + cell * count + 4
    objects = confusion.sum(axis=1)
    parts = [
        f'<svg viewBox="0 0 {size} {size}" style="width:{size}px;min-width:{min(size, 520)}px" role="img" '
        'aria-label="Confusion matrix: rows actual, columns predicted" class="chart confusion">'
    ]
    for row, name in enumerate(classes):
        y = margin + row * cell
        parts.append(f'<text x="{margin - 6}" y="{y + cell / 2 + 4:.1f}" text-anchor="end">{escape(names[row])}</text>')
        x = margin + row * cell + cell / 2 + 4
        turned = f'transform="translate({x:.1f} {margin - 6}) rotate(-90)" text-anchor="start"'
        parts.append(f"<text {turned}>{escape(names[row])}</text>")
        for column, other in enumerate(classes):
            value, left = int(confusion[row, column]), margin + column * cell
            box = f'x="{left}" y="{y}" width="{cell - 1}" height="{cell - 1}" rx="3"'
            parts.append(f'<rect class="back" {box}/>')
            if not value:
                continue
            share = value / objects[row]
            kind = "right" if row == column else "wrong"
            label = f"{escape(name)} taken for {escape(other)}: {value} of {objects[row]}"
            parts.append(
                f'<rect class="{kind}" {box} fill-opacity="{0.15 + 0.85 * share:.2f}"><title>{label}</title></rect>'
            )
            if cell > 20 and value < 1000:
                bright = " strong" if share > 0.5 else ""
                parts.append(
                    f'<text class="count{bright}" x="{left + cell / 2 - 0.5:.1f}" y="{y + cell / 2 + 3.5:.1f}" '
                    f'text-anchor="middle">{value}</text>'
                )
    return "".join(parts) + "</svg>"


def png_uri(image: np.ndarray) -> str:
    """An (H, W, 3) or (H, W) uint8 picture as a data URI."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG", optimize=True)
    return data_uri(buffer.getvalue())


def data_uri(png: bytes) -> str:
    """The bytes of a PNG as a data URI."""
    return "data:image/png;base64," + base64.b64encode(png).decode()


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
