"""Stage download: bring the archives of the profile's collections to data/raw, as delivered."""

import logging
import os
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


def run(params: Params, root: Path, map_: Map) -> None:
    """Make, copy or fetch every collection of the profile."""
    raw, settings = Layout(root).raw, params.download
    raw.mkdir(parents=True, exist_ok=True)
    made = settings.source == "toy"
    pretraining = {"toy": "shapenet", "shapenet": "shapenet", "meshes": "meshes"}[settings.source]
    names = list(dict.fromkeys([pretraining, *settings.benchmarks]))
    sources = []
    for name in names:
        logger.info("download: %s", name)
        if name == "meshes":
            archive = take_meshes(Path(os.path.expanduser(settings.meshes)), raw / "meshes")
            sources.append(Source(name, f"meshes/{archive.name}", settings.up, False))
        elif made:
            sources.append(_make(name, raw, settings))
        else:
            sources.append(_fetch(name, raw, Layout(root).store / "downloads"))
    write_sources(raw, sources)


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
