"""Everything under results/: tables, cells and report, from metrics and predictions; and what `dvc plots` draws."""

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from c2p import params
from c2p.data.benchmarks import read_benchmark
from c2p.data.files import write_text
from c2p.evaluation.cells import Cell, stage_of
from c2p.evaluation.cg3d_contents import RETRIEVAL
from c2p.evaluation.cg3d_contents import TABLES as CG3D
from c2p.evaluation.cg3d_gallery import Search, searches
from c2p.evaluation.contents import SHOTS, build_cells
from c2p.evaluation.diagnosis import class_accuracies, confusion_of, read_seeds, reliability
from c2p.evaluation.gallery import choose_exhibits, exhibits, gallery_views
from c2p.evaluation.methods import ZEROSHOT
from c2p.evaluation.report import Report, SceneView, StageRecord, write_report
from c2p.evaluation.revision import code_revision
from c2p.evaluation.tables import PACKAGE, write_tables
from c2p.geometry.views import view_set

PROTOCOLS = ("zeroshot", "fewshot", "fullshot", "ablations", *CG3D)
"""Names of the metrics that fill the tables."""
RIGHT, WRONG = 9, 6
"""Objects in the gallery."""
SHOWN = "clip2point"
"""Method whose predictions the gallery and the confusion matrix show."""
VALIDATION = "validation"
SCENES_PICTURE, SCENES_PAGE = "scenes.png", "scenes.html"
NAMES = {
    "modelnet10": "ModelNet10",
    "modelnet40": "ModelNet40",
    "scanobjectnn_obj_only": "ScanObjectNN OBJ_ONLY",
    "scanobjectnn_obj_bg": "ScanObjectNN OBJ_BG",
    "scanobjectnn_pb_t50_rs": "ScanObjectNN PB_T50_RS",
    VALIDATION: "Validation split",
}


@dataclass(frozen=True)
class Inputs:
    """What the results are made of; whatever is absent is left out of them, and they say so."""

    metrics: Mapping[str, Mapping[str, Any]]
    """What the stages wrote, under the names of PROTOCOLS."""
    benchmarks: Sequence[Path] = ()
    """The benchmark files, the validation split among them."""
    predictions: Path | None = None
    """The zero-shot predictions."""
    rankings: Path | None = None
    """The shapes that CG3D's 3D encoders found (c2p.evaluation.cg3d_retrieval)."""
    scenes: Path | None = None
    """Folder with the picture and the view of CG3D's scenes, scenes.png and scenes.html."""
    rgb_views: Callable[[Sequence[str]], Sequence[np.ndarray]] | None = None
    """Keys of validation models to their RGB views, (V, S, S, 3) uint8 each."""
    curves: Sequence[Mapping[str, float]] = ()
    """Rows of the pre-training histories: seed, epoch, loss, intra, cross, sigma, validation_accuracy."""
    teacher: Sequence[Mapping[str, float]] = ()
    """Rows of the teacher's history: epoch, loss."""
    used: int = 0
    """Meshes that were used."""
    rejected: Sequence[tuple[str, str]] = ()
    """(key, reason) of those that were not."""
    provenance: Mapping[str, str] = field(default_factory=dict)
    """More lines for the report; nothing that differs from run to run."""
    stages: Sequence[StageRecord] = ()


def read_metrics(folder: Path) -> dict[str, dict[str, Any]]:
    """Metrics of the protocols whose stages have run, by protocol.

    Raises ValueError: a file that is not JSON.
    """
    found = {}
    for name in PROTOCOLS:
        path = folder / f"{name}.json"
        if path.is_file():
            try:
                found[name] = json.loads(path.read_text(encoding="utf-8"))
            except ValueError as error:
                raise ValueError(f"{path}: {error}; make it again with `dvc repro -f {stage_of(name)}`") from error
    return found


def dataset_names(
    settings: params.Params, benchmarks: Sequence[Path], metrics: Mapping[str, Mapping[str, Any]]
) -> dict[str, str]:
    """What people call each dataset: those with a file, those that metrics name, those that the parameters want.

    Made shapes say so; meshes are called what their file says.
    """
    files = {path.stem: path for path in benchmarks}
    wanted = (settings.fewshot.dataset, settings.fullshot.dataset)
    names = {}
    for stem in dict.fromkeys([*files, *metrics.get("zeroshot", {}), *wanted]):
        name = NAMES.get(stem) or (read_benchmark(files[stem]).name if stem in files else stem)
        made = settings.download.source == "toy" and stem in NAMES and stem != VALIDATION
        names[stem] = f"{name} (made)" if made else name
    return names


def write_results(folder: Path, settings: params.Params, inputs: Inputs, *, plots: Path | None = None) -> None:
    """Write all tables (.csv and .md), cells.csv and report.html.

    Args:
        folder: where they go.
        settings: parameters the metrics were made with.
        inputs: what they are made of.
        plots: folder for confusion.csv and shots.csv; None: they are not written.
    """
    names = dataset_names(settings, inputs.benchmarks, inputs.metrics)
    cells = build_cells(settings, inputs.metrics, names)
    tables = write_tables(folder, settings, cells, names)
    lines = {
        "Profile": settings.profile,
        "Teacher": ", ".join(filter(None, (settings.teacher.model, settings.teacher.pretrained))),
        "Pre-training seeds": ", ".join(map(str, settings.pretrain.seeds)),
        "Prompt": ", ".join(settings.zeroshot.templates) or settings.zeroshot.template,
        "Code (git tree of c2p/)": code_revision(PACKAGE),
    } | dict(inputs.provenance)
    report = Report(
        settings,
        cells,
        tables,
        curves=inputs.curves,
        teacher=inputs.teacher,
        used=inputs.used,
        rejected=inputs.rejected,
        provenance=lines,
        stages=inputs.stages,
        missing=_missing(inputs),
        searches=_searches(settings, inputs),
        scenes=_scenes(inputs.scenes),
        **_seen(settings, inputs, names),
    )
    write_report(folder / "report.html", report)
    if plots is not None:
        _write_plots(plots, settings, inputs, cells)


