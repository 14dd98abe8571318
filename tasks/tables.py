"""Stage tables: Tables 1 to 5, every cell in long form, and the report."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from c2p.data.files import sha256
from c2p.data.manifest import FILE, read_manifest, read_rgb
from c2p.evaluation.results import write_results
from c2p.params import Params
from tasks.layout import Layout
from tasks.shard_map import Map

EVALUATIONS = ("zeroshot", "fewshot", "fullshot", "ablations")
SHORT = 12


def run(params: Params, root: Path, map_: Map) -> None:
    """Write results/."""
    layout = Layout(root)
    manifest = read_manifest(layout.shards)
    by_key = {row["key"]: row for row in manifest.split("val")}

    def rgb_views(keys: Sequence[str]) -> list[np.ndarray]:
        return list(read_rgb(manifest, [by_key[key] for key in keys]))

    selected = _metrics(layout, "select")
    write_results(
        layout.results,
        params,
        metrics={name: _metrics(layout, name) for name in EVALUATIONS},
        benchmarks=sorted(layout.benchmarks.glob("*.parquet")),
        predictions=layout.predictions("zeroshot"),
        rgb_views=rgb_views,
        curves=_curves(layout.plots("pretrain")),
        used=sum(1 for row in manifest.rows if row["shard"]),
        rejected=[(row["key"], row["reason"]) for row in manifest.rejected],
        provenance={
            "Training and validation models": f"{len(manifest.split('train'))} and {len(by_key)}",
            "Shards (sha256 of the manifest)": sha256(layout.shards / FILE)[:SHORT],
            "Chosen epochs": ", ".join(f"seed {s}: {selected[f'seed_{s}']['epoch']}" for s in params.pretrain.seeds),
        },
    )


def _metrics(layout: Layout, stage: str) -> dict[str, Any]:
    path = layout.metrics(stage)
    try:
        metrics: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"{path}: no such metrics; make them with `dvc repro {stage}`") from None
    return metrics


def _curves(path: Path) -> list[dict[str, float]]:
    with path.open(newline="", encoding="utf-8") as file:
        return [{k: float(v) for k, v in row.items() if v} for row in csv.DictReader(file)]
