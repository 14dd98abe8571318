"""Stage render: RGB views and surface clouds of every pre-training mesh, part by part."""

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from c2p.data.archive import is_unread
from c2p.data.files import write_json
from c2p.data.models import Model, fingerprint
from c2p.data.parts import render_part
from c2p.data.places import name_of
from c2p.data.scene import describe, versions
from c2p.data.sources import list_source
from c2p.data.splits import clusters
from c2p.params import Params, Render
from tasks.closure import code_digest
from tasks.layout import Layout
from tasks.shard_map import Map
from tasks.store import Store, key

logger = logging.getLogger(__name__)
LISTED = 5
"""Rejected meshes, or reasons, that are named in the log."""


@dataclass(frozen=True)
class PartJob:
    """One part to render, and where the store keeps it."""

    name: str
    key: str
    store: Store
    models: tuple[Model, ...]
    settings: Render


def run(params: Params, root: Path, map_: Map) -> None:
    """Render all parts, gather them in data/rgb and data/clouds, and count what could not be used.

    Raises ValueError: more meshes were rejected than render.max_reject_rate allows.
    """
    layout, store = Layout(root), Store(root)
    meshes = params.download.source == "meshes"
    models, _ = list_source(layout.raw, "meshes" if meshes else "shapenet")
    if meshes:
        models = [m for m in models if m.split == "train"]
    code = code_digest("tasks.render")
    settings = replace(params.render, part_size=1, max_reject_rate=0.0)  # what a part's bytes don't depend on
    made_with = [describe(params.render), versions("pyarrow")]
    archives = {archive: str(store.share(archive)) for archive in sorted({m.archive for m in models})}
    jobs: list[PartJob] = []
    for archive, group in groupby(models, key=lambda m: m.archive):
        for part in clusters(list(group), params.render.part_size, lambda model: model.key):
            piece = key("render", code, settings, made_with, name_of(archive), [fingerprint(m) for m in part])
            shared = tuple(replace(m, archive=archives[m.archive]) for m in part)
            jobs.append(PartJob(f"part-{len(jobs):05d}", piece, store, shared, params.render))
    map_(render_job, jobs, names=[job.name for job in jobs])
    for job in jobs:
        store.link(job.key, ".tar", layout.rgb / f"{job.name}.tar")
        store.link(job.key, ".parquet", layout.clouds / f"{job.name}.parquet")
    names = {job.name for job in jobs}
    for other in [*layout.rgb.glob("part-*.tar"), *layout.clouds.glob("part-*.parquet")]:
        if other.stem not in names:  # of an earlier run with more parts
            other.unlink()
    _count_rejects(layout, jobs, params.render.max_reject_rate)


def render_job(job: PartJob) -> None:
    """Render one part, a tar and its clouds, into the store."""
    job.store.get_or_make_all(
        job.key, (".tar", ".parquet"), lambda tar, clouds: render_part(job.models, job.settings, tar, clouds)
    )


def _count_rejects(layout: Layout, jobs: Sequence[PartJob], limit: float) -> None:
    count = 0
    rejected: list[dict[str, Any]] = []
    for job in jobs:
        table = pq.read_table(layout.clouds / f"{job.name}.parquet", columns=["source", "reason"])
        rows = [row for row in table.to_pylist() if row["reason"]]
        if any(is_unread(row["reason"]) for row in rows):  # a sound copy of the archive has the same key
            for suffix in (".tar", ".parquet"):
                job.store.forget(job.key, suffix)
        count, rejected = count + len(table), rejected + rows
    rejected.sort(key=lambda row: row["source"])
    if len(rejected) > limit * count:
        reasons = Counter(row["reason"] for row in rejected).most_common(LISTED)
        raise ValueError(
            f"render: {len(rejected)} of {count} meshes can't be used "
            f"({', '.join(f'{count} {reason}' for reason, count in reasons)}; the first is {rejected[0]['source']}); "
            f"allowed share: {limit}; mend the meshes or raise render.max_reject_rate"
        )
    for row in rejected[:LISTED]:
        logger.warning("%s is left out: %s", row["source"], row["reason"])
    if len(rejected) > LISTED:
        logger.warning("and %d more; data/clouds and the manifest name them", len(rejected) - LISTED)
    rate = round(len(rejected) / max(1, count), 6)
    write_json(layout.metrics("render"), {"models": count, "rejected": len(rejected), "reject_rate": rate})
