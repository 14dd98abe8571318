"""Tiny encoders with random weights and benchmark sets of three kinds of clouds, as a project has them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import yaml

import c2p
from c2p import params
from c2p.data.benchmarks import Benchmark, PointSet, read_benchmark, write_benchmark
from c2p.models.clip import create_clip, load_clip, save_clip
from c2p.models.depth_encoder import DepthEncoder, save_depth_encoder
from c2p.models.preprocessing import write_preprocessing

CLASSES = ("box", "pole", "plate")
SETS = ("modelnet10", "modelnet40")


def make_small(path: Path) -> params.Params:
    """Make the depth maps of a parameter file small."""
    values = yaml.safe_load(path.read_text())
    values["depth"]["size"] = 32
    path.write_text(yaml.safe_dump(values))
    return params.load(path)


def make_sets(root: Path) -> None:
    """Write data/benchmarks."""
    for number, name in enumerate(SETS):
        bench = Benchmark(name, CLASSES, _clouds(number, (3, 3, 3), "train"), _clouds(10 + number, (12, 8, 4), "test"))
        write_benchmark(root / f"data/benchmarks/{name}.parquet", bench)


def make_clip(root: Path, settings: params.Params) -> None:
    """Write models/clip."""
    save_clip(create_clip(replace(settings.teacher, model="c2p-demo", pretrained="")), root / "models/clip")


def make_encoder(root: Path, settings: params.Params, noise: int, folder: Path) -> Path:
    """Write the folder of an encoder whose weights are the teacher's and noise."""
    clip = load_clip(root / "models/clip")
    encoder = DepthEncoder.from_clip(clip)
    generator = torch.Generator().manual_seed(noise)
    with torch.no_grad():
        for weight in encoder.parameters():
            weight.add_(0.2 * torch.randn(weight.shape, generator=generator))
    save_depth_encoder(encoder, clip, folder, "card")
    write_preprocessing(replace(settings, sample=replace(settings.sample, points=64)), folder)
    return folder


def naive_accuracy(root: Path, folder: Path, name: str) -> float:
    """Zero-shot accuracy of an encoder on a set, percent, object by object through `c2p.load`."""
    bench = read_benchmark(root / f"data/benchmarks/{name}.parquet")
    encoder = c2p.load(folder, device="cpu")
    hits = 0
    for points, label in zip(bench.test.points, bench.test.labels, strict=True):
        logits = np.asarray(encoder.logits(points, list(CLASSES), normalise=False))
        hits += int(logits[0].argmax() == label)
    return 100 * hits / len(bench.test.labels)


def _clouds(seed: int, each: tuple[int, int, int], prefix: str) -> PointSet:
    """Boxes, poles and plates of slightly different proportions, 64 points each."""
    generator = np.random.default_rng(seed)
    labels = np.repeat(np.arange(3), each).astype(np.int64)
    extents = np.array([[1.0, 1.0, 1.0], [0.1, 1.0, 0.1], [1.0, 0.1, 1.0]])[labels]
    points = generator.uniform(-1, 1, size=(len(labels), 64, 3)) * extents[:, None]
    points -= points.mean(1, keepdims=True)
    points /= np.linalg.norm(points, axis=2).max(1)[:, None, None]
    return PointSet(tuple(f"{prefix}-{n:03d}" for n in range(len(labels))), points.astype(np.float32), labels)
