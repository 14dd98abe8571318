"""Stage features: the frozen teacher's image features of every view, once, in half precision."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from c2p.data.features import write_feature_part
from c2p.data.files import sha256
from c2p.data.manifest import FILE, Manifest, read_manifest, read_rgb
from c2p.models.clip import WEIGHTS_FILE, Clip, load_clip
from c2p.models.pictures import encode_pictures
from c2p.params import Params
from tasks.closure import code_digest
from tasks.layout import Layout
from tasks.shard_map import Map
from tasks.store import Store, key


@dataclass(frozen=True)
class FeatureJob:
    """One shard to encode, and where the store keeps its features."""

    shard: str
    key: str
    store: Store
    shards: Path
    clip: Path
    versions: tuple[str, str]
    """SHA-256 of the teacher's weights and of the manifest: what a worker has loaded may be older."""


def run(params: Params, root: Path, map_: Map) -> None:
    """Encode every shard into data/features/<shard>.npy."""
    layout, store = Layout(root), Store(root)
    shards = list(dict.fromkeys(row["shard"] for row in read_manifest(layout.shards).rows if row["shard"]))
    versions = sha256(layout.clip / WEIGHTS_FILE), sha256(layout.shards / FILE)
    code = code_digest("tasks.features")
    jobs = []
    for shard in shards:
        piece = key("features", code, versions[0], sha256(layout.shards / shard))
        jobs.append(FeatureJob(shard, piece, store, layout.shards, layout.clip, versions))
    map_(feature_job, jobs, names=[f"features {shard.removesuffix('.tar')}" for shard in shards])
    for job in jobs:
        store.link(job.key, ".npy", layout.features / f"{job.shard.removesuffix('.tar')}.npy")


def feature_job(job: FeatureJob) -> None:
    """Encode one shard into the store."""

    def make(out: Path) -> None:
        manifest = _manifest(job.shards, job.versions[1])
        rows = [row for row in manifest.rows if row["shard"] == job.shard]
        write_feature_part(out, encode_pictures(_clip(job.clip, job.versions[0]), read_rgb(manifest, rows)))

    job.store.get_or_make(job.key, ".npy", make)


@lru_cache(maxsize=1)
def _clip(folder: Path, version: str) -> Clip:
    return load_clip(folder)


@lru_cache(maxsize=1)
def _manifest(folder: Path, version: str) -> Manifest:
    return read_manifest(folder)