def _seen(settings: params.Params, inputs: Inputs, names: Mapping[str, str]) -> dict[str, Any]:
    """What predictions show, as fields of a report: confusion, classes, reliability and the gallery."""
    main, files = settings.fewshot.dataset, {path.stem: path for path in inputs.benchmarks}
    if inputs.predictions is None:
        return {}
    shown: dict[str, Any] = {}
    rows = {
        method.label: [row for seed in found for row in seed]
        for method in ZEROSHOT
        if (found := _rows(settings, inputs.predictions, main, method.slug, pretrained=method.pretrained))
    }
    ours = next(method for method in ZEROSHOT if method.slug == SHOWN).label
    if main in files and ours in rows:
        seeds = len(settings.pretrain.seeds)
        over = f", {seeds} seeds together" if seeds > 1 else ""
        classes = read_benchmark(files[main]).classes
        shown["confusion"] = confusion_of(rows[ours], classes, f"{names[main]}, zero-shot, {ours}{over}")
        pair = [label for label in rows if "CLIP2Point" in label]
        shown["class_methods"] = pair
        shown["classes"] = class_accuracies([rows[label] for label in pair], classes)
        shown["reliability"] = {label: reliability(found) for label, found in rows.items()}
    if VALIDATION in files and (found := _rows(settings, inputs.predictions, VALIDATION, SHOWN, pretrained=True)):
        picked = choose_exhibits(found[0], right=RIGHT, wrong=WRONG)
        shown["exhibits"] = exhibits(settings, read_benchmark(files[VALIDATION]), picked, inputs.rgb_views)
        pictures = "RGB views above, depth maps below" if inputs.rgb_views else "depth maps"
        shown["exhibits_title"] = f"Validation models, {pictures}; {ours}, first seed"
    return shown


def _searches(settings: params.Params, inputs: Inputs) -> list[Search]:
    """The retrieval gallery, of the first seed; empty where it can't be shown."""
    files = {path.stem: path for path in inputs.benchmarks}
    if not (inputs.metrics.get(RETRIEVAL) and inputs.rankings and inputs.rgb_views and VALIDATION in files):
        return []
    bench, places = read_benchmark(files[VALIDATION]), gallery_views(view_set(settings.render.views).names)
    seed = settings.cg3d.seeds[0]
    return searches(inputs.rankings, bench, inputs.rgb_views, dataset=VALIDATION, seed=seed, view=places[0])


def _scenes(folder: Path | None) -> SceneView | None:
    """Picture and view of the made scenes; None: they are not there."""
    if folder is None or not all((folder / name).is_file() for name in (SCENES_PICTURE, SCENES_PAGE)):
        return None
    return SceneView((folder / SCENES_PICTURE).read_bytes(), (folder / SCENES_PAGE).read_text(encoding="utf-8"))


def _rows(settings: params.Params, path: Path, dataset: str, method: str, *, pretrained: bool) -> list[Any]:
    seeds: Sequence[int | None] = settings.pretrain.seeds if pretrained else (None,)
    return read_seeds(path, dataset=dataset, method=method, seeds=seeds)


def _missing(inputs: Inputs) -> list[str]:
    """What is absent, and what to run for it."""
    lines = [
        f"metrics/{name}.json: run `dvc repro {stage_of(name)}`; its tables are empty here"
        for name in PROTOCOLS
        if name not in inputs.metrics
    ]
    if inputs.predictions is None:
        lines.append("zero-shot predictions: run `dvc repro zeroshot`; no confusion, no classes and no gallery here")
    if not inputs.curves:
        lines.append("plots/pretrain.csv: run `dvc repro select`; no pre-training curves here")
    return lines


def _write_plots(folder: Path, settings: params.Params, inputs: Inputs, cells: Sequence[Cell]) -> None:
    """Write confusion.csv (actual, predicted; a row an object and seed) and shots.csv (a row a point of the chart)."""
    rows: list[Any] = []
    if inputs.predictions is not None:
        found = _rows(settings, inputs.predictions, settings.fewshot.dataset, SHOWN, pretrained=True)
        rows = [(row.actual, row.predicted) for seed in found for row in seed]
    _write_csv(folder / "confusion.csv", ("actual", "predicted"), rows)
    points = [
        (c.shots, c.heads[0], c.mean, *(c.interval or (c.mean, c.mean)))
        for c in cells
        if c.table == SHOTS and isinstance(c.shots, int) and c.mean is not None
    ]
    _write_csv(folder / "shots.csv", ("shots", "method", "accuracy", "low", "high"), points)


def _write_csv(path: Path, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    write_text(path, text.getvalue())
