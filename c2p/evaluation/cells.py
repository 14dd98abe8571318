"""A cell of a table: what was measured, beside what was published; and all of them in long form, cells.csv."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from c2p.data.files import write_text
from c2p.evaluation.published import Published

OTHER_NETWORK = "another network: published numbers only"
STAGES = {"cg3d_zeroshot": "cg3d_evaluate", "cg3d_retrieval": "cg3d_evaluate"}
"""Stages whose metrics have other names than they."""
HEADER = (
    *("table", "row", "column", "dataset", "method", "pretrained", "views", "shots", "metric"),
    *("mean", "std", "n_seeds", "chance", "published", "published_source", "profile", "data_rev", "git_rev"),
    *("low", "high", "class_mean", "top3", "top5", "ece", "why"),
)
"""Columns of cells.csv."""


@dataclass(frozen=True)
class Cell:
    """One number of a table; accuracies are in percent, None where there is none."""

    table: str
    heads: tuple[str, ...]
    """What stands at the head of its row."""
    column: str
    dataset: str = ""
    method: str = ""
    pretrained: bool | None = None
    views: int | None = None
    shots: int | str | None = None
    """0: zero-shot; `all`: every training object."""
    metric: str = "top1"
    """What `mean` is; it decides nothing here."""
    mean: float | None = None
    """Top-1 accuracy, or what `metric` says; the mean over seeds where there are seeds."""
    std: float | None = None
    """Sample standard deviation over seeds."""
    n_seeds: int | None = None
    interval: tuple[float, float] | None = None
    """Ends of the 95 % bootstrap interval of `mean`, over test objects and seeds."""
    class_mean: float | None = None
    """Mean of the classes' accuracies."""
    top3: float | None = None
    top5: float | None = None
    ece: float | None = None
    """Expected calibration error."""
    chance: float | None = None
    published: Published | None = None
    data_rev: str = ""
    """Digest of the benchmark file and the weights of the encoders behind the number."""
    why: str = ""
    """Why there is no number of ours; empty where there is one."""


def find_cell(
    metrics: Mapping[str, Mapping[str, Any]],
    protocol: str,
    dataset: str,
    method: str,
    *,
    table: str,
    curve: int | None = None,
    missing: str = "",
    **fields: Any,
) -> Cell:
    """A cell of ours: its number from the metrics of a protocol, or why there is none.

    Args:
        metrics: by protocol, what the protocols returned; one whose stage has not run is absent.
        curve: take the accuracy with so many shots from the curve of accuracy against shots.
        missing: why there can't be a number, where that is known beforehand.
        fields: the cell's other fields.
    """
    found = metrics.get(protocol, {}).get(dataset, {})
    values = (found if curve is None else found.get("curve", {}).get(str(curve), {})).get(method)
    if missing or values is None:
        why = missing or _absent(metrics, protocol, dataset, method)
        return Cell(table, dataset=dataset, method=method, why=why, **fields)
    low_high = values.get("interval")
    return Cell(
        table,
        dataset=dataset,
        method=method,
        mean=values["mean"],
        std=values.get("std"),
        n_seeds=len(values.get("seeds", {})) or None,
        interval=(low_high[0], low_high[1]) if low_high else None,
        **{name: values.get(name) for name in ("class_mean", "top3", "top5", "ece")},
        chance=values.get("chance", found.get("set", {}).get("chance")),
        data_rev=values.get("inputs", ""),
        **fields,
    )


def other_cell(table: str, heads: tuple[str, ...], column: str, number: Published | None) -> Cell:
    """A cell that only others have measured."""
    return Cell(table, heads, column, published=number, why=OTHER_NETWORK)


def write_cells(path: Path, cells: Sequence[Cell], *, profile: str, git_rev: str) -> Path:
    """Write the cells as CSV, one row a cell; percent, empty where not defined."""
    text = io.StringIO()
    writer = csv.DictWriter(text, HEADER, lineterminator="\n")
    writer.writeheader()
    for cell in cells:
        row = {
            "row": ", ".join(cell.heads),
            "pretrained": None if cell.pretrained is None else str(cell.pretrained).lower(),
            "low": cell.interval[0] if cell.interval else None,
            "high": cell.interval[1] if cell.interval else None,
            "published": cell.published.value if cell.published else None,
            "published_source": cell.published.source if cell.published else None,
            "profile": profile,
            "git_rev": git_rev if cell.mean is not None else None,
        }
        writer.writerow({name: row[name] if name in row else getattr(cell, name) for name in HEADER})
    return write_text(path, text.getvalue())


def stage_of(protocol: str) -> str:
    """The stage that writes metrics/<protocol>.json."""
    return STAGES.get(protocol, protocol)


def _absent(metrics: Mapping[str, Any], protocol: str, dataset: str, method: str) -> str:
    """Why a number isn't in the metrics."""
    place = f"metrics/{protocol}.json"
    if protocol not in metrics:
        return f"there is no {place}: run `dvc repro {stage_of(protocol)}`"
    if dataset not in metrics[protocol]:
        return f"{place} has no {dataset}: the set was not evaluated"
    return f"{place} has no {method} on {dataset}: run `dvc repro {stage_of(protocol)}` if it is older than the method"
