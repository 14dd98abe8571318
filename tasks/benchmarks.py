"""Stage benchmarks: every benchmark set, and the validation split, as clouds of farthest points fixed once."""

import hashlib
import io
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from c2p.data.benchmarks import Benchmark, PointSet, Split, write_benchmark
from c2p.data.clouds import farthest_clouds, mesh_clouds
from c2p.data.cloudset import read_cloud_set, title_of
from c2p.data.manifest import read_manifest, read_points
from c2p.data.models import Model, fingerprint
from c2p.data.official import OFFICIAL, check_sizes
from c2p.data.places import Place, read_bytes
from c2p.data.resampling import cloud_draws, mesh_draws
from c2p.data.scanobjectnn import VARIANTS, present_classes, read_split
from c2p.data.scene import versions
from c2p.data.sources import list_source, read_source
from c2p.data.splits import chunks
from c2p.data.vocabulary import SCANOBJECTNN
from c2p.geometry.meshes import rotate_up
from c2p.params import Params, Render
from tasks.closure import code_digest
from tasks.layout import Layout
from tasks.shard_map import Map
from tasks.store import Store, key

logger = logging.getLogger(__name__)
LIBRARIES = ("numba", "numpy", "trimesh")
"""Packages that decide the bytes of clouds."""
CHUNK = 64
"""Objects a job."""


@dataclass(frozen=True)
class CloudJob:
    """Some objects of a benchmark set, and where the store keeps their points."""

    key: str
    store: Store
    models: tuple[Model, ...]
    scans: Place | None
    """Given clouds (N, P, 3) as .npy, instead of models."""
    keys: tuple[str, ...]
    """Names of the objects."""
    settings: Render
    points: int
    draws: int
    """0: the farthest points (N, points, 3); else so many random draws (N, draws, points, 3)."""


@dataclass(frozen=True)
class SplitPlan:
    """One split of a set before its points are there."""

    keys: tuple[str, ...]
    labels: np.ndarray
    jobs: tuple[CloudJob, ...]
    draw_jobs: tuple[CloudJob, ...]
    """Empty: no random draws are wanted."""

    def read(self) -> PointSet:
        """The split, once its jobs are done."""
        return PointSet(self.keys, _joined(self.jobs), self.labels)


@dataclass(frozen=True)
class SetPlan:
    """A benchmark set before its points are there."""

    file: str
    title: str
    classes: tuple[str, ...]
    train: SplitPlan
    test: SplitPlan

    def write(self, folder: Path) -> Path:
        """Write the set's file, once its jobs are done."""
        splits: dict[Split, SplitPlan] = {"train": self.train, "test": self.test}
        draws = {split: _joined(plan.draw_jobs) for split, plan in splits.items() if plan.draw_jobs}
        benchmark = Benchmark(self.title, self.classes, self.train.read(), self.test.read())
        return write_benchmark(folder / f"{self.file}.parquet", benchmark, draws=draws)


def run(params: Params, root: Path, map_: Map) -> None:
    """Build data/benchmarks/<name>.parquet for every set of the profile."""
    layout = Layout(root)
    manifest = read_manifest(layout.shards)
    rejected = {row["key"] for row in manifest.rejected} if params.download.source == "meshes" else set()
    plans: list[SetPlan] = []
    for name in params.download.benchmarks:
        if name == "scanobjectnn":
            plans += [_plan_scans(variant, params, root) for variant in VARIANTS]
        elif name == "clouds":
            plans.append(_plan_cloud_set(params, root))
        else:
            plans.append(_plan_meshes(name, params, root, rejected if name == "meshes" else set()))
    named = [
        (f"{plan.file}-{split}-{kind}{number:03d}", job)
        for plan in plans
        for split, part in (("train", plan.train), ("test", plan.test))
        for kind, jobs in (("", part.jobs), ("draws-", part.draw_jobs))
        for number, job in enumerate(jobs)
    ]
    map_(cloud_job, [job for _, job in named], names=[name for name, _ in named])
    for plan in plans:
        plan.write(layout.benchmarks)
    train, val = (read_points(manifest, split) for split in ("train", "val"))
    write_benchmark(layout.benchmarks / "validation.parquet", Benchmark("validation", manifest.classes, train, val))


def _plan_meshes(name: str, params: Params, root: Path, left_out: set[str]) -> SetPlan:
    """left_out: keys of training meshes that pre-training could not use; a test mesh is never left out."""
    raw = Layout(root).raw
    models, classes = list_source(raw, name)
    source = read_source(raw, name)
    if name in OFFICIAL:
        assert {m.up for m in models} == {OFFICIAL[name].up}
        if not source.made:
            check_sizes(name, Counter(m.split for m in models), raw / source.path)
    order = {label.replace("_", " "): index for index, label in enumerate(classes)}
    store = Store(root)
    archives = {archive: str(store.share(archive)) for archive in sorted({m.archive for m in models})}
    surface = [params.render.cloud_points, params.render.max_faces, params.render.seed]

    def plan(split: Split) -> SplitPlan:
        members = [m for m in models if m.split == split and m.key not in left_out]
        parts = chunks(members, CHUNK)

        def jobs(draws: int) -> tuple[CloudJob, ...]:
            made = []
            for part in parts:
                piece = _key("benchmarks", surface, params, draws, [fingerprint(m) for m in part])
                shared = tuple(replace(m, archive=archives[m.archive]) for m in part)
                keys = tuple(m.key for m in part)
                made.append(CloudJob(piece, store, shared, None, keys, params.render, params.sample.points, draws))
            return tuple(made)

        labels = np.array([order[m.label] for m in members], dtype=np.int64)
        draws = _draws(params, split)
        return SplitPlan(tuple(m.key for m in members), labels, jobs(0), jobs(draws) if draws else ())

    title = Path(source.path).stem if name == "meshes" else name
    return SetPlan(name, title, classes, plan("train"), plan("test"))


