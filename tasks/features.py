"""Stage features: the frozen teacher's image features of every view, once, in half precision, and of every prompt."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from c2p.data.features import (
    TEXT_FILE,
    feature_file,
    renders_digest,
    write_feature_part,
    write_features_manifest,
    write_text_part,
)
from c2p.data.files import sha256
from c2p.data.manifest import FILE, Manifest, read_manifest, read_rgb
from c2p.data.places import exists
from c2p.data.readahead import read_rgb_ahead
from c2p.models.device import compute_device
from c2p.models.folder import clip_digest
from c2p.models.templates import templates_of
from c2p.params import Params
from tasks.closure import code_digest
from tasks.layout import Layout
from tasks.shard_map import Map, worker_count
from tasks.store import Store, key

if TYPE_CHECKING:
    from c2p.models.clip import Clip

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Piece:
    """One file of features and where the store keeps it: a shard's, or with templates the prompts'."""

    file: str
    key: str
    shard: str = ""
    templates: tuple[str, ...] = ()


@dataclass(frozen=True)
class FeatureJob:
    """Pieces to make in one process, on a device."""

    pieces: tuple[Piece, ...]
    store: Store
    shards: Path
    clip: Path
    versions: tuple[str, str]
    """Digests of the teacher and of the manifest: what a worker has loaded may be older."""
    device: str
    threads: int
    """That decode pictures beside the device's work; 0: none."""


def run(params: Params, root: Path, map_: Map) -> None:
    """Encode every shard and every prompt into data/features.

    On a CPU each worker makes one piece; a GPU gets one process, which makes them all while threads decode for it.
    """
    layout, store = Layout(root), Store(root)
    manifest = read_manifest(layout.shards)
    versions = clip_digest(layout.clip), sha256(layout.shards / FILE)
    templates = templates_of(params.zeroshot)
    pieces = [*_shard_pieces(manifest, versions[0]), _text_piece(manifest, templates, versions[0])]
    missing = tuple(piece for piece in pieces if not exists(store.place(piece.key, ".npy")))
    logger.info("features: %d of %d pieces to make", len(missing), len(pieces))
    device = compute_device()
    gpu = device.type != "cpu"
    groups = [missing] if gpu and missing else [(piece,) for piece in missing]
    threads = worker_count() if gpu else 0
    jobs = [FeatureJob(g, store, layout.shards, layout.clip, versions, str(device), threads) for g in groups]
    map_(feature_job, jobs, names=[f"features {Path(g[0].file).stem if not gpu else device}" for g in groups])
    for piece in pieces:
        store.link(piece.key, ".npy", layout.features / piece.file)
    write_features_manifest(layout.features, manifest, teacher=versions[0], templates=templates)


def feature_job(job: FeatureJob) -> None:
    """Make pieces into the store, one after the other."""
    from c2p.models.pictures import encode_pictures  # workers load open_clip; where nothing is to be made, nobody does
    from c2p.models.prompts import encode_prompts

    manifest, clip = _manifest(job.shards, job.versions[1]), _clip(job.clip, job.versions[0], job.device)
    for piece in job.pieces:

        def make(out: Path, piece: Piece = piece) -> None:
            if piece.templates:
                write_text_part(out, encode_prompts(clip, manifest.classes, piece.templates))
            else:
                rows = [row for row in manifest.rows if row["shard"] == piece.shard]
                write_feature_part(out, encode_pictures(clip, _pictures(manifest, rows, job.threads)))

        job.store.get_or_make(piece.key, ".npy", make)
        logger.info("features: %s", piece.file)


def _shard_pieces(manifest: Manifest, teacher: str) -> list[Piece]:
    """Image features rest on the teacher, on the shard's renders and on the code that encodes, on nothing else."""
    code = code_digest("c2p.models.pictures", "c2p.data.pictures")
    rows: dict[str, list[dict[str, Any]]] = {}
    for row in manifest.rows:
        if row["shard"]:
            rows.setdefault(row["shard"], []).append(row)
    return [
        Piece(feature_file(shard), key("features", code, teacher, renders_digest(manifest, some)), shard)
        for shard, some in rows.items()
    ]


def _text_piece(manifest: Manifest, templates: tuple[str, ...], teacher: str) -> Piece:
    code = code_digest("c2p.models.prompts")
    return Piece(TEXT_FILE, key("text", code, teacher, manifest.classes, templates), templates=templates)


def _pictures(manifest: Manifest, rows: list[dict[str, Any]], threads: int) -> Iterable[np.ndarray]:
    return read_rgb_ahead(manifest, rows, threads=threads) if threads else read_rgb(manifest, rows)


@lru_cache(maxsize=1)
def _clip(folder: Path, version: str, device: str) -> "Clip":
    from c2p.models.clip import load_clip

    clip = load_clip(folder)
    clip.model.to(device)
    return clip


@lru_cache(maxsize=1)
def _manifest(folder: Path, version: str) -> Manifest:
    return read_manifest(folder)
