"""The report: one self-contained page with headline, tables, curves, confusion, gallery and provenance."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from c2p import params
from c2p.data.files import write_text
from c2p.evaluation.cells import Cell
from c2p.evaluation.claims import check_claims
from c2p.evaluation.figures import confusion_chart, contact_sheet, line_chart, png_uri
from c2p.evaluation.predictions import Prediction, confusion_counts
from c2p.evaluation.tables import Table, heading, number, published_number

TEMPLATE = Path(__file__).with_name("report.html.j2")
TILE = 96
GALLERY_VIEWS = ("front", "right", "below front right", "below back left", "top")
CURVES = {
    "loss": "Loss (Eq. 11)",
    "intra": "Intra-modality loss (Eq. 7)",
    "cross": "Cross-modality loss (Eq. 10)",
    "validation_accuracy": "Validation accuracy, depth zero-shot, %",
    "sigma": "Balance sigma",
}
"""Columns of the pre-training history that are drawn, in this order, with their titles."""
METHOD_CLASSES = {
    "pointclip": "m0",
    "clip2point_without_pretraining": "m1",
    "clip2point": "m2",
    "rgb_views": "m3",
}


@dataclass(frozen=True)
class Exhibit:
    """One object in the gallery."""

    prediction: Prediction
    depth: np.ndarray
    """(V, H, W) uint8 depth pictures."""
    rgb: np.ndarray | None
    """(V, S, S, 3) uint8 RGB views; None: it has none."""


@dataclass(frozen=True)
class Confusion:
    """A confusion matrix and what it is of."""

    title: str
    classes: tuple[str, ...]
    counts: np.ndarray
    """(K, K) int64, rows actual."""


@dataclass(frozen=True)
class Report:
    """What the page shows; empty parts are left out or say that they are empty."""

    settings: params.Params
    cells: Sequence[Cell]
    tables: Sequence[Table]
    curves: Sequence[Mapping[str, float]] = ()
    """Rows of the pre-training histories: seed, epoch and any columns of CURVES."""
    confusion: Confusion | None = None
    exhibits: Sequence[Exhibit] = ()
    exhibits_title: str = ""
    used: int = 0
    """Meshes that were used."""
    rejected: Sequence[tuple[str, str]] = ()
    """(key, reason) of meshes that could not be used."""
    provenance: Mapping[str, str] = field(default_factory=dict)
    """Label to value; nothing that differs from run to run."""


def write_report(path: Path, report: Report) -> Path:
    """Write the page; same content, same bytes."""
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined)
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    page = template.render(
        report=report,
        profile=report.settings.profile,
        headline=_headline(report),
        tiles=_tiles(report),
        claims=[
            (f"Table {table.layout.table}", claim)
            for table in report.tables
            for claim in check_claims(table.layout.table, [c for c in report.cells if c.table == table.layout.table])
        ],
        bars=_bars(report),
        curves=_curves(report.curves),
        confusion=Markup(confusion_chart(report.confusion.counts, report.confusion.classes))
        if report.confusion is not None
        else None,
        exhibits=[_exhibit(e) for e in report.exhibits],
        reasons=_reasons(report.rejected),
        heading=heading,
        number=number,
        published_number=published_number,
    )
    return write_text(path, page)


def choose_exhibits(predictions: Sequence[Prediction], *, right: int, wrong: int) -> list[Prediction]:
    """Some objects classified right and some wrong: one a class while that lasts, drawn by the hash of their keys."""
    ranked = sorted(predictions, key=lambda p: hashlib.sha256(p.key.encode()).digest())
    chosen: list[Prediction] = []
    for wanted, count in ((True, right), (False, wrong)):
        group = [p for p in ranked if (p.actual == p.predicted) == wanted]
        seen: dict[str, int] = {}
        turns = []
        for row in group:
            seen[row.actual] = seen.get(row.actual, 0) + 1
            turns.append(seen[row.actual])
        order = sorted(range(len(group)), key=turns.__getitem__)
        chosen += [group[place] for place in order[:count]]
    return chosen


def confusion_of(predictions: Sequence[Prediction], classes: Sequence[str], title: str) -> Confusion:
    """Count predictions by actual and predicted class."""
    return Confusion(title, tuple(classes), confusion_counts(predictions, classes))


def gallery_views(names: Sequence[str]) -> list[int]:
    """Places of the views the gallery shows: five telling ones, or the first five where they aren't all there."""
    if set(GALLERY_VIEWS) <= set(names):
        return [list(names).index(name) for name in GALLERY_VIEWS]
    return list(range(min(len(GALLERY_VIEWS), len(names))))


