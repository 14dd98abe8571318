"""The trend: accuracy of one checkpoint after the other, a panel a benchmark set, as a PNG."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from c2p.data.files import write_atomic
from c2p.evaluation.history import Row

COLUMNS = 3
PANEL = (4.2, 2.9)
"""Width and height, inches."""
COLOURS = ("#3366cc", "#e08214", "#2a9d6f", "#b2386c", "#7a5fb0", "#8a6d3b")
MARKS = ("o", "s", "^", "D", "v", "P")
"""Seeds differ by more than their colour."""
TICKS = 5
GREY = "#8c8c8c"


def draw_trend(path: Path, rows: Sequence[Row], names: Mapping[str, str] | None = None) -> Path:
    """Draw a history; bars are the 95 % intervals over test objects, a dotted line marks other objects under a name.

    rows: in order of time, at least one. names: what people call the sets.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    assert rows, "a history without rows"
    datasets = sorted({row["dataset"] for row in rows})
    seeds = sorted({row["seed"] for row in rows}, key=lambda seed: (seed is None, seed or 0))
    columns = min(COLUMNS, len(datasets))
    lines = -(-len(datasets) // columns)
    figure = Figure(figsize=(PANEL[0] * columns, PANEL[1] * lines + 0.7), layout="constrained", dpi=110)
    FigureCanvasAgg(figure)
    panels = list(figure.subplots(lines, columns, squeeze=False).flat)
    for panel, dataset in zip(panels, datasets, strict=False):
        _draw_panel(panel, [row for row in rows if row["dataset"] == dataset], seeds)
        panel.set_title((names or {}).get(dataset, dataset), fontsize=10, loc="left", fontweight="bold")
    for panel in panels[len(datasets) :]:
        panel.set_axis_off()
    figure.supylabel("zero-shot top-1, %", fontsize=9)
    figure.suptitle("Every checkpoint evaluated, in the order of its evaluation", fontsize=11, x=0.01, ha="left")
    handles, labels = _legend(panels[: len(datasets)])
    figure.legend(handles, labels, loc="outside lower left", ncols=8, fontsize=8, frameon=False)
    return write_atomic(path, lambda temporary: figure.savefig(temporary, format="png"))


def _draw_panel(panel: Any, rows: Sequence[Row], seeds: Sequence[int | None]) -> None:
    for number, seed in enumerate(seeds):
        points = [(place, row) for place, row in enumerate(rows, 1) if row["seed"] == seed]
        if not points:
            continue
        heights = [row["accuracy"] for _, row in points]
        below = [row["accuracy"] - row["low"] for _, row in points]
        above = [row["high"] - row["accuracy"] for _, row in points]
        colour = COLOURS[number % len(COLOURS)]
        bars = {"elinewidth": 1.1, "capsize": 0, "ecolor": f"{colour}66"}
        line = {"color": colour, "marker": MARKS[number % len(MARKS)], "markersize": 4.5, "linewidth": 1.3}
        label = "no seed known" if seed is None else f"seed {seed}"
        panel.errorbar([place for place, _ in points], heights, yerr=[below, above], label=label, **line, **bars)
    chance = rows[-1]["chance"]
    panel.axhline(chance, color=GREY, linewidth=0.9, linestyle="--", label="chance")
    for place in range(1, len(rows)):
        if rows[place]["data_rev"] != rows[place - 1]["data_rev"]:
            panel.axvline(place + 0.5, color=GREY, linewidth=0.9, linestyle=":", label="other objects")
    _dress(panel, rows)


def _dress(panel: Any, rows: Sequence[Row]) -> None:
    """Limits, ticks with dates, a quiet grid."""
    values = [row[name] for row in rows for name in ("low", "high", "chance")]
    room = 0.08 * (max(values) - min(values)) + 1
    panel.set_ylim(max(0, min(values) - room), min(100, max(values) + room) + 0.5)
    panel.set_xlim(0.5, len(rows) + 0.5)
    step = -(-len(rows) // TICKS)
    places = range(1, len(rows) + 1, step)
    panel.set_xticks(places, [f"{place}\n{rows[place - 1]['when']:%d %b}" for place in places])
    panel.tick_params(labelsize=7.5, length=2.5, color=GREY)
    panel.grid(axis="y", color="#e6e6e6", linewidth=0.8)
    panel.set_axisbelow(True)
    for side in ("top", "right"):
        panel.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        panel.spines[side].set_color(GREY)


def _legend(panels: Sequence[Any]) -> tuple[list[Any], list[str]]:
    """Each label once, in the order of first appearance."""
    found: dict[str, Any] = {}
    for panel in panels:
        for handle, label in zip(*panel.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    seeds = {label: handle for label, handle in found.items() if label.startswith(("seed", "no seed"))}
    ordered = seeds | found
    return list(ordered.values()), list(ordered)
