"""The bank: features of benchmark sets under frozen encoders, planned first, then made piece by piece.

Planning gives the files a feature set will lie in and remembers which of them are missing; `make` hands the missing
ones out as jobs. A piece is named by all it depends on, so stages share pieces and a killed run keeps what it had;
what that is stands beside it as JSON.

Legend: N object, V view, P point, C feature width, K class.
"""

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from safetensors import safe_open

from c2p.data.benchmarks import Benchmark, read_benchmark
from c2p.data.files import write_json
from c2p.evaluation.augmentation import Augmentation, Jittered
from c2p.evaluation.drawings import Drawing
from c2p.evaluation.features import (
    digest_array,
    digest_code,
    digest_files,
    digest_weights,
    encode_views,
    one_thread,
    place,
    write_array,
)
from c2p.evaluation.prompts import Prompts, from_templates
from c2p.geometry.views import view_set

log = logging.getLogger(__name__)

PIECE = 256
"""Objects a piece: the unit of parallel work and of recovery."""
IMAGES_PER_BATCH = {"cpu": 64, "cuda": 512}
"""Small enough for a core's cache (30 % faster than 320), large enough for a GPU."""
TOWERS = 2
"""Encoders that a process holds at a time, and that share the pictures of a piece."""

Map = Callable[..., list[Any]]
"""map_(function, jobs, names=labels) runs a function over picklable jobs and keeps their order."""


def serial(function: Callable[[Any], Any], jobs: Sequence[Any], *, names: Sequence[str] | None = None) -> list[Any]:
    """Run jobs one after the other in this process."""
    return [function(job) for job in jobs]


@dataclass(frozen=True)
class Source:
    """A benchmark file as it was when it was opened."""

    path: Path
    sha256: str

    def read(self) -> Benchmark:
        """Its content; the last ones read are kept."""
        return _read(self)


@dataclass(frozen=True)
class Tower:
    """An encoder, and the piece that is to hold its features."""

    encoder: Path
    """Folder in open_clip's local-dir layout."""
    weights: str
    """Digest of its weights."""
    out: Path


@dataclass(frozen=True)
class EncodeJob:
    """The same piece of the feature sets of one or more encoders: pictures are drawn once for all of them."""

    label: str
    towers: tuple[Tower, ...]
    source: "Source"
    split: str
    rows: tuple[int, ...]
    """Objects of the split."""
    drawing: Drawing
    views: str
    device: str
    augmentation: Augmentation | None = None
    """None: points and distance as they are."""


@dataclass(frozen=True)
class TextJob:
    """Classes whose texts are to be encoded."""

    label: str
    encoder: Path
    weights: str
    prompts: tuple[tuple[str, ...], ...]
    """Texts of every class: the direction of their mean is kept."""
    device: str
    out: Path


