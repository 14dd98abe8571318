"""Stage download: bring the archives of the profile's collections to data/raw, as delivered."""

import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from c2p.data import toy
from c2p.data.catalogue import COLLECTIONS
from c2p.data.download import fetch
from c2p.data.meshpack import take_meshes
from c2p.data.sources import Source, write_sources
from c2p.params import Download, Params
from tasks.layout import Layout
from tasks.shard_map import Map
from tasks.store import link_into

logger = logging.getLogger(__name__)
SEEDS = {"shapenet": 0, "modelnet40": 1, "modelnet10": 2, "scanobjectnn": 3}
"""Offsets between the seeds of the made collections: no shape is in two of them."""


@dataclass(frozen=True)
class CollectionJob:
    """One collection to bring below the raw folder."""

    name: str
    raw: Path
    downloads: Path
    settings: Download


def run(params: Params, root: Path, map_: Map) -> None:
    """Make, copy or fetch every collection of the profile."""
    layout, settings = Layout(root), params.download
    layout.raw.mkdir(parents=True, exist_ok=True)
    pretraining = {"toy": "shapenet", "shapenet": "shapenet", "meshes": "meshes"}[settings.source]
    names = list(dict.fromkeys([pretraining, *settings.benchmarks]))
    jobs = [CollectionJob(name, layout.raw, layout.store / "downloads", settings) for name in names]
    write_sources(layout.raw, map_(collection_job, jobs, names=names))


def collection_job(job: CollectionJob) -> Source:
    """Bring one collection; says where it lies."""
    logger.info("download: %s", job.name)
    if job.name == "meshes":
        archive = take_meshes(Path(os.path.expanduser(job.settings.meshes)), job.raw / "meshes")
        return Source("meshes", f"meshes/{archive.name}", job.settings.up, False)
    if job.settings.source == "toy":
        return _make(job.name, job.raw, job.settings)
    return _fetch(job.name, job.raw, job.downloads)


def _make(name: str, raw: Path, settings: Download) -> Source:
    seed = settings.toy_seed * len(SEEDS) + SEEDS[name]
    train, test = settings.toy_benchmark_train, settings.toy_benchmark_test
    if name == "shapenet":
        toy.write_shapenet(raw / name, seed=seed, train=settings.toy_train, validation=settings.toy_validation)
        return Source(name, name, "y", True)
    if name == "scanobjectnn":
        toy.write_scanobjectnn(raw / name, seed=seed, train=train, test=test)
        return Source(name, name, "y", True)
    title: Literal["ModelNet10", "ModelNet40"] = "ModelNet10" if name == "modelnet10" else "ModelNet40"
    toy.write_modelnet(raw / name / f"{title}.zip", name=title, seed=seed, train=train, test=test)
    return Source(name, f"{name}/{title}.zip", "z", True)


def _fetch(name: str, raw: Path, downloads: Path) -> Source:
    files = COLLECTIONS[name]
    for file in files:
        link_into(fetch(file, downloads), raw / name / file.name)
    single = name.startswith("modelnet")
    return Source(name, f"{name}/{files[0].name}" if single else name, "z" if single else "y", False)
