"""Stage benchmarks: every benchmark set, and the validation split, as clouds of farthest points fixed once."""

import hashlib
import io
import logging
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from c2p.data.benchmarks import Benchmark, PointSet, write_benchmark
from c2p.data.clouds import farthest_clouds, mesh_clouds
from c2p.data.manifest import read_manifest, read_points
from c2p.data.models import Model, fingerprint
from c2p.data.places import Place, read_bytes
from c2p.data.scanobjectnn import VARIANTS, present_classes, read_split
from c2p.data.scene import versions
from c2p.data.sources import list_source, read_source
from c2p.data.splits import chunks
from c2p.data.vocabulary import SCANOBJECTNN
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
    """h5-derived clouds (N, P, 3) as .npy, instead of models."""
    settings: Render
    points: int


@dataclass(frozen=True)
class SplitPlan:
    """One split of a set before its points are there."""

    keys: tuple[str, ...]
    labels: np.ndarray
    jobs: tuple[CloudJob, ...]

    def read(self) -> PointSet:
        """The split, once its jobs are done."""
        clouds = [_load(job.store.place(job.key, ".npy")) for job in self.jobs]
        return PointSet(self.keys, np.concatenate(clouds), self.labels)


@dataclass(frozen=True)
class SetPlan:
    """A benchmark set before its points are there."""

    file: str
    title: str
    classes: tuple[str, ...]
    train: SplitPlan
    test: SplitPlan


def run(params: Params, root: Path, map_: Map) -> None:
    """Build data/benchmarks/<name>.parquet for every set of the profile."""
    layout = Layout(root)
    manifest = read_manifest(layout.shards)
    rejected = {row["key"] for row in manifest.rejected} if params.download.source == "meshes" else set()
    plans: list[SetPlan] = []
    for name in params.download.benchmarks:
        if name == "scanobjectnn":
            plans += [_plan_scans(variant, params, root) for variant in VARIANTS]
        else:
            plans.append(_plan_meshes(name, params, root, rejected if name == "meshes" else set()))
    named = [
        (f"{plan.file}-{split}-{number:03d}", job)
        for plan in plans
        for split, part in (("train", plan.train), ("test", plan.test))
        for number, job in enumerate(part.jobs)
    ]
    map_(cloud_job, [job for _, job in named], names=[name for name, _ in named])
    for plan in plans:
        benchmark = Benchmark(plan.title, plan.classes, plan.train.read(), plan.test.read())
        write_benchmark(layout.benchmarks / f"{plan.file}.parquet", benchmark)
    train, val = (read_points(manifest, split) for split in ("train", "val"))
    write_benchmark(layout.benchmarks / "validation.parquet", Benchmark("validation", manifest.classes, train, val))


def _plan_meshes(name: str, params: Params, root: Path, left_out: set[str]) -> SetPlan:
    """left_out: keys of training meshes that pre-training could not use; a test mesh is never left out."""
    raw = Layout(root).raw
    models, classes = list_source(raw, name)
    order = {label.replace("_", " "): index for index, label in enumerate(classes)}
    code, store = [code_digest("tasks.benchmarks"), versions(*LIBRARIES)], Store(root)
    archives = {archive: str(store.share(archive)) for archive in sorted({m.archive for m in models})}
    surface = [params.render.cloud_points, params.render.max_faces, params.render.seed]

    def plan(split: str) -> SplitPlan:
        members = [m for m in models if m.split == split and m.key not in left_out]
        jobs = []
        for part in chunks(members, CHUNK):
            piece = key("benchmarks", code, surface, params.sample, [fingerprint(m) for m in part])
            shared = tuple(replace(m, archive=archives[m.archive]) for m in part)
            jobs.append(CloudJob(piece, store, shared, None, params.render, params.sample.points))
        labels = np.array([order[m.label] for m in members], dtype=np.int64)
        return SplitPlan(tuple(m.key for m in members), labels, tuple(jobs))

    title = Path(read_source(raw, name).path).stem if name == "meshes" else name
    return SetPlan(name, title, classes, plan("train"), plan("test"))


def _plan_scans(variant: str, params: Params, root: Path) -> SetPlan:
    raw = Layout(root).raw
    source = read_source(raw, "scanobjectnn")
    loaded = {split: read_split(raw / source.path, variant, split) for split in ("train", "test")}
    folder = raw / source.path
    present, tested = (present_classes(of, complete=not source.made, path=folder) for _, of in loaded.values())
    if lone := sorted(set(present) ^ set(tested)):
        raise ValueError(f"{folder}: {variant} has class {SCANOBJECTNN[lone[0]]!r} in one split only; allowed: in both")

    def plan(split: str) -> SplitPlan:
        clouds, labels = loaded[split]
        keys = tuple(f"{variant}-{split}-{index:05d}" for index in range(len(labels)))
        return SplitPlan(keys, np.searchsorted(present, labels), _scan_jobs(clouds, params, Store(root)))

    return SetPlan(variant, variant, tuple(SCANOBJECTNN[index] for index in present), plan("train"), plan("test"))


def _scan_jobs(clouds: np.ndarray, params: Params, store: Store) -> tuple[CloudJob, ...]:
    code = [code_digest("tasks.benchmarks"), versions(*LIBRARIES)]
    jobs = []
    for start in range(0, len(clouds), CHUNK):
        scans = np.ascontiguousarray(clouds[start : start + CHUNK])
        piece = key(
            "scans",
            code,
            params.sample,
            hashlib.sha256(scans.tobytes()).hexdigest(),
            list(scans.shape),
        )
        path = store.get_or_make(piece, ".scans.npy", partial(_save, array=scans))
        jobs.append(CloudJob(piece, store, (), path, params.render, params.sample.points))
    return tuple(jobs)


def _save(path: Path, array: np.ndarray) -> None:
    np.save(path, array)


def _load(place: Place) -> np.ndarray:
    return np.asarray(np.load(io.BytesIO(read_bytes(place)), allow_pickle=False))


def cloud_job(job: CloudJob) -> None:
    """Farthest points of one job's objects, into the store."""

    def make(out: Path) -> None:
        if job.scans is None:
            clouds = mesh_clouds(job.models, job.settings, job.points)
        else:
            clouds = farthest_clouds(_load(job.scans), job.points)
        np.save(out, clouds)

    job.store.get_or_make(job.key, ".npy", make)
