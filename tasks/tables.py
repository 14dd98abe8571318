"""Stage tables: Tables 1 to 5 and CG3D's, every cell in long form, the report, and what `dvc plots` draws.

What is absent is left out, and the tables and the report say so: `dvc repro` makes everything first, but
`python -m tasks tables` builds what there is.
"""

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from c2p.data.files import sha256
from c2p.data.manifest import FILE, read_manifest, read_rgb
from c2p.evaluation.results import Inputs, read_metrics, write_results
from c2p.params import Params
from tasks.layout import Layout
from tasks.provenance import stage_records
from tasks.shard_map import Map

SHORT = 12


def run(params: Params, root: Path, map_: Map) -> None:
    """Write results/, plots/confusion.csv and plots/shots.csv."""
    layout = Layout(root)
    predictions, rankings = layout.predictions("zeroshot"), layout.predictions("cg3d_retrieval")
    inputs = Inputs(
        metrics=read_metrics(layout.metrics("zeroshot").parent),
        benchmarks=sorted(layout.benchmarks.glob("*.parquet")),
        predictions=predictions if predictions.is_file() else None,
        rankings=rankings if rankings.is_file() else None,
        scenes=layout.cg3d_scenes,
        curves=_history(layout.plots("pretrain")),
        teacher=_history(layout.plots("teacher")),
        stages=stage_records(root, but="tables"),
        **_meshes(layout),
    )
    write_results(layout.results, params, inputs, plots=layout.plots("shots").parent)


def _meshes(layout: Layout) -> dict[str, Any]:
    """What the manifest tells, as fields of Inputs, and the chosen epochs."""
    provenance = {}
    if layout.metrics("select").is_file():
        chosen = json.loads(layout.metrics("select").read_text(encoding="utf-8"))
        epochs = {name.removeprefix("seed_"): row["epoch"] for name, row in chosen.items() if name != "best_seed"}
        provenance["Chosen epochs"] = ", ".join(f"seed {seed}: {epoch}" for seed, epoch in epochs.items())
    if not (layout.shards / FILE).is_file():
        return {"provenance": provenance}
    manifest = read_manifest(layout.shards)
    by_key = {row["key"]: row for row in manifest.split("val")}

    def rgb_views(keys: Sequence[str]) -> list[np.ndarray]:
        return list(read_rgb(manifest, [by_key[key] for key in keys]))

    return {
        "rgb_views": rgb_views,
        "used": sum(1 for row in manifest.rows if row["shard"]),
        "rejected": [(row["key"], row["reason"]) for row in manifest.rejected],
        "provenance": {
            "Training and validation models": f"{len(manifest.split('train'))} and {len(by_key)}",
            "Shards (sha256 of the manifest)": sha256(layout.shards / FILE)[:SHORT],
        }
        | provenance,
    }


def _history(path: Path) -> list[dict[str, float]]:
    """Rows of a training's history; none where there is no such file."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [{k: float(v) for k, v in row.items() if v} for row in csv.DictReader(file)]