def _main_dataset(report: Report) -> str:
    """The set the headline is about: the few-shot one, where Table 1 has it."""
    sets = [cell.dataset for cell in report.cells if cell.table == "1"]
    wanted = report.settings.fewshot.dataset
    return wanted if wanted in sets else (sets or [""])[0]


def _headline(report: Report) -> str:
    cells = {c.method: c for c in report.cells if c.table == "1" and c.dataset == _main_dataset(report)}
    before, after = cells.get("clip2point_without_pretraining"), cells.get("clip2point")
    if before is None or after is None or before.mean is None or after.mean is None:
        return "No zero-shot numbers yet"
    return (
        f"Depth maps, read zero-shot on {after.heads[0]}: {before.mean:.1f} % before image-depth pre-training, "
        f"{after.mean:.1f} % after"
    )


def _tiles(report: Report) -> list[dict[str, object]]:
    cells = [c for c in report.cells if c.table == "1" and c.mean is not None]
    main = [c for c in cells if c.dataset == _main_dataset(report)]
    tiles: list[dict[str, object]] = [
        {"label": c.column, "cell": c, "kind": METHOD_CLASSES.get(c.method, "m0"), "set": c.heads[0]} for c in main
    ]
    tiles += [
        {"label": c.column, "cell": c, "kind": METHOD_CLASSES[c.method], "set": c.heads[0]}
        for c in cells
        if c.method == "rgb_views"
    ]
    return tiles


def _bars(report: Report) -> list[dict[str, object]]:
    """Table 1 by set: one bar a method and the level of chance."""
    groups: dict[str, list[Cell]] = {}
    for cell in report.cells:
        if cell.table == "1" and cell.mean is not None:
            groups.setdefault(cell.heads[0], []).append(cell)
    return [
        {
            "set": name,
            "chance": cells[0].chance,
            "bars": [{"cell": cell, "kind": METHOD_CLASSES.get(cell.method, "m0")} for cell in cells],
        }
        for name, cells in groups.items()
    ]


def _curves(rows: Sequence[Mapping[str, float]]) -> list[dict[str, object]]:
    charts: list[dict[str, object]] = []
    for column, title in CURVES.items():
        series: dict[str, list[tuple[float, float]]] = {}
        for row in rows:
            if column in row and np.isfinite(row[column]):
                series.setdefault(f"seed {row['seed']:g}", []).append((row["epoch"], row[column]))
        if series:
            drawn = Markup(line_chart(series, x_label="epoch", title=title))
            charts.append({"title": title, "svg": drawn, "names": list(series)})
    return charts


def _exhibit(exhibit: Exhibit) -> dict[str, object]:
    rows = [] if exhibit.rgb is None else [contact_sheet(exhibit.rgb, size=TILE)]
    rows.append(contact_sheet(exhibit.depth, size=TILE))
    width = min(row.shape[1] for row in rows)
    prediction = exhibit.prediction
    return {
        "prediction": prediction,
        "right": prediction.actual == prediction.predicted,
        "picture": Markup(png_uri(np.concatenate([row[:, :width] for row in rows]))),
        "rows": len(rows),
        "columns": width // TILE,
        "top": [
            {"name": name, "share": 100 * share, "right": name == prediction.actual}
            for name, share in zip(prediction.top, prediction.shares, strict=True)
        ],
    }


def _reasons(rejected: Sequence[tuple[str, str]]) -> list[tuple[str, list[str]]]:
    """Reasons with the keys they struck, the most frequent first."""
    groups: dict[str, list[str]] = {}
    for key, reason in rejected:
        groups.setdefault(reason, []).append(key)
    return sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))
