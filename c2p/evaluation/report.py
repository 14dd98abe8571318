"""The report: one self-contained page with headline, tables, charts, confusion, gallery and provenance."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from PIL import Image

from c2p import params
from c2p.data.files import write_text
from c2p.evaluation.cells import Cell
from c2p.evaluation.cg3d_contents import HEADLINE, LEFT_OUT, RETRIEVAL, TABLES, ZEROSHOT
from c2p.evaluation.cg3d_gallery import Search
from c2p.evaluation.claims import check_claims
from c2p.evaluation.comparison import NOISE, SHOWN, UNTESTED, Claim
from c2p.evaluation.contents import SHOTS, shot_numbers
from c2p.evaluation.diagnosis import Bin, ClassAccuracy, Confusion
from c2p.evaluation.figures import Line, confusion_chart, contact_sheet, data_uri, key_mark, line_chart, png_uri
from c2p.evaluation.gallery import Exhibit
from c2p.evaluation.tables import Table, heading, number, over_chance, published_number

TEMPLATE = Path(__file__).with_name("report.html.j2")
TILE = 96
SEARCHES = {"text": "By text", "image": "By an RGB view", "shape": "By a shape"}
"""Headings of the retrieval gallery, by kind of query."""
MARKS = {"right": ("yes", "right"), "class": ("part", "its class"), "wrong": ("no", "another class")}
"""Colour and words of what was found."""
CURVES = {
    "loss": "Loss (Eq. 11)",
    "intra": "Intra-modality loss (Eq. 7)",
    "cross": "Cross-modality loss (Eq. 10)",
    "validation_accuracy": "Validation accuracy, depth zero-shot, %",
    "validation_class_mean": "Validation accuracy, mean of classes, %",
    "sigma": "Balance sigma",
}
"""Columns of the pre-training history that are drawn, in this order, with their titles."""
METHOD_COLOURS = {
    "pointclip": 0,
    "pointclip_v2": 3,
    "clip2point_without_pretraining": 1,
    "clip2point": 2,
    "rgb_views": 4,
}
"""Number of a method's colour in bars and tiles."""


@dataclass(frozen=True)
class StageRecord:
    """Where one stage's outputs come from; nothing that differs from run to run."""

    name: str
    summary: str
    reads: tuple[tuple[str, str], ...]
    """(path, digest) of the data it read."""
    writes: tuple[tuple[str, str], ...]
    params: tuple[tuple[str, str], ...]
    """(dotted name, value)."""
    code: str
    """Digest of the code it rests on."""


@dataclass(frozen=True)
class SceneView:
    """What CG3D made of made scenes."""

    picture: bytes
    """PNG."""
    page: str
    """A page of its own, with scripts and without anything to load."""


@dataclass(frozen=True)
class Report:
    """What the page shows; empty parts are left out or say that they are empty."""

    settings: params.Params
    cells: Sequence[Cell]
    tables: Sequence[Table]
    curves: Sequence[Mapping[str, float]] = ()
    """Rows of the pre-training histories: seed, epoch and any columns of CURVES."""
    teacher: Sequence[Mapping[str, float]] = ()
    """Rows of the teacher's history: epoch and loss."""
    confusion: Confusion | None = None
    class_methods: Sequence[str] = ()
    """Whose accuracies `classes` holds."""
    classes: Sequence[ClassAccuracy] = ()
    reliability: Mapping[str, Sequence[Bin]] = field(default_factory=dict)
    """By method."""
    exhibits: Sequence[Exhibit] = ()
    exhibits_title: str = ""
    searches: Sequence[Search] = ()
    """What CG3D's 3D encoder found, of the first seed."""
    scenes: SceneView | None = None
    used: int = 0
    """Meshes that were used."""
    rejected: Sequence[tuple[str, str]] = ()
    """(key, reason) of meshes that could not be used."""
    provenance: Mapping[str, str] = field(default_factory=dict)
    """Label to value; nothing that differs from run to run."""
    stages: Sequence[StageRecord] = ()
    missing: Sequence[str] = ()
    """What the page could not show, and what to run for it."""


