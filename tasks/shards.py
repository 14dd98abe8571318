"""Stage shards: views, depth maps and points together in WebDataset tars, with a manifest."""

import csv
import logging
import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from c2p.data.files import temporary_name, write_json
from c2p.data.manifest import FILE, read_manifest, shard_rows, summary, verify, write_manifest
from c2p.data.parts import read_scene
from c2p.data.scene import versions
from c2p.data.shards import SampleRef, cloud_digests, views_digest, write_shard
from c2p.data.sources import list_source
from c2p.data.splits import chunks, hold_out, scatter
from c2p.data.tars import index_tar
from c2p.params import Depth, Params, Render
from tasks.closure import code_digest
from tasks.layout import Layout
from tasks.shard_map import Map
from tasks.store import Store
from tasks.store import key as piece_key

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ShardJob:
    """One shard to write, and where the store keeps it."""

    name: str
    key: str
    store: Store
    samples: tuple[SampleRef, ...]
    depth: Depth
    render: Render


def run(params: Params, root: Path, map_: Map) -> None:
    """Write the shards of both splits and the manifest, then check the one against the other.

    Raises ValueError: a class without a usable training model, or no validation model at all.
    """
    layout = Layout(root)
    _write_shards(params, layout, Store(root), map_)
    manifest = read_manifest(layout.shards)
    if wrong := verify(manifest):
        raise RuntimeError(
            f"shards: {len(wrong)} samples differ from what was written ({wrong[0]}); is the disk sound?"
        )
    write_json(layout.metrics("shards"), summary(manifest))


def _write_shards(params: Params, layout: Layout, store: Store, map_: Map) -> None:
    """The shards and their manifest. What is known of each model, some kilobytes, goes with this function's end."""
    collection = "meshes" if params.download.source == "meshes" else "shapenet"
    _, classes = list_source(layout.raw, collection)
    rows = _rows(layout, params)
    captions = _captions(layout.raw / collection / "captions.csv")
    if not rows:
        raise ValueError(f"{layout.clouds}: no clouds; run the render stage (dvc repro render)")
    refs, digests = _references(layout, rows, store)
    code, made_with = code_digest("tasks.shards"), versions("numpy", "pillow", "torch", "webdataset")
    jobs = []
    for split in ("train", "val"):
        order = scatter(key for key, ref in refs.items() if rows[key]["split"] == split)
        for number, keys in enumerate(chunks(order, params.shards.samples_per_shard)):
            samples = tuple(refs[key] for key in keys)
            inputs = [[s.key, *digests[s.key], s.meta] for s in samples]
            piece = piece_key("shards", code, params.depth, params.render.views, made_with, inputs)
            jobs.append(ShardJob(f"{split}-{number:06d}.tar", piece, store, samples, params.depth, params.render))
    _check_classes(classes, [rows[s.key] for job in jobs for s in job.samples])
    map_(shard_job, jobs, names=[job.name.removesuffix(".tar") for job in jobs])
    staged = {layout.shards / job.name: temporary_name(layout.shards / job.name) for job in jobs}
    try:
        for job, temporary in zip(jobs, staged.values(), strict=True):
            store.link(job.key, ".tar", temporary)
        manifest_rows = _manifest_rows(jobs, list(staged.values()), rows, captions)
        write_manifest(layout.shards, classes, manifest_rows, commit=lambda: _put_in_place(layout.shards, staged))
    finally:
        for temporary in staged.values():
            temporary.unlink(missing_ok=True)


def shard_job(job: ShardJob) -> None:
    """Write one shard into the store."""
    job.store.get_or_make(job.key, ".tar", lambda out: write_shard(out, job.samples, job.depth, job.render))


def _manifest_rows(
    jobs: Sequence[ShardJob], shards: Sequence[Path], rows: dict[str, dict[str, Any]], captions: dict[str, list[str]]
) -> Iterator[dict[str, Any]]:
    """Rows of the manifest: samples in the order of the shards, then what could not be used, by key."""
    for job, shard in zip(jobs, shards, strict=True):
        places = _places(job, shard)
        for sample in job.samples:
            placed = {"shard": job.name, "captions": captions.get(sample.key, []), **places[sample.key]}
            yield rows[sample.key] | placed
    for _, row in sorted(rows.items()):
        if row["reason"]:
            yield row | {"shard": "", "sha256": ""}


