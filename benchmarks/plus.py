"""What each ingredient of the preset `plus` is worth: `python -m benchmarks.plus` after a finished `make demo`.

Every ingredient is changed alone around a base, with the demo's shapes, teacher and encoder, and judged by zero-shot
accuracy on the validation split of the pre-training collection, from all ten views and, since that saturates, as the
mean of each view by itself. No benchmark set is read. What helped is then put together and held against the base on a
collection of other shapes, with seeds that chose nothing. Finished runs are kept in .c2p/plus and not repeated, so the
work can be done in pieces (--minutes). Writes benchmarks/results/plus-ablations.json
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
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from scipy import stats
from torch import Tensor

from benchmarks.machine import machine
from c2p.data.features import read_features
from c2p.data.files import sha256, write_json, write_text
from c2p.data.manifest import Manifest, read_manifest, read_points
from c2p.data.pointset import PointSet
from c2p.geometry.views import view_set
from c2p.models.clip import load_clip
from c2p.models.depth_encoder import DepthEncoder
from c2p.models.folder import clip_digest
from c2p.models.prompts import class_text, encode_prompts
from c2p.models.templates import templates_of
from c2p.params import Params, build
from c2p.training.history import ACCURACY
from c2p.training.pretrain import pretrain
from c2p.training.select import validate
from tasks.closure import code_digest
from tasks.layout import Layout
from tasks.shard_map import serial
from tasks.stage import Call, run_stage
from tasks.store import key

ROOT = Path(__file__).resolve().parent.parent
RESULT = ROOT / "benchmarks/results/plus-ablations.json"
SEEDS = (0, 1, 2, 3, 4)
"""Of the variants."""
OTHER_SEEDS = (5, 6, 7, 8, 9)
"""Of what is put together, on the shapes of OTHER_SHAPES."""
OTHER_SHAPES = {"download.toy_seed": 11}
Changes = Mapping[str, Any]
"""Parameters by dotted name."""

BASE: Changes = {
    "render.centre": "surface",
    "pretrain.epochs": 12,
    "pretrain.temperature": 0.07,
    "pretrain.schedule": "cosine",
    "pretrain.warmup": 0.0,
}
"""Beside the demo's parameters, which already share camera and field of view between the modalities; with the paper's
windows, since dense maps take three times as long."""
VARIANTS: Mapping[str, Changes] = {
    "base": {},
    "temperature 0.7 (paper)": {"pretrain.temperature": 0.7},
    "temperature 0.2": {"pretrain.temperature": 0.2},
    "temperature 0.03": {"pretrain.temperature": 0.03},
    "schedule: restarts (published code)": {"pretrain.schedule": "restarts"},
    "warm-up over a tenth": {"pretrain.warmup": 0.1},
    "twice the learning rate": {"pretrain.lr": 1.2e-2},
    "half the learning rate": {"pretrain.lr": 3e-3},
    "hard negatives: 1": {"pretrain.hard_negatives": 1},
    "hard negatives: 3": {"pretrain.hard_negatives": 3},
    "hard negatives: 7": {"pretrain.hard_negatives": 7},
    "fourteen views": {"render.views": "fourteen"},
    "centre of the views: vertices (published code)": {"render.centre": "vertices"},
    "dense depth maps": {"depth.footprint": "surface"},
    "discs (published code)": {"depth.footprint": "disc"},
    "camera of the depth maps: orthographic at 1 (published code)": {
        "depth.projection": "orthographic",
        "depth.distance": 1.0,
    },
    "without the intra-modality loss": {"pretrain.intra": False},
    "one distance (no jitter)": {"depth.jitter": 0.0},
}
"""Changes against the base; the first is the base itself."""
TOGETHER: Mapping[str, Changes] = {"base": OTHER_SHAPES}
"""What is compared in the end."""
PROMPTS: Mapping[str, tuple[str, ...]] = {"one prompt": (), "clip-7": ("clip-7",), "clip-80": ("clip-80",)}
"""Ensembles of prompts; they change nothing in training, so the base's encoders are judged by each."""
VIEWS = "views one by one"
"""Key of the mean accuracy of single views, with one prompt."""

log = logging.getLogger(__name__)