def write_report(path: Path, report: Report) -> Path:
    """Write the page; same content, same bytes."""
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined)
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    page = template.render(
        report=report,
        profile=report.settings.profile,
        headline=_headline(report),
        tiles=_tiles(report),
        tables=[table for table in report.tables if table.layout.table not in TABLES],
        claims=_claims(report, cg3d=False),
        cg3d=_cg3d(report),
        bars=_bars(report),
        shots=_shots(report.cells),
        curves=_curves(report.curves, report.teacher),
        confusion=Markup(confusion_chart(report.confusion.counts, report.confusion.classes))
        if report.confusion is not None
        else None,
        reliability=_reliability(report.reliability),
        exhibits=[_exhibit(e) for e in report.exhibits],
        reasons=_reasons(report.rejected),
        heading=heading,
        number=number,
        published_number=published_number,
        over_chance=over_chance,
        key_mark=lambda n: Markup(key_mark(n)),
    )
    return write_text(path, page)


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
    main = _main_dataset(report)
    return [
        {"cell": c, "kind": METHOD_COLOURS.get(c.method, 5)}
        for c in cells
        if c.dataset == main or c.method == "rgb_views"
    ]


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
            "bars": [{"cell": cell, "kind": METHOD_COLOURS.get(cell.method, 5)} for cell in cells],
        }
        for name, cells in groups.items()
    ]


def _claims(report: Report, *, cg3d: bool) -> list[dict[str, object]]:
    """Claims of CG3D's tables, or of all others."""
    found: list[tuple[Table, Claim]] = [
        (table, claim)
        for table in report.tables
        if (table.layout.table in TABLES) == cg3d
        for claim in check_claims(table.layout.table, report.cells)
    ]
    return [
        {"place": heading(table).split(". ")[0], "claim": claim, "kind": _kind(claim.verdict)} for table, claim in found
    ]


def _cg3d(report: Report) -> dict[str, object] | None:
    """The section about CG3D; None: none of its tables is here. Without numbers it is one line."""
    tables = [table for table in report.tables if table.layout.table in TABLES]
    if not tables:
        return None
    measured = any(cell.mean is not None for cell in report.cells if cell.table in TABLES)
    if not measured:
        left_out = any(cell.why == LEFT_OUT for cell in report.cells)
        why = "cg3d.run is false: the flow ran without it" if left_out else "its stages have not run yet"
        return {"why": why, "tables": [], "claims": [], "tiles": [], "searches": [], "scenes": None}
    tiles = [
        {"cell": cell, "kind": place + 2, "what": what}
        for place, (what, cell) in enumerate(_cg3d_headline(report).items())
    ]
    found = [_search(search) for search in report.searches]
    return {
        "why": "",
        "tables": [{"table": table, "why": _empty(table)} for table in tables],
        "claims": _claims(report, cg3d=True),
        "tiles": tiles,
        "scenes": _scene_view(report.scenes),
        "searches": [
            {"title": title, "queries": queries}
            for kind, title in SEARCHES.items()
            if (queries := [one for one in found if one["kind"] == kind])
        ],
    }


def _empty(table: Table) -> str:
    """Why a table has no number of ours; empty where it has some."""
    cells = [cell for row in table.rows for cell in row.cells.values()]
    return "" if any(cell.mean is not None for cell in cells) else cells[-1].why if cells else "no cells"


def _cg3d_headline(report: Report) -> dict[str, Cell]:
    """Its main numbers by what they are."""
    wanted = {
        "zero-shot": (ZEROSHOT, "cg3d", _main_dataset(report)),
        "text to shape, R@5": (RETRIEVAL, f"{HEADLINE}_r5", "validation"),
        "image to shape, R@5": (RETRIEVAL, "image_object_r5", "validation"),
        "shape to shape, mAP": (RETRIEVAL, "shape_class_map", "validation"),
    }
    cells = {(c.table, c.method, c.dataset): c for c in report.cells if c.mean is not None}
    return {what: cells[place] for what, place in wanted.items() if place in cells}


def _scene_view(scenes: SceneView | None) -> dict[str, object] | None:
    if scenes is None:
        return None
    with Image.open(io.BytesIO(scenes.picture)) as image:
        width, height = image.size
    return {"picture": Markup(data_uri(scenes.picture)), "width": width, "height": height, "page": scenes.page}


