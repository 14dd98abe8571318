"""Stage render: RGB views and surface clouds of every pre-training mesh, part by part."""

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import pyarrow.parquet as pq

from c2p.data.files import write_atomic, write_json
from c2p.data.models import Model, fingerprint
from c2p.data.parts import render_part
from c2p.data.sources import list_source
from c2p.data.splits import chunks
from c2p.params import Params, Render
from tasks.closure import code_digest
from tasks.layout import Layout
from tasks.shard_map import Map
from tasks.store import Store, key, link_into

logger = logging.getLogger(__name__)


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
    jobs: list[PartJob] = []
    for _, group in groupby(models, key=lambda m: m.archive):
        for part in chunks(list(group), params.render.part_size):
            piece = key("render", code, params.render, [fingerprint(m) for m in part])
            jobs.append(PartJob(f"part-{len(jobs):05d}", piece, store, tuple(part), params.render))
    map_(render_job, jobs, names=[job.name for job in jobs])
    for job in jobs:
        link_into(store.path(job.key, ".tar"), layout.rgb / f"{job.name}.tar")
        link_into(store.path(job.key, ".parquet"), layout.clouds / f"{job.name}.parquet")
    _count_rejects(layout, jobs, params.render.max_reject_rate)


def render_job(job: PartJob) -> None:
    """Render one part into the store; the clouds get their name first, so a finished tar means a finished part."""

    def make(temporary: Path) -> None:
        clouds = job.store.path(job.key, ".parquet")
        write_atomic(clouds, lambda scratch: render_part(job.models, job.settings, temporary, scratch))

    job.store.get_or_make(job.key, ".tar", make)


def _count_rejects(layout: Layout, jobs: Sequence[PartJob], limit: float) -> None:
    reasons: Counter[str] = Counter()
    total = 0
    for job in jobs:
        for row in pq.read_table(layout.clouds / f"{job.name}.parquet", columns=["key", "reason"]).to_pylist():
            total += 1
            if row["reason"]:
                reasons[row["reason"]] += 1
                logger.warning("%s is left out: %s", row["key"], row["reason"])
    rejected = sum(reasons.values())
    if rejected > limit * total:
        (reason, count) = reasons.most_common(1)[0]
        raise ValueError(
            f"render: {rejected} of {total} meshes can't be used ({count} of them: {reason}); allowed share: {limit}; "
            "mend the meshes or raise render.max_reject_rate"
        )
    rate = round(rejected / max(1, total), 6)
    write_json(layout.metrics("render"), {"models": total, "rejected": rejected, "reject_rate": rate})