def open_source(path: Path) -> Source:
    """Open a benchmark file.

    Raises ValueError: it doesn't exist.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such benchmark set; make it with `dvc repro benchmarks`")
    return Source(path, digest_files(path))


def run_job(job: EncodeJob | TextJob) -> None:
    """Encode and write the piece of every encoder."""
    with one_thread():
        if isinstance(job, TextJob):
            _encode_text(job)
            return
        clips = [_load(tower.encoder, tower.weights, job.device) for tower in job.towers]
        for size in dict.fromkeys(clip.image_size for clip in clips):  # drawings may depend on it
            alike = [(tower, clip) for tower, clip in zip(job.towers, clips, strict=True) if clip.image_size == size]
            encoded = _encode(job, [clip for _, clip in alike], size)
            for (tower, _), features in zip(alike, encoded, strict=True):
                write_array(tower.out, features)
    log.info("%s: %d objects, %d views, %d encoders", job.label, len(job.rows), len(view_set(job.views)), len(clips))


def run_jobs(jobs: Sequence[EncodeJob | TextJob]) -> None:
    """Make one piece after the other on a GPU, in float32 proper, and leave nothing there."""
    try:
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            for job in jobs:
                run_job(job)
    finally:
        _load.cache_clear()
        torch.cuda.empty_cache()


def _encode(job: EncodeJob, clips: Sequence[Any], size: tuple[int, int]) -> list[np.ndarray]:
    """Features (n, V, C) of a job's objects under each of some encoders that take pictures of this size."""
    from c2p.models.clip import encode_images

    def encode(images: torch.Tensor) -> torch.Tensor:
        return torch.cat([encode_images(clip, images, standardise=job.drawing.standardise) for clip in clips], -1)

    views = view_set(job.views)
    points, distances = _seen(job.source, job.split, job.rows, job.augmentation)
    draw = partial(job.drawing.draw, image_size=size) if distances is None else Jittered(job.drawing, distances, size)
    batch = max(1, IMAGES_PER_BATCH[torch.device(job.device).type] // len(views))
    features = encode_views(encode, points, views.rotations, draw, batch, device=job.device)
    return np.split(features, np.cumsum([clip.width for clip in clips])[:-1], axis=-1)


def _encode_text(job: TextJob) -> None:
    clip = _load(job.encoder, job.weights, job.device)
    write_array(job.out, _class_directions(clip, job.prompts))


class Bank:
    """Features under a folder of the cache."""

    def __init__(self, folder: Path, *, device: str = "cpu") -> None:
        self.folder = folder
        self.device = device
        self._planned: dict[Path, EncodeJob | TextJob] = {}
        self._digests: dict[Path, str] = {}
        kind = torch.device(device).type
        self._code = {"code": digest_code()} | ({} if kind == "cpu" else {"device": kind})

    def weights(self, encoder: Path) -> str:
        """Digest of an encoder's weights.

        Raises ValueError: the folder isn't in open_clip's local-dir layout.
        """
        if encoder not in self._digests:
            self._digests[encoder] = digest_weights(encoder)
        return self._digests[encoder]

    def features(
        self,
        encoder: Path,
        source: Source,
        split: Literal["train", "test"],
        drawing: Drawing,
        views: str,
        *,
        label: str,
        rows: np.ndarray | None = None,
        augmentation: Augmentation | None = None,
    ) -> tuple[Path, ...]:
        """Plan the features of a split, or of some of its rows; returns the files of their pieces, in order.

        augmentation: the pass over the objects, of the training split only; None: the plain one.
        """
        wanted = np.arange(len(getattr(source.read(), split))) if rows is None else rows
        weights, turns = self.weights(encoder), digest_array(view_set(views).rotations)
        pieces = []
        for start in range(0, len(wanted), PIECE):
            some = tuple(wanted[start : start + PIECE].tolist())
            look = _digests(source, split, some, augmentation)
            out = place(self.folder, {**look, "encoder": weights, "views": turns, **self._code, **drawing.key})
            name = f"{label} {split}" + (f" pass {augmentation.number}" if augmentation else "")
            name += f" {start}" if start else ""
            tower = (Tower(encoder, weights, out),)
            self._plan(out, EncodeJob(name, tower, source, split, some, drawing, views, self.device, augmentation))
            pieces.append(out)
        return tuple(pieces)

    def text(self, encoder: Path, templates: Sequence[str], classes: Sequence[str]) -> Path:
        """Plan the features (K, C) of the classes under an ensemble of templates, of length one; returns their file."""
        return self.prompts(encoder, from_templates(templates, classes))

    def prompts(self, encoder: Path, prompts: Prompts) -> Path:
        """Plan the features (K, C) of classes, each the mean of its texts, of length one; returns their file."""
        out = place(self.folder, {"texts": prompts, "encoder": self.weights(encoder), **self._code})
        more = sum(map(len, prompts)) - 1
        label = f"prompts {prompts[0][0]!r} and {more} more"
        self._plan(out, TextJob(label, encoder, self.weights(encoder), prompts, self.device, out))
        return out

    def make(self, map_: Map) -> None:
        """Make the pieces that were planned and don't exist; the log says what is encoded and what was there.

        On a CPU each worker makes some of them; a GPU gets one process for all.
        """
        missing = [job for out, job in self._planned.items() if not out.exists()]
        for what, kind in (("objects", EncodeJob), ("prompts", TextJob)):
            planned = [job for job in self._planned.values() if isinstance(job, kind)]
            todo = [job for job in missing if isinstance(job, kind)]
            if planned:
                known = sum(map(_size, planned)) - sum(map(_size, todo))
                log.info(
                    "%s: %d to encode, in %d pieces; %d from the cache", what, sum(map(_size, todo)), len(todo), known
                )
        for job in missing:
            if isinstance(job, EncodeJob):
                for tower in job.towers:
                    write_json(tower.out.with_suffix(".json"), _provenance(job, tower))
        if missing:
            shared = _sharing(missing)
            if torch.device(self.device).type == "cpu":
                map_(run_job, shared, names=[job.label for job in shared])
            else:
                map_(run_jobs, [_by_encoders(shared)], names=[f"features on {self.device}"])
        self._planned.clear()

    def _plan(self, out: Path, job: EncodeJob | TextJob) -> None:
        self._planned.setdefault(out, job)


def _sharing(jobs: Sequence[EncodeJob | TextJob]) -> list[EncodeJob | TextJob]:
    """The same work in jobs that draw pictures once for up to TOWERS encoders."""
    texts: list[EncodeJob | TextJob] = [job for job in jobs if isinstance(job, TextJob)]
    alike: dict[EncodeJob, list[EncodeJob]] = {}
    for job in jobs:
        if isinstance(job, EncodeJob):
            alike.setdefault(replace(job, label="", towers=()), []).append(job)
    groups = (some[start : start + TOWERS] for some in alike.values() for start in range(0, len(some), TOWERS))
    return texts + [replace(some[0], towers=tuple(tower for job in some for tower in job.towers)) for some in groups]


def _by_encoders(jobs: Sequence[EncodeJob | TextJob]) -> tuple[EncodeJob | TextJob, ...]:
    """Jobs in an order in which each encoder is loaded once, or nearly."""
    return tuple(sorted(jobs, key=_encoders))


def _encoders(job: EncodeJob | TextJob) -> list[Path]:
    return [job.encoder] if isinstance(job, TextJob) else [tower.encoder for tower in job.towers]


def encoder_width(encoder: Path) -> int:
    """Width of an encoder folder's features, read without building the model.

    Raises ValueError: its configuration gives none.
    """
    config = encoder / "open_clip_config.json"
    try:
        return int(json.loads(config.read_text(encoding="utf-8"))["model_cfg"]["embed_dim"])
    except (KeyError, TypeError, ValueError):
        raise ValueError(f"{config}: no model_cfg.embed_dim; make the encoder again") from None


def logit_scale(encoder: Path) -> float:
    """CLIP's learnt factor on cosines, read from an encoder folder without building the model."""
    with safe_open(encoder / "open_clip_model.safetensors", framework="pt") as weights:
        return float(weights.get_tensor("logit_scale").exp())


def _class_directions(clip: Any, prompts: Prompts) -> np.ndarray:
    """One feature of length one a class, (K, C) float32, from its texts."""
    from c2p.models.clip import encode_text
    from c2p.models.prompts import class_text

    features = encode_text(clip, [text for texts in prompts for text in texts]).cpu().numpy()
    ends = np.cumsum([len(texts) for texts in prompts])
    return np.concatenate([class_text(part[None]) for part in np.split(features, ends[:-1])])


@lru_cache(maxsize=TOWERS)
def _load(encoder: Path, weights: str, device: str) -> Any:
    from c2p.models.clip import load_clip

    clip = load_clip(encoder)
    clip.model.to(torch.device(device))
    return clip


@lru_cache(maxsize=8)
def _read(source: Source) -> Benchmark:
    return read_benchmark(source.path)


@lru_cache(maxsize=2)
def _drawn(source: Source, augmentation: Augmentation) -> np.ndarray | None:
    return augmentation.points(source.path)


def _seen(
    source: Source, split: str, rows: Sequence[int], augmentation: Augmentation | None
) -> tuple[np.ndarray, np.ndarray | None]:
    """Points (n, P, 3) of some objects as a pass sees them, and the factors (n,) on their distances; None: all 1."""
    part = getattr(source.read(), split)
    if augmentation is None:
        return part.points[list(rows)], None
    assert split == "train", "test objects are never augmented"
    drawn = _drawn(source, augmentation)
    points = part.points if drawn is None else drawn
    return points[list(rows)], augmentation.distances([part.keys[row] for row in rows])


@lru_cache(maxsize=1024)
def _digests(source: Source, split: str, rows: tuple[int, ...], augmentation: Augmentation | None) -> dict[str, str]:
    """What of the objects decides their features; kept, since many adapters ask for the same ones."""
    points, distances = _seen(source, split, rows, augmentation)
    return {"points": digest_array(points)} | ({} if distances is None else {"distances": digest_array(distances)})


def _provenance(job: EncodeJob, tower: Tower) -> dict[str, Any]:
    """What a piece was first made from, for people: its name holds the digest of all that, and can't be read."""
    return {
        "encoder": tower.encoder.name,
        "weights": tower.weights,
        "set": job.source.path.name,
        "set_sha256": job.source.sha256,
        "split": job.split,
        "rows": list(job.rows),
        "views": job.views,
        "device": torch.device(job.device).type,
        "drawing": job.drawing.key,
        "augmentation": asdict(job.augmentation) if job.augmentation else None,
        "code": digest_code(),
    }


def _size(job: EncodeJob | TextJob) -> int:
    return len(job.rows) if isinstance(job, EncodeJob) else sum(map(len, job.prompts))
