"""Stage shards: views, depth maps and points together in WebDataset tars, with a manifest."""

import csv
import logging
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from c2p.data.files import sha256, write_json
from c2p.data.manifest import read_manifest, shard_rows, summary, verify, write_manifest
from c2p.data.scene import describe
from c2p.data.shards import SampleRef, write_shard
from c2p.data.sources import list_source
from c2p.data.splits import chunks, hold_out, scatter
from c2p.data.tars import index_tar
from c2p.params import Depth, Params, Render
from tasks.closure import code_digest
from tasks.layout import Layout
from tasks.shard_map import Map
from tasks.store import Store, link_into
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

    Raises ValueError: a class without a usable training model.
    """
    layout, store = Layout(root), Store(root)
    collection = "meshes" if params.download.source == "meshes" else "shapenet"
    _, classes = list_source(layout.raw, collection)
    rows = _rows(layout, params)
    captions = _captions(layout.raw / collection / "captions.csv")
    refs = _references(layout, rows, params.render)
    digests = {path: sha256(Path(path)) for ref in refs.values() for path in (ref.rgb, ref.points)}
    code = code_digest("tasks.shards")
    jobs = []
    for split in ("train", "val"):
        order = scatter(key for key, ref in refs.items() if rows[key]["split"] == split)
        for number, keys in enumerate(chunks(order, params.shards.samples_per_shard)):
            samples = tuple(refs[key] for key in keys)
            inputs = [[s.key, digests[s.rgb], s.views, digests[s.points], s.meta] for s in samples]
            piece = piece_key("shards", code, params.depth, params.render, inputs)
            jobs.append(ShardJob(f"{split}-{number:06d}.tar", piece, store, samples, params.depth, params.render))
    _check_classes(classes, [rows[s.key] for job in jobs for s in job.samples])
    map_(shard_job, jobs, names=[job.name.removesuffix(".tar") for job in jobs])
    manifest_rows = []
    for job in jobs:
        link_into(store.path(job.key, ".tar"), layout.shards / job.name)
        places = shard_rows(layout.shards / job.name)
        for sample in job.samples:
            placed = {"shard": job.name, "captions": captions.get(sample.key, []), **places[sample.key]}
            manifest_rows.append(rows[sample.key] | placed)
    manifest_rows += [row | {"shard": "", "sha256": ""} for _, row in sorted(rows.items()) if row["reason"]]
    write_manifest(layout.shards, classes, manifest_rows)
    manifest = read_manifest(layout.shards)
    if wrong := verify(manifest):
        raise RuntimeError(
            f"shards: {len(wrong)} samples differ from what was written ({wrong[0]}); is the disk sound?"
        )
    write_json(layout.metrics("shards"), summary(manifest))


def shard_job(job: ShardJob) -> None:
    """Write one shard into the store."""
    job.store.get_or_make(job.key, ".tar", lambda out: write_shard(out, job.samples, job.depth, job.render))


def _rows(layout: Layout, params: Params) -> dict[str, dict[str, Any]]:
    columns = ["key", "label", "split", "source", "faces", "centre", "scale", "reason"]
    tables = [pq.read_table(p, columns=columns) for p in sorted(layout.clouds.glob("part-*.parquet"))]
    rows = {row["key"]: row for table in tables for row in table.to_pylist()}
    if params.download.source == "meshes":  # the collection brings no validation split
        labels = {key: row["label"] for key, row in rows.items() if not row["reason"]}
        for key in hold_out(labels, params.shards.validation_share):
            rows[key]["split"] = "val"
    return rows


def _references(layout: Layout, rows: dict[str, dict[str, Any]], render: Render) -> dict[str, SampleRef]:
    scene = describe(render)
    refs = {}
    for tar in sorted(layout.rgb.glob("part-*.tar")):
        points = str(layout.points / f"{tar.stem}.parquet")
        for name, members in index_tar(tar).items():
            row = rows[name]
            meta = {"key": name, "scene": scene} | {
                field: row[field] for field in ("label", "split", "source", "faces")
            }
            meta["normalisation"] = {"centre": row["centre"], "scale": row["scale"]}
            views = tuple((offset, size) for _, offset, size in members)
            refs[name] = SampleRef(name, str(tar), views, points, meta)
    return refs


def _captions(path: Path) -> dict[str, list[str]]:
    captions: dict[str, list[str]] = defaultdict(list)
    if path.is_file():
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                captions[row["key"]].append(row["caption"])
    return captions


def _check_classes(classes: tuple[str, ...], used: list[dict[str, Any]]) -> None:
    present = {row["label"] for row in used if row["split"] == "train"}
    missing = [name for name in classes if name not in present]
    if missing:
        raise ValueError(
            f"shards: class {missing[0]!r} has no usable training model; mend its meshes or remove the class"
        )