def _put_in_place(folder: Path, staged: dict[Path, Path]) -> None:
    """Give the shards their names; without a manifest while they are not those that it tells of."""
    same = all(shard.exists() and shard.samefile(temporary) for shard, temporary in staged.items())
    others = [path for path in folder.glob("*.tar") if path not in staged and not path.name.startswith(".")]
    if not same or others:
        (folder / FILE).unlink(missing_ok=True)
    for shard, temporary in staged.items():
        os.replace(temporary, shard)
    for other in others:  # of an earlier run with more shards
        other.unlink()


def _places(job: ShardJob, shard: Path) -> dict[str, dict[str, Any]]:
    """What the manifest says of a finished shard's samples.

    Raises ValueError: the piece was damaged since it was written; it is removed, so that the next run makes it again.
    """
    try:
        places = shard_rows(shard)
        damage = "" if set(places) == {s.key for s in job.samples} else "samples are missing"
    except ValueError as error:
        damage = str(error)
    if damage:
        job.store.forget(job.key, ".tar")
        raise ValueError(f"shards: {job.name} was damaged after it was finished ({damage}); it is removed: run again")
    return places


def _rows(layout: Layout, params: Params) -> dict[str, dict[str, Any]]:
    columns = ["key", "label", "split", "source", "sha256", "faces", "centre", "scale", "reason"]
    tables = (pq.read_table(p, columns=columns) for p in sorted(layout.clouds.glob("part-*.parquet")))
    rows = {row["key"]: row for table in tables for row in table.to_pylist()}
    if params.download.source == "meshes":  # the collection brings no validation split
        labels = {key: row["label"] for key, row in rows.items() if not row["reason"]}
        for key in hold_out(labels, params.shards.validation_share):
            rows[key]["split"] = "val"
    return rows


def _references(
    layout: Layout, rows: dict[str, dict[str, Any]], store: Store
) -> tuple[dict[str, SampleRef], dict[str, tuple[str, str]]]:
    """Where the pieces of every sample lie, and the SHA-256 of its views and of its points, by key.

    A shard depends on these, not on its neighbours in the parts: a changed model changes no other's shard.
    """
    refs, digests = {}, {}
    for tar in sorted(layout.rgb.glob("part-*.tar")):
        points = layout.points / f"{tar.stem}.parquet"
        clouds = layout.clouds / f"{tar.stem}.parquet"
        scene = read_scene(pq.read_schema(clouds).metadata, clouds)
        sampled = cloud_digests(points)
        shared = store.share(tar), store.share(points)
        for name, members in index_tar(tar).items():
            row = rows[name]
            fields = ("label", "split", "source", "sha256", "faces")
            meta = {"key": name, "scene": scene} | {field: row[field] for field in fields}
            meta["normalisation"] = {"centre": row["centre"], "scale": row["scale"]}
            views = tuple((offset, size) for _, offset, size in members)
            refs[name] = SampleRef(name, shared[0], views, shared[1], meta)
            digests[name] = (views_digest(tar, views), sampled[name])
    return refs, digests


def _captions(path: Path) -> dict[str, list[str]]:
    captions: dict[str, list[str]] = defaultdict(list)
    if path.is_file():
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            if not {"key", "caption"} <= set(reader.fieldnames or ()):
                raise ValueError(f"{path}: header {','.join(reader.fieldnames or ())!r}; allowed: key,caption")
            for row in reader:
                captions[row["key"]].append(row["caption"])
    return captions


def _check_classes(classes: tuple[str, ...], used: list[dict[str, Any]]) -> None:
    present = {row["label"] for row in used if row["split"] == "train"}
    missing = [name for name in classes if name not in present]
    if missing:
        raise ValueError(
            f"shards: class {missing[0]!r} has no usable training model; mend its meshes or remove the class"
        )
    if not any(row["split"] == "val" for row in used):
        raise ValueError(
            "shards: no validation model; list some in val.txt, or give a class two usable training meshes"
        )
