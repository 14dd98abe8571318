"""Everything under results/: tables, cells and report, from metrics and predictions.

Legend: V view, H = W pixels.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from c2p import params
from c2p.data.benchmarks import Benchmark, read_benchmark
from c2p.evaluation.cells import build_cells
from c2p.evaluation.methods import ZEROSHOT, find
from c2p.evaluation.predictions import Prediction, read_predictions
from c2p.evaluation.report import Exhibit, Report, choose_exhibits, confusion_of, gallery_views, write_report
from c2p.evaluation.revision import code_revision
from c2p.evaluation.tables import PACKAGE, write_tables
from c2p.geometry.depth import depth_images, depth_maps
from c2p.geometry.views import view_set

RIGHT, WRONG = 9, 6
"""Objects in the gallery."""
SHOWN = "clip2point"
"""Method whose predictions the gallery and the confusion matrix show."""
VALIDATION = "validation"

NAMES = {
    "modelnet10": "ModelNet10",
    "modelnet40": "ModelNet40",
    "scanobjectnn_obj_only": "ScanObjectNN OBJ_ONLY",
    "scanobjectnn_obj_bg": "ScanObjectNN OBJ_BG",
    "scanobjectnn_pb_t50_rs": "ScanObjectNN PB_T50_RS",
    VALIDATION: "Validation split",
}


def dataset_names(settings: params.Params, benchmarks: Sequence[Path]) -> dict[str, str]:
    """What people call each benchmark file; made shapes say so, meshes are called what their file says."""
    names = {}
    for path in benchmarks:
        name = NAMES.get(path.stem) or read_benchmark(path).name
        made = settings.download.source == "toy" and path.stem in NAMES and path.stem != VALIDATION
        names[path.stem] = f"{name} (made)" if made else name
    return names


def write_results(
    folder: Path,
    settings: params.Params,
    *,
    metrics: Mapping[str, Mapping[str, Any]],
    benchmarks: Sequence[Path],
    predictions: Path | None = None,
    rgb_views: Callable[[Sequence[str]], Sequence[np.ndarray]] | None = None,
    curves: Sequence[Mapping[str, float]] = (),
    used: int = 0,
    rejected: Sequence[tuple[str, str]] = (),
    provenance: Mapping[str, str] | None = None,
) -> None:
    """Write table1 to table5 and controls (.csv and .md), cells.csv and report.html.

    Args:
        folder: where they go.
        settings: parameters the metrics were made with.
        metrics: what run_zeroshot, run_fewshot, run_fullshot and run_ablations gave, under these names.
        benchmarks: the benchmark files, the validation split among them.
        predictions: the zero-shot predictions; None: no gallery, no confusion matrix.
        rgb_views: keys of validation models to their RGB views, (V, S, S, 3) uint8 each.
        curves: rows of the pre-training histories: seed, epoch, loss, intra, cross, sigma, validation_accuracy.
        used: meshes that were used.
        rejected: (key, reason) of those that were not.
        provenance: more lines for the report; nothing that differs from run to run.
    """
    names = dataset_names(settings, benchmarks)
    cells = build_cells(settings, metrics, names)
    tables = write_tables(folder, settings, cells, names)
    paths = {path.stem: path for path in benchmarks}
    shown: dict[str, Any] = {}
    if predictions is not None:
        main = settings.fewshot.dataset
        rows = read_predictions(predictions, dataset=main, method=SHOWN)
        label = find(ZEROSHOT, SHOWN).label
        title = f"{names[main]}, zero-shot, {label}, first seed"
        shown["confusion"] = confusion_of(rows, read_benchmark(paths[main]).classes, title)
        if VALIDATION in paths:
            picked = choose_exhibits(
                read_predictions(predictions, dataset=VALIDATION, method=SHOWN), right=RIGHT, wrong=WRONG
            )
            shown["exhibits"] = exhibits(settings, read_benchmark(paths[VALIDATION]), picked, rgb_views)
            shown["exhibits_title"] = f"Validation models, RGB views above, depth maps below; {label}, first seed"
    lines = {
        "Profile": settings.profile,
        "Teacher": ", ".join(filter(None, (settings.teacher.model, settings.teacher.pretrained))),
        "Pre-training seeds": ", ".join(map(str, settings.pretrain.seeds)),
        "Prompt": ", ".join(settings.zeroshot.templates) or settings.zeroshot.template,
        "Code (git tree of c2p/)": code_revision(PACKAGE),
    } | dict(provenance or {})
    report = Report(settings, cells, tables, curves=curves, used=used, rejected=rejected, provenance=lines, **shown)
    write_report(folder / "report.html", report)


def exhibits(
    settings: params.Params,
    bench: Benchmark,
    picked: Sequence[Prediction],
    rgb_views: Callable[[Sequence[str]], Sequence[np.ndarray]] | None,
) -> list[Exhibit]:
    """Depth maps of test objects, and their RGB views where given, from the gallery's views."""
    views = view_set(settings.render.views)
    places = gallery_views(views.names)
    rows = [bench.test.keys.index(row.key) for row in picked]
    if not rows:
        return []
    turns = torch.tensor(views.rotations[places], dtype=torch.float32)
    raw = depth_maps(torch.from_numpy(bench.test.points[rows]), turns, settings.depth)
    depth = (depth_images(raw)[:, :, 0] * 255).round().to(torch.uint8).numpy()
    pictures = rgb_views([row.key for row in picked]) if rgb_views else [None] * len(picked)
    return [
        Exhibit(row, depth[n], None if picture is None else picture[places])
        for n, (row, picture) in enumerate(zip(picked, pictures, strict=True))
    ]
