"""Stage benchmarks: every benchmark set, and the validation split, as clouds of farthest points fixed once."""

import hashlib
import logging
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from c2p.data.benchmarks import Benchmark, PointSet, write_benchmark
from c2p.data.clouds import farthest_clouds, mesh_clouds
from c2p.data.manifest import read_manifest, read_points
from c2p.data.models import Model, fingerprint
from c2p.data.scanobjectnn import VARIANTS, present_classes, read_split
from c2p.data.sources import list_source, read_source
from c2p.data.splits import chunks
from c2p.data.vocabulary import SCANOBJECTNN
from c2p.params import Params, Render
from tasks.closure import code_digest
from tasks.layout import Layout
from tasks.shard_map import Map
from tasks.store import Store, key

logger = logging.getLogger(__name__)
CHUNK = 128
"""Objects a job."""


@dataclass(frozen=True)
class CloudJob:
    """Some objects of a benchmark set, and where the store keeps their points."""

    key: str
    store: Store
    models: tuple[Model, ...]
    scans: Path | None
    """h5-derived clouds (N, P, 3) as .npy, instead of models."""
    settings: Render
    points: int


def run(params: Params, root: Path, map_: Map) -> None:
    """Build data/benchmarks/<name>.parquet for every set of the profile."""
    layout = Layout(root)
    for name in params.download.benchmarks:
        if name == "scanobjectnn":
            for variant in VARIANTS:
                write_benchmark(layout.benchmarks / f"{variant}.parquet", _scans(variant, params, root, map_))
        else:
            write_benchmark(layout.benchmarks / f"{name}.parquet", _meshes(name, params, root, map_))
    manifest = read_manifest(layout.shards)
    train, val = (read_points(manifest, split) for split in ("train", "val"))
    write_benchmark(layout.benchmarks / "validation.parquet", Benchmark("validation", manifest.classes, train, val))


def _meshes(name: str, params: Params, root: Path, map_: Map) -> Benchmark:
    raw = Layout(root).raw
    models, classes = list_source(raw, name)
    code = code_digest("tasks.benchmarks")
    store = Store(root)
    jobs = []
    for part in chunks(models, CHUNK):
        piece = key("benchmarks", code, params.render, params.sample, [fingerprint(m) for m in part])
        jobs.append(CloudJob(piece, store, tuple(part), None, params.render, params.sample.points))
    points = _run(name, jobs, map_)
    order = {label.replace("_", " "): index for index, label in enumerate(classes)}
    labels = np.array([order[m.label] for m in models], dtype=np.int64)
    splits = np.array([m.split for m in models])
    keys = np.array([m.key for m in models], dtype=object)
    sets = [PointSet(tuple(keys[splits == s]), points[splits == s], labels[splits == s]) for s in ("train", "test")]
    title = Path(read_source(raw, name).path).stem if name == "meshes" else name
    return Benchmark(title, classes, *sets)


def _scans(variant: str, params: Params, root: Path, map_: Map) -> Benchmark:
    raw = Layout(root).raw
    source = read_source(raw, "scanobjectnn")
    loaded = {split: read_split(raw / source.path, variant, split) for split in ("train", "test")}
    present = present_classes(loaded["train"][1], complete=not source.made, path=raw / source.path)
    sets = []
    for split, (clouds, labels) in loaded.items():
        points = _run(f"{variant} {split}", _scan_jobs(clouds, params, Store(root)), map_)
        keys = tuple(f"{variant}-{split}-{index:05d}" for index in range(len(labels)))
        sets.append(PointSet(keys, points, np.searchsorted(present, labels)))
    return Benchmark(variant, tuple(SCANOBJECTNN[index] for index in present), *sets)


def _scan_jobs(clouds: np.ndarray, params: Params, store: Store) -> list[CloudJob]:
    code = code_digest("tasks.benchmarks")
    jobs = []
    for start in range(0, len(clouds), CHUNK):
        scans = np.ascontiguousarray(clouds[start : start + CHUNK])
        piece = key("scans", code, params.sample, hashlib.sha256(scans.tobytes()).hexdigest(), list(scans.shape))
        path = store.get_or_make(piece, ".scans.npy", partial(_save, array=scans))
        jobs.append(CloudJob(piece, store, (), path, params.render, params.sample.points))
    return jobs


def _save(path: Path, array: np.ndarray) -> None:
    np.save(path, array)


def _run(name: str, jobs: list[CloudJob], map_: Map) -> np.ndarray:
    names = [f"{name} {number:05d}" for number in range(len(jobs))]
    map_(cloud_job, jobs, names=names)
    return np.concatenate([np.load(job.store.path(job.key, ".npy"), allow_pickle=False) for job in jobs])


def cloud_job(job: CloudJob) -> None:
    """Farthest points of one job's objects, into the store."""

    def make(out: Path) -> None:
        if job.scans is None:
            clouds = mesh_clouds(job.models, job.settings, job.points)
        else:
            clouds = farthest_clouds(np.load(job.scans, allow_pickle=False), job.points)
        np.save(out, clouds)

    job.store.get_or_make(job.key, ".npy", make)