def _plan_scans(variant: str, params: Params, root: Path) -> SetPlan:
    raw = Layout(root).raw
    source = read_source(raw, "scanobjectnn")
    folder = raw / source.path
    splits: tuple[Split, ...] = ("train", "test")
    loaded = {split: read_split(folder, variant, split) for split in splits}
    if not source.made:
        check_sizes(variant, {split: len(labels) for split, (_, labels) in loaded.items()}, folder)
    present, tested = (present_classes(of, complete=not source.made, path=folder) for _, of in loaded.values())
    if lone := sorted(set(present) ^ set(tested)):
        raise ValueError(f"{folder}: {variant} has class {SCANOBJECTNN[lone[0]]!r} in one split only; allowed: in both")

    def plan(split: Split) -> SplitPlan:
        clouds, labels = loaded[split]
        keys = tuple(f"{variant}-{split}-{index:05d}" for index in range(len(labels)))
        upright = rotate_up(clouds, OFFICIAL[variant].up)
        return _plan_clouds(keys, upright, np.searchsorted(present, labels), split, params, Store(root), folder)

    return SetPlan(variant, variant, tuple(SCANOBJECTNN[index] for index in present), plan("train"), plan("test"))


def _plan_cloud_set(params: Params, root: Path) -> SetPlan:
    raw = Layout(root).raw
    source = read_source(raw, "clouds")
    folder = raw / source.path
    classes, splits = read_cloud_set(folder, params.download.clouds_classes)

    def plan(split: Split) -> SplitPlan:
        found = splits[split]
        upright = rotate_up(found.points, source.up)
        return _plan_clouds(found.keys, upright, found.labels, split, params, Store(root), folder)

    return SetPlan("clouds", title_of(folder), classes, plan("train"), plan("test"))


def _plan_clouds(
    keys: tuple[str, ...],
    clouds: np.ndarray,
    labels: np.ndarray,
    split: Split,
    params: Params,
    store: Store,
    path: Path,
) -> SplitPlan:
    """A split whose clouds (N, P, 3), y up, are given."""
    count = params.sample.points
    if clouds.shape[1] < count:
        raise ValueError(
            f"{path}: {split} clouds of {clouds.shape[1]} points; sample.points is {count}: "
            f"allowed: up to {clouds.shape[1]}"
        )

    def jobs(draws: int) -> tuple[CloudJob, ...]:
        made = []
        for start in range(0, len(clouds), CHUNK):
            given = np.ascontiguousarray(clouds[start : start + CHUNK])
            part = keys[start : start + CHUNK]
            content = [hashlib.sha256(given.tobytes()).hexdigest(), list(given.shape)]
            drawn = [params.render.seed, part] if draws else []
            place = store.get_or_make(key("given", content), ".clouds.npy", partial(_save, array=given))
            piece = _key("scans", drawn, params, draws, content)
            made.append(CloudJob(piece, store, (), place, part, params.render, count, draws))
        return tuple(made)

    draws = _draws(params, split)
    return SplitPlan(keys, labels, jobs(0), jobs(draws) if draws else ())


def _draws(params: Params, split: Split) -> int:
    return params.benchmarks.train_draws if split == "train" else params.benchmarks.test_draws


def _key(kind: str, settings: list[Any], params: Params, draws: int, content: list[Any]) -> str:
    code = [code_digest("tasks.benchmarks"), versions(*LIBRARIES)]
    return key(kind, code, settings, params.sample, draws, content)


def _save(path: Path, array: np.ndarray) -> None:
    np.save(path, array)


def _load(place: Place) -> np.ndarray:
    return np.asarray(np.load(io.BytesIO(read_bytes(place)), allow_pickle=False))


def _joined(jobs: Sequence[CloudJob]) -> np.ndarray:
    return np.concatenate([_load(job.store.place(job.key, ".npy")) for job in jobs])


def cloud_job(job: CloudJob) -> None:
    """Points of one job's objects, into the store."""

    def make(out: Path) -> None:
        np.save(out, _points(job))

    job.store.get_or_make(job.key, ".npy", make)


def _points(job: CloudJob) -> np.ndarray:
    if job.scans is None:
        if job.draws:
            return mesh_draws(job.models, job.settings, job.points, job.draws)
        return mesh_clouds(job.models, job.settings, job.points)
    clouds = _load(job.scans)
    if job.draws:
        return cloud_draws(clouds, job.keys, job.settings.seed, job.points, job.draws)
    return farthest_clouds(clouds, job.points)