def main() -> None:
    """Run what is missing, and write the table of what has been run with all seeds."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.plus", description=__doc__)
    parser.add_argument("--minutes", type=float, default=1e9, help="start no run after so many minutes (no limit)")
    parser.add_argument("--workers", type=int, default=1, help="runs at a time, on a thread each (1)")
    parser.add_argument("--out", type=Path, default=RESULT, help=f"file to write ({RESULT.relative_to(ROOT)})")
    given = parser.parse_args()
    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S", level=logging.INFO)
    runs = [(name, VARIANTS[name], seed) for name in VARIANTS for seed in SEEDS]
    runs += [(f"{name} (together)", TOGETHER[name], seed) for name in TOGETHER for seed in OTHER_SEEDS]
    missing = [run for run in runs if not _place(*run[1:]).is_file()]
    for _, changes, _ in missing:
        _project(parameters(changes))
    until = time.time() + 60 * given.minutes
    with ProcessPoolExecutor(given.workers, get_context("spawn"), torch.set_num_threads, (1,)) as pool:
        for name, result in zip((name for name, *_ in missing), pool.map(_run, missing, repeat(until)), strict=True):
            log.info("%s: %s", name, result or "not run")
    if all(_place({}, seed).is_file() for seed in SEEDS):
        result = table()
        write_json(given.out, result)
        print(report(result))


def _run(work: tuple[str, Changes, int], until: float) -> dict[str, Any] | None:
    """Do one run and keep its result; None: there is no time left for it."""
    _, changes, seed = work
    if time.time() > until:
        return None
    result = run(changes, seed)
    write_json(_place(changes, seed), result)
    return result


def run(changes: Changes, seed: int) -> dict[str, Any]:
    """Train one variant with one seed; its validation accuracies, percent, and its seconds."""
    params = parameters(changes)
    project = _project(params)
    rotations, ten = (
        torch.as_tensor(view_set(name).rotations, dtype=torch.float32) for name in (params.render.views, "ten")
    )
    encoder, begin = DepthEncoder.of_teacher(project.layout.clip), time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        pretrain(
            encoder,
            torch.from_numpy(project.train.points),
            torch.from_numpy(project.features()),
            dataclasses.replace(params.pretrain, checkpoint_every=params.pretrain.epochs),
            params.depth,
            rotations,
            seed=seed,
            folder=Path(folder),
        )
    seconds = time.monotonic() - begin

    def accuracy(prompts: str, views: Tensor) -> float:
        return validate(
            encoder,
            points=torch.from_numpy(project.val.points),
            labels=torch.from_numpy(project.val.labels),
            text=project.text(prompts),
            rotations=views,
            depth=params.depth,
        )[ACCURACY]

    accuracies = {prompts: accuracy(prompts, ten) for prompts in ([*PROMPTS] if not changes else ["one prompt"])}
    accuracies[VIEWS] = statistics.mean(accuracy("one prompt", view[None]) for view in ten)
    return {"accuracies": accuracies, "seconds": round(seconds, 1)}


def parameters(changes: Changes) -> Params:
    """The demo's parameters with the base's and a variant's changes."""
    raw = yaml.safe_load((ROOT / "profiles/demo.yaml").read_text(encoding="utf-8"))
    for dotted, value in {**BASE, **changes}.items():
        section, _, field = dotted.partition(".")
        raw[section][field] = value
    return build(raw)