def _search(search: Search) -> dict[str, object]:
    def picture(image: np.ndarray) -> Markup:
        return Markup(png_uri(image))

    found = [vars(one) | {"picture": picture(one.picture), "words": MARKS[one.mark]} for one in search.found]
    shown = None if search.picture is None else picture(search.picture)
    return vars(search) | {"picture": shown, "found": found}


def _kind(verdict: str) -> str:
    """Of a claim's verdict: yes, part (noise, or not everywhere), open (not tested) or no."""
    if verdict == UNTESTED:
        return "open"
    return "yes" if verdict == SHOWN else "part" if SHOWN in verdict or NOISE in verdict else "no"


def _shots(cells: Sequence[Cell]) -> dict[str, object] | None:
    """Accuracy against shots: one line a method, with its interval (or deviation) as a band."""
    lines: dict[str, Line] = {}
    for name in dict.fromkeys(c.heads[0] for c in cells if c.table == SHOTS):
        found = [c for c in cells if c.table == SHOTS and c.heads[0] == name and isinstance(c.shots, int)]
        points = [(float(c.shots), c.mean, _ends(c)) for c in found if c.mean is not None and isinstance(c.shots, int)]
        if points:
            band = [ends for _, _, ends in points if ends]
            lines[name] = Line(
                [(x, y) for x, y, _ in points],
                band if len(band) == len(points) > 1 else (),
                [f"{name}, {x:g} shots: {y:.2f} %" + (f" [{e[0]:.1f}, {e[1]:.1f}]" if e else "") for x, y, e in points],
            )
    numbers = shot_numbers(cells)
    if not lines or len(numbers) < 2:
        return None
    title = "Top-1 accuracy against training objects a class, one line a method"
    drawn = line_chart(
        lines, title=title, x_label="training objects a class", y_label="top-1, %", x_ticks=numbers, log_x=True
    )
    return {"svg": Markup(drawn), "names": list(lines)}


def _ends(cell: Cell) -> tuple[float, float] | None:
    if cell.interval or cell.mean is None or cell.std is None:
        return cell.interval
    return max(0.0, cell.mean - cell.std), min(100.0, cell.mean + cell.std)


def _curves(rows: Sequence[Mapping[str, float]], teacher: Sequence[Mapping[str, float]]) -> list[dict[str, object]]:
    charts: list[dict[str, object]] = []
    for column, title in CURVES.items():
        series: dict[str, list[tuple[float, float]]] = {}
        for row in rows:
            if column in row and np.isfinite(row[column]):
                series.setdefault(f"seed {row['seed']:g}", []).append((row["epoch"], row[column]))
        if series:
            lines = {name: Line(points) for name, points in series.items()}
            charts.append({"title": title, "svg": Markup(line_chart(lines, title=title, x_label="epoch"))})
    points = [(row["epoch"], row["loss"]) for row in teacher if np.isfinite(row.get("loss", np.nan))]
    if points:
        title = "Teacher's loss"
        charts.append({"title": title, "svg": Markup(line_chart({title: Line(points)}, title=title, x_label="epoch"))})
    return charts


def _reliability(methods: Mapping[str, Sequence[Bin]]) -> dict[str, object] | None:
    lines = {
        name: Line(
            [(b.confidence, b.accuracy) for b in bins],
            labels=[
                f"{name}: {b.count} predictions with {b.confidence:.0f} % confidence, {b.accuracy:.0f} % right"
                for b in bins
            ],
        )
        for name, bins in methods.items()
        if bins
    }
    if not lines:
        return None
    drawn = line_chart(
        lines,
        title="Accuracy against confidence, one line a method; the diagonal is perfect calibration",
        x_label="confidence, %",
        y_label="right, %",
        y_range=(0, 100),
        diagonal=True,
    )
    return {"svg": Markup(drawn), "names": list(lines)}


def _exhibit(exhibit: Exhibit) -> dict[str, object]:
    rows = [] if exhibit.rgb is None else [contact_sheet(exhibit.rgb, size=TILE)]
    rows.append(contact_sheet(exhibit.depth, size=TILE))
    width = min(row.shape[1] for row in rows)
    prediction = exhibit.prediction
    return {
        "prediction": prediction,
        "right": exhibit.right,
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
