"""The ingredients of the preset `plus` that `python -m benchmarks.plus` compares, and what they are trained on."""

import dataclasses
import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import Tensor

from c2p.data.features import read_features
from c2p.data.files import write_text
from c2p.data.manifest import Manifest, read_manifest, read_points
from c2p.data.pointset import PointSet
from c2p.models.clip import load_clip
from c2p.models.folder import clip_digest
from c2p.models.prompts import class_text, encode_prompts
from c2p.models.templates import templates_of
from c2p.params import Params, build
from tasks.layout import Layout
from tasks.shard_map import serial
from tasks.stage import Call, run_stage
from tasks.store import key

ROOT = Path(__file__).resolve().parent.parent
SEEDS = (0, 1, 2, 3, 4)
"""Of the variants."""
OTHER_SEEDS = (5, 6, 7, 8, 9)
"""Of what is put together, on the shapes of OTHER_SHAPES."""
OTHER_SHAPES = {"download.toy_seed": 11}
Changes = Mapping[str, Any]
"""Parameters by dotted name."""

BASE: Changes = {
    "pretrain.epochs": 12,
    "pretrain.temperature": 0.07,
    "pretrain.schedule": "cosine",
    "pretrain.warmup": 0.0,
}
"""Beside the demo's parameters, which already share camera and field of view between the modalities; with the paper's
windows, since dense maps take three times as long, and views centred by the vertices."""
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
    "centre of the views: surface": {"render.centre": "surface"},
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
SURFACE = {"render.centre": "surface"}
TOGETHER: Mapping[str, Changes] = {
    "views centred by the vertices, restarts (published code)": {"pretrain.schedule": "restarts", **OTHER_SHAPES},
    "vertices, one cosine": OTHER_SHAPES,
    "surface, one cosine (plus)": {**SURFACE, **OTHER_SHAPES},
    "surface, one cosine, temperature 0.7": {"pretrain.temperature": 0.7, **SURFACE, **OTHER_SHAPES},
}
"""The preset `plus` and what lies between it and the published code, on shapes and seeds that chose nothing; the first
is what the others are held against."""
PROMPTS: Mapping[str, tuple[str, ...]] = {"one prompt": (), "clip-7": ("clip-7",), "clip-80": ("clip-80",)}
"""Ensembles of prompts; they change nothing in training, so the base's encoders are judged by each."""
VIEWS = "views one by one"
"""Key of the mean accuracy of single views, with one prompt."""

log = logging.getLogger(__name__)


def parameters(changes: Changes) -> Params:
    """The demo's parameters with the base's and a variant's changes."""
    raw = yaml.safe_load((ROOT / "profiles/demo.yaml").read_text(encoding="utf-8"))
    for dotted, value in {**BASE, **changes}.items():
        section, _, field = dotted.partition(".")
        raw[section][field] = value
    return build(raw)


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


def has_own_teacher(params: Params) -> bool:
    """Whether a variant's teacher is trained on its own shapes or on views that are centred in another way."""
    demo = parameters({})
    return params.render.centre != demo.render.centre or params.download != demo.download


def project_of(params: Params) -> Project:
    """The demo's own shapes and views, or others made here once.

    With the demo's teacher, but where it would have to judge views that are centred otherwise than those it was trained
    on, or where all begins with other shapes.
    """
    layout, demo = Layout(ROOT), parameters({})
    if (params.render, params.download) != (demo.render, demo.download):
        layout = _made(params, again=params.download == demo.download)
    manifest = read_manifest(layout.shards)
    return Project(layout, manifest, read_points(manifest, "train"), read_points(manifest, "val"))


def _made(params: Params, *, again: bool) -> Layout:
    """A project of its own; again: of the demo's shapes."""
    demo, own_teacher = Layout(ROOT), has_own_teacher(params)
    name = key("project", params.download, params.render, params.sample, own_teacher)[:8]
    layout = Layout(demo.store / "plus" / name)
    if not (layout.features / "features.json").is_file():
        stages = ["render", "sample", "shards", "features"]
        stages[:0] = [] if again else ["download"]
        stages[-1:-1] = ["teacher"] if own_teacher else []
        for path in ([demo.raw] if again else []) + ([] if own_teacher else [demo.clip]):
            place = layout.root / path.relative_to(ROOT)
            place.parent.mkdir(parents=True, exist_ok=True)
            if not place.is_symlink():
                os.symlink(path, place)
        write_text(layout.root / "params.yaml", yaml.safe_dump(json.loads(json.dumps(dataclasses.asdict(params)))))
        for stage in stages:
            log.info("%s: %s", name, stage)
            run_stage(Call(stage), root=layout.root, map_=serial)
    return layout
