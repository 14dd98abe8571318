"""What each ingredient of the preset `plus` is worth: `python -m benchmarks.plus` after a finished `make demo`.

Every ingredient is changed alone around a base, with the demo's shapes, teacher and encoder, and judged by zero-shot
accuracy on the validation split of the pre-training collection: no benchmark set is read. Finished runs are kept in
.c2p/plus and not repeated, so the work can be done in pieces (--minutes). Writes benchmarks/results/plus-ablations.json
"""

import argparse
import dataclasses
import json
import logging
import os
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from benchmarks.machine import machine
from c2p.data.features import read_features
from c2p.data.files import sha256, write_json, write_text
from c2p.data.manifest import Manifest, read_manifest, read_points
from c2p.data.pointset import PointSet
from c2p.geometry.views import view_set
from c2p.models.clip import Clip, load_clip
from c2p.models.depth_encoder import DepthEncoder
from c2p.models.folder import clip_digest
from c2p.models.prompts import class_text, encode_prompts
from c2p.models.templates import templates_of
from c2p.params import Params, build
from c2p.training.history import ACCURACY
from c2p.training.pretrain import pretrain
from c2p.training.select import validate
from tasks.layout import Layout
from tasks.shard_map import serial
from tasks.stage import Call, run_stage
from tasks.store import key

ROOT = Path(__file__).resolve().parent.parent
RESULT = ROOT / "benchmarks/results/plus-ablations.json"
SEEDS = (0, 1, 2)
Changes = Mapping[str, Any]
"""Parameters by dotted name."""

BASE: Changes = {
    "render.centre": "surface",
    "pretrain.temperature": 0.07,
    "pretrain.schedule": "cosine",
    "pretrain.warmup": 0.0,
}
"""Beside the demo's parameters, which already share camera and field of view between the modalities; with the paper's
windows, since dense maps take three times as long."""
VARIANTS: Mapping[str, Changes] = {
    "base": {},
    "temperature 0.7 (paper)": {"pretrain.temperature": 0.7},
    "centre of the views: vertices (published code)": {"render.centre": "vertices"},
    "schedule: restarts (published code)": {"pretrain.schedule": "restarts"},
    "dense depth maps": {"depth.footprint": "surface"},
    "warm-up over a tenth": {"pretrain.warmup": 0.1},
    "temperature 0.2": {"pretrain.temperature": 0.2},
    "camera of the depth maps: orthographic at 1 (published code)": {
        "depth.projection": "orthographic",
        "depth.distance": 1.0,
    },
    "discs (published code)": {"depth.footprint": "disc"},
    "temperature 0.03": {"pretrain.temperature": 0.03},
    "without the intra-modality loss": {"pretrain.intra": False},
    "one distance (no jitter)": {"depth.jitter": 0.0},
}
"""Changes against the base; the first is the base itself."""
PROMPTS: Mapping[str, tuple[str, ...]] = {"one prompt": (), "clip-7": ("clip-7",), "clip-80": ("clip-80",)}
"""Ensembles of prompts; they change nothing in training, so the base's encoders are judged by each."""

log = logging.getLogger(__name__)


def main() -> None:
    """Run what is missing, and write the table of what has been run with all seeds."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.plus", description=__doc__)
    parser.add_argument("--minutes", type=float, default=1e9, help="start no run after so many minutes (no limit)")
    parser.add_argument("--seeds", type=int, default=len(SEEDS), help=f"seeds of each variant ({len(SEEDS)})")
    parser.add_argument("--out", type=Path, default=RESULT, help=f"file to write ({RESULT.relative_to(ROOT)})")
    given = parser.parse_args()
    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S", level=logging.INFO)
    begin, seeds = time.monotonic(), range(given.seeds)
    for name in VARIANTS:
        for seed in seeds:
            if not _place(name, seed).is_file() and time.monotonic() - begin < 60 * given.minutes:
                write_json(_place(name, seed), run(name, seed))
    known = {name: [place for seed in seeds if (place := _place(name, seed)).is_file()] for name in VARIANTS}
    missing = [name for name, places in known.items() if len(places) < len(seeds)]
    if missing:
        log.info("not run yet: %s; run again to go on", ", ".join(missing))
    if len(known["base"]) < len(seeds):
        return
    result = table([name for name in VARIANTS if name not in missing], seeds) | {"not_run": missing}
    write_json(given.out, result)
    print(report(result))


def run(name: str, seed: int) -> dict[str, Any]:
    """Train one variant with one seed; its validation accuracy by prompts, percent, and its seconds."""
    params = parameters(name)
    clip, manifest, train, val = _project()
    targets = read_features(_features(params).features, manifest, "train", teacher=clip_digest(Layout(ROOT).clip))
    rotations = torch.as_tensor(view_set(params.render.views).rotations, dtype=torch.float32)
    encoder, begin = DepthEncoder.from_clip(clip), time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        pretrain(
            encoder,
            torch.from_numpy(train.points),
            torch.from_numpy(targets.values),
            dataclasses.replace(params.pretrain, checkpoint_every=params.pretrain.epochs),
            params.depth,
            rotations,
            seed=seed,
            folder=Path(folder),
        )
    seconds = time.monotonic() - begin
    accuracies = {
        prompts: validate(
            encoder,
            points=torch.from_numpy(val.points),
            labels=torch.from_numpy(val.labels),
            text=_text(prompts),
            rotations=rotations,
            depth=params.depth,
        )[ACCURACY]
        for prompts in (PROMPTS if name == "base" else ["one prompt"])
    }
    log.info("%s, seed %d: %.2f %% in %.0f s", name, seed, accuracies["one prompt"], seconds)
    return {"accuracies": accuracies, "seconds": round(seconds, 1)}


def parameters(name: str) -> Params:
    """The demo's parameters with the base's and a variant's changes."""
    raw = yaml.safe_load((ROOT / "profiles/demo.yaml").read_text(encoding="utf-8"))
    for dotted, value in {**BASE, **VARIANTS[name]}.items():
        section, _, field = dotted.partition(".")
        raw[section][field] = value
    return build(raw)


