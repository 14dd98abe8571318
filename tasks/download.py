"""Stage download: bring the archives of the profile's collections to data/raw, as delivered."""

import logging
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from c2p.data import toy
from c2p.data.catalogue import COLLECTIONS, RemoteFile
from c2p.data.cloudpack import take_clouds
from c2p.data.download import Downloads, check_room, fetch_any, wanted
from c2p.data.elsewhere import Known, describe, find, read_in_place
from c2p.data.files import write_atomic
from c2p.data.meshpack import take_meshes
from c2p.data.official import MODELNET_UP, SCANOBJECTNN_UP, SHAPENET_UP
from c2p.data.places import download, to_place
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
    """One collection to make or copy below the raw folder."""

    name: str
    raw: Path
    settings: Download


@dataclass(frozen=True)
class FileJob:
    """One file of a collection to fetch: the first of `choice` that can be had."""

    choice: tuple[RemoteFile, ...]
    raw: Path
    downloads: Downloads


def run(params: Params, root: Path, map_: Map) -> None:
    """Make, copy or fetch every collection of the profile."""
    layout, settings = Layout(root), params.download
    layout.raw.mkdir(parents=True, exist_ok=True)
    names = collection_names(settings)
    local = [name for name in names if name in ("meshes", "clouds") or settings.source == "toy"]
    remote = [name for name in names if name not in local]
    elsewhere: dict[str, Known] = {}
    sources = _fetch(remote, layout.raw, Downloads.of(root), elsewhere, map_) if remote else []
    if local:
        sources += map_(collection_job, [CollectionJob(name, layout.raw, settings) for name in local], names=local)
    write_sources(layout.raw, sorted(sources, key=lambda source: names.index(source.name)), elsewhere)


def collection_names(settings: Download) -> list[str]:
    """Collections a profile needs, the one for pre-training first."""
    pretraining = {"toy": "shapenet", "shapenet": "shapenet", "meshes": "meshes"}[settings.source]
    return list(dict.fromkeys([pretraining, *settings.benchmarks]))


def collection_job(job: CollectionJob) -> Source:
    """Make or copy one collection; says where it lies."""
    logger.info("download: %s", job.name)
    if job.name == "meshes":
        archive = take_meshes(to_place(job.settings.meshes), job.raw / "meshes")
        return Source("meshes", f"meshes/{archive.name}", job.settings.up, False)
    if job.name == "clouds":
        take_clouds([to_place(file) for file in job.settings.clouds], job.raw / "clouds")
        return Source("clouds", "clouds", job.settings.clouds_up, False)
    return _make(job.name, job.raw, job.settings)


def file_job(job: FileJob) -> str:
    """Fetch one file and link it below the raw folder; says where it lies there."""
    path = fetch_any(job.choice, job.downloads)
    name = str(path.relative_to(job.downloads.folder))
    link_into(path, job.raw / name)
    return name


def _make(name: str, raw: Path, settings: Download) -> Source:
    seed = settings.toy_seed * len(SEEDS) + SEEDS[name]
    train, test = settings.toy_benchmark_train, settings.toy_benchmark_test
    if name == "shapenet":
        toy.write_shapenet(raw / name, seed=seed, train=settings.toy_train, validation=settings.toy_validation)
        return Source(name, name, SHAPENET_UP, True)
    if name == "scanobjectnn":
        toy.write_scanobjectnn(raw / name, seed=seed, train=train, test=test)
        return Source(name, name, SCANOBJECTNN_UP, True)
    title: Literal["ModelNet10", "ModelNet40"] = "ModelNet10" if name == "modelnet10" else "ModelNet40"
    toy.write_modelnet(raw / name / f"{title}.zip", name=title, seed=seed, train=train, test=test)
    return Source(name, f"{name}/{title}.zip", MODELNET_UP, True)


def _fetch(names: list[str], raw: Path, downloads: Downloads, elsewhere: dict[str, Known], map_: Map) -> list[Source]:
    """Fetch collections, several files at a time, once it is known that all of them may be had and have room.

    Archives that lie below C2P_ARCHIVES are only noted in `elsewhere`.
    """
    _take_given(names, downloads, elsewhere)
    whole = {name for name in names if any(file.key in elsewhere for file in COLLECTIONS[name].instead)}
    entries = [
        (name, choice)
        for name in names
        for choice in wanted(COLLECTIONS[name], downloads)
        if name not in whole and not any(file.key in elsewhere for file in choice)
    ]
    need = check_room([choice for _, choice in entries], downloads)
    logger.info("download: %d files, %.2f GB to come", len(entries), need / 1e9)
    jobs = [FileJob(choice, raw, downloads) for _, choice in entries]
    places = map_(file_job, jobs, names=[choice[0].key for _, choice in entries])
    sources = []
    for name in names:
        found = [file for file in sorted(elsewhere) if file.startswith(f"{name}/")]
        found += [place for (of, _), place in zip(entries, places, strict=True) if of == name]
        single = name.startswith("modelnet")
        up = {"shapenet": SHAPENET_UP, "scanobjectnn": SCANOBJECTNN_UP}.get(name, MODELNET_UP)
        sources.append(Source(name, found[0] if single else name, up, False))
    return sources


def _take_given(names: list[str], downloads: Downloads, elsewhere: dict[str, Known]) -> None:
    """Note the archives that lie below C2P_ARCHIVES, and take a copy of what else lies there."""
    for name in names:
        for file in (*COLLECTIONS[name].files, *COLLECTIONS[name].instead):
            target = downloads.path(file)
            if target.is_file() or not (place := find(file.key)):
                continue
            if read_in_place(file.key):
                elsewhere[file.key] = describe(place)
                logger.info("download: %s is read where it lies, below C2P_ARCHIVES", file.key)
            else:
                write_atomic(target, partial(download, place))
