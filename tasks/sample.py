"""Stage sample: farthest points of every surface cloud, normalised to the unit sphere."""

from dataclasses import dataclass
from pathlib import Path

from c2p.data.clouds import cloud_digest, sample_part
from c2p.data.places import Place
from c2p.data.scene import versions
from c2p.params import Params
from tasks.closure import code_digest
from tasks.layout import Layout
from tasks.shard_map import Map
from tasks.store import Store, key


@dataclass(frozen=True)
class SampleJob:
    """One part of clouds, and where the store keeps its farthest points."""

    name: str
    key: str
    store: Store
    clouds: Place
    points: int


def run(params: Params, root: Path, map_: Map) -> None:
    """Sample every part of data/clouds into data/points.

    Raises ValueError: there are none.
    """
    layout, store = Layout(root), Store(root)
    code, made_with = code_digest("tasks.sample"), versions("numba", "numpy", "pyarrow")
    jobs = []
    for path in sorted(layout.clouds.glob("part-*.parquet")):
        piece = key("sample", code, params.sample, made_with, cloud_digest(path))
        jobs.append(SampleJob(path.name, piece, store, store.share(path), params.sample.points))
    if not jobs:
        raise ValueError(f"{layout.clouds}: no clouds; run the render stage (dvc repro render)")
    map_(sample_job, jobs, names=[job.name.removesuffix(".parquet") for job in jobs])
    for job in jobs:
        store.link(job.key, ".parquet", layout.points / job.name)
    names = {job.name for job in jobs}
    for other in layout.points.glob("part-*.parquet"):
        if other.name not in names:  # of an earlier run with more parts
            other.unlink()


def sample_job(job: SampleJob) -> None:
    """Sample one part into the store."""
    job.store.get_or_make(job.key, ".parquet", lambda out: sample_part(job.clouds, job.points, out))