def table(names: Sequence[str], seeds: Sequence[int]) -> dict[str, Any]:
    """Mean, spread and difference to the base, seed by seed, of what has been run."""
    _, manifest, train, val = _project()
    base = parameters("base").pretrain
    known = {name: [json.loads(_place(name, seed).read_text()) for seed in seeds] for name in names}
    found = {name: [run["accuracies"]["one prompt"] for run in runs] for name, runs in known.items()}
    ensembles = {prompts: [run["accuracies"][prompts] for run in known["base"]] for prompts in PROMPTS}
    return {
        "machine": machine(),
        "scale": {
            "shapes": "made by c2p",
            "training_shapes": len(train),
            "validation_shapes": len(val),
            "classes": len(manifest.classes),
            "teacher": "c2p-demo, trained in the demo",
            "steps": base.epochs * (len(train) // base.batch),
            "batch": base.batch,
            "seeds": list(seeds),
        },
        "base": dict(BASE),
        "variants": {name: _row(values, found["base"], VARIANTS[name]) for name, values in found.items()},
        "prompts": {name: _row(values, ensembles["one prompt"], {}) for name, values in ensembles.items()},
        "seconds": {name: [run["seconds"] for run in runs] for name, runs in known.items()},
    }


def report(result: Mapping[str, Any]) -> str:
    """The table for people, in Markdown."""
    lines = ["| changed alone | validation accuracy, % | against the base |", "|---|---:|---:|"]
    for name, row in {**result["variants"], **{f"prompts: {n}": r for n, r in result["prompts"].items()}}.items():
        spread = f"{row['difference']:+.1f} ± {row['difference_std']:.1f}"
        lines.append(f"| {name} | {row['mean']:.1f} ± {row['std']:.1f} | {spread} |")
    return "\n".join(lines)


def _row(values: Sequence[float], base: Sequence[float], changes: Changes) -> dict[str, Any]:
    differences = [value - other for value, other in zip(values, base, strict=True)]
    return {
        "changes": dict(changes),
        "accuracies": [round(value, 2) for value in values],
        "mean": round(statistics.mean(values), 2),
        "std": round(statistics.stdev(values), 2),
        "difference": round(statistics.mean(differences), 2),
        "difference_std": round(statistics.stdev(differences), 2),
    }


def _place(name: str, seed: int) -> Path:
    """Where a run's result is kept: it rests on the parameters, the shards and the teacher."""
    layout, params = Layout(ROOT), parameters(name)
    inputs = [_sha256(layout.shards / "manifest.parquet"), _sha256(layout.clip / "open_clip_model.safetensors")]
    recipe = [params.render, params.depth, dataclasses.replace(params.pretrain, seeds=(seed,)), name == "base"]
    return layout.store / "plus" / f"{key('plus', inputs, recipe)}.json"


@cache
def _sha256(path: Path) -> str:
    return sha256(path)


@cache
def _project() -> tuple[Clip, Manifest, PointSet, PointSet]:
    layout = Layout(ROOT)
    manifest = read_manifest(layout.shards)
    return load_clip(layout.clip), manifest, read_points(manifest, "train"), read_points(manifest, "val")


@cache
def _text(prompts: str) -> Tensor:
    clip, manifest, _, _ = _project()
    templates = templates_of(dataclasses.replace(parameters("base").zeroshot, templates=PROMPTS[prompts]))
    return torch.from_numpy(class_text(encode_prompts(clip, manifest.classes, templates)))


def _features(params: Params) -> Layout:
    """A project with the image features of the variant's views: the demo's own, or one made here once."""
    layout = Layout(ROOT)
    if params.render.centre == "vertices":
        return layout
    other = Layout(layout.store / "plus" / "surface")
    if not (other.features / "features.json").is_file():
        for path in (layout.raw, layout.clip):
            place = other.root / path.relative_to(ROOT)
            place.parent.mkdir(parents=True, exist_ok=True)
            if not place.is_symlink():
                os.symlink(path, place)
        write_text(other.root / "params.yaml", yaml.safe_dump(_plain(params)))
        for stage in ("render", "sample", "shards", "features"):
            run_stage(Call(stage), root=other.root, map_=serial)
    return other


def _plain(params: Params) -> Any:
    return json.loads(json.dumps(dataclasses.asdict(params)))


if __name__ == "__main__":
    main()