def table() -> dict[str, Any]:
    """Mean, spread and difference to the base, seed by seed, of what has been run with every seed."""
    base, project = parameters({}).pretrain, _project(parameters({}))
    known = {name: _results(changes, SEEDS) for name, changes in VARIANTS.items()}
    last = {name: _results(changes, OTHER_SEEDS) for name, changes in TOGETHER.items()}
    missing = [name for name, runs in [*known.items(), *last.items()] if runs is None]
    ensembles = {
        prompts: [{"accuracies": {"one prompt": run["accuracies"][prompts]}} for run in known["base"] or []]
        for prompts in PROMPTS
    }
    return {
        "machine": machine(),
        "scale": {
            "shapes": "made by c2p",
            "training_shapes": len(project.train),
            "validation_shapes": len(project.val),
            "classes": len(project.manifest.classes),
            "teacher": "c2p-demo, trained in the demo",
            "steps": base.epochs * (len(project.train) // base.batch),
            "batch": base.batch,
        },
        "base": dict(BASE),
        "variants": _rows(known, VARIANTS, SEEDS),
        "prompts": _rows(ensembles, {name: {} for name in PROMPTS}, SEEDS),
        "together": _rows(last, TOGETHER, OTHER_SEEDS),
        "not_run": missing,
    }


def report(result: Mapping[str, Any]) -> str:
    """The tables for people, in Markdown: differences with the interval of a paired t-test at 95 %."""
    lines = []
    for part, first in (("variants", "changed alone"), ("prompts", "prompts"), ("together", "on other shapes")):
        lines += [f"| {first} | ten views, % | against the base | single views, % | against the base |"]
        lines += ["|---|---:|---:|---:|---:|"]
        for name, row in result[part].items():
            cells = []
            for kind in ("one prompt", VIEWS):
                if kind in row:
                    values = row[kind]
                    cells += [f"{values['mean']:.1f} ± {values['std']:.1f}"]
                    cells += [f"{values['difference']:+.1f} ± {values['half_interval']:.1f}"]
            lines.append(f"| {name} | {' | '.join(cells)} |")
        lines.append("")
    return "\n".join(lines)


def _rows(
    known: Mapping[str, list[dict[str, Any]] | None], changes: Mapping[str, Changes], seeds: Sequence[int]
) -> dict[str, Any]:
    base = next(iter(known.values())) or []
    return {
        name: {"changes": dict(changes[name]), "seeds": list(seeds)}
        | {
            kind: _row([run["accuracies"][kind] for run in runs], [run["accuracies"][kind] for run in base])
            for kind in ("one prompt", VIEWS)
            if kind in runs[0]["accuracies"]
        }
        | ({"seconds": [run["seconds"] for run in runs]} if "seconds" in runs[0] else {})
        for name, runs in known.items()
        if runs
    }


def _row(values: Sequence[float], base: Sequence[float]) -> dict[str, Any]:
    differences = [value - other for value, other in zip(values, base, strict=True)]
    half = stats.t.ppf(0.975, len(values) - 1) * statistics.stdev(differences) / len(values) ** 0.5
    return {
        "accuracies": [round(value, 2) for value in values],
        "mean": round(statistics.mean(values), 2),
        "std": round(statistics.stdev(values), 2),
        "difference": round(statistics.mean(differences), 2),
        "half_interval": round(float(half), 2),
    }


def _results(changes: Changes, seeds: Sequence[int]) -> list[dict[str, Any]] | None:
    """What the runs of all seeds gave; None: one is missing."""
    places = [_place(changes, seed) for seed in seeds]
    return [json.loads(place.read_text()) for place in places] if all(place.is_file() for place in places) else None


def _place(changes: Changes, seed: int) -> Path:
    """Where a run's result is kept: it rests on the parameters, the teacher and the code."""
    params, layout = parameters(changes), Layout(ROOT)
    recipe = [params.download, params.render, params.sample, params.depth]
    recipe += [dataclasses.replace(params.pretrain, seeds=(seed,)), not changes]
    made = [_sha256(layout.clip / "open_clip_model.safetensors"), code_digest("tasks.pretrain")]
    return layout.store / "plus" / f"{key('plus', made, recipe)}.json"


@cache
def _sha256(path: Path) -> str:
    return sha256(path)


@dataclasses.dataclass(frozen=True)
class Project:
    """Shapes and image features that a variant trains on."""

    layout: Layout
    manifest: Manifest
    train: PointSet
    val: PointSet

    def features(self) -> np.ndarray:
        """The teacher's, (N, V, C) float16."""
        teacher = clip_digest(self.layout.clip)
        return read_features(self.layout.features, self.manifest, "train", teacher=teacher).values

    def text(self, prompts: str) -> Tensor:
        """Features of the classes, (K, C), by an ensemble of PROMPTS."""
        templates = templates_of(dataclasses.replace(parameters({}).zeroshot, templates=PROMPTS[prompts]))
        clip = load_clip(self.layout.clip)
        return torch.from_numpy(class_text(encode_prompts(clip, self.manifest.classes, templates)))


def _project(params: Params) -> Project:
    """The demo's own shapes and views, or others made here once with the demo's teacher."""
    layout, demo = Layout(ROOT), parameters({"render.centre": "vertices"})
    if (params.render, params.download) != (demo.render, demo.download):
        layout = _made(params, again=params.download == demo.download)
    manifest = read_manifest(layout.shards)
    return Project(layout, manifest, read_points(manifest, "train"), read_points(manifest, "val"))


def _made(params: Params, *, again: bool) -> Layout:
    """A project of its own; again: of the demo's shapes."""
    demo, name = Layout(ROOT), key("project", params.download, params.render, params.sample)[:8]
    layout = Layout(demo.store / "plus" / name)
    if not (layout.features / "features.json").is_file():
        for path in (demo.raw, demo.clip) if again else (demo.clip,):
            place = layout.root / path.relative_to(ROOT)
            place.parent.mkdir(parents=True, exist_ok=True)
            if not place.is_symlink():
                os.symlink(path, place)
        write_text(layout.root / "params.yaml", yaml.safe_dump(json.loads(json.dumps(dataclasses.asdict(params)))))
        for stage in ([] if again else ["download"]) + ["render", "sample", "shards", "features"]:
            log.info("%s: %s", name, stage)
            run_stage(Call(stage), root=layout.root, map_=serial)
    return layout


if __name__ == "__main__":
    main()
