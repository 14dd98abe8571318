"""3D encoders beside the CLIP whose language they speak: features of clouds, texts and RGB views, all of length one.

Legend: N cloud, P point, M model, V view, H = W pixels, K text, C feature width.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from c2p.evaluation.features import digest_files
from c2p.models.folder import clip_digest
from c2p.models.network import Clip, prepare_images
from c2p.models.point_folder import WEIGHTS_FILE
from c2p.models.point_model import PointModel, encode_clouds, load_point_model
from c2p.models.prompts import class_text, encode_prompts

Found = TypeVar("Found")
IMAGES_PER_BATCH = {"cpu": 64, "cuda": 512}


@dataclass(frozen=True)
class Speakers:
    """A CLIP and the 3D encoders that speak its language."""

    clip: Clip
    clip_digest: str
    models: dict[int, PointModel]
    """By seed."""
    digests: tuple[str, ...]
    """SHA-256 of the encoders' weights, in the order of the seeds."""

    @property
    def device(self) -> torch.device:
        """Where all of them are."""
        return self.clip.device


def open_speakers(clip_dir: Path, encoders: Path, seeds: Sequence[int], *, device: str = "cpu") -> Speakers:
    """Load a CLIP and the 3D encoders of the seeds, folders `seed-<seed>`.

    Raises ValueError: one is not there or damaged, or was trained with another CLIP.
    """
    from c2p.models.clip import load_clip  # open_clip takes seconds to import

    digest = clip_digest(clip_dir)
    folders = [encoders / f"seed-{seed}" for seed in seeds]
    models = {}
    for seed, folder in zip(seeds, folders, strict=True):
        model = load_point_model(folder)
        if model.clip != digest:
            raise ValueError(
                f"{folder}: a 3D encoder of another CLIP than {clip_dir}; train it again with `dvc repro cg3d`"
            )
        model.encoder.to(torch.device(device))
        models[seed] = model
    clip = load_clip(clip_dir)
    clip.model.to(torch.device(device))
    return Speakers(clip, digest, models, tuple(digest_files(folder / WEIGHTS_FILE) for folder in folders))


def by_seed(speakers: Speakers, hear: Callable[[int, PointModel], Found]) -> dict[int, Found]:
    """What each 3D encoder makes of something, given its seed and itself: side by side on CPUs, in turn on a GPU.

    Side by side each has the threads that PyTorch is set to: with `one_thread` the results don't depend on the cores.
    """
    if speakers.device.type != "cpu":
        return {seed: hear(seed, model) for seed, model in speakers.models.items()}
    with ThreadPoolExecutor(len(speakers.models)) as pool:
        return dict(zip(speakers.models, pool.map(hear, speakers.models, speakers.models.values()), strict=True))


def cloud_features(model: PointModel, points: np.ndarray) -> np.ndarray:
    """(N, P, 3) float32, unit sphere, y up, to (N, C) float32 of length one."""
    return encode_clouds(model.encoder, torch.from_numpy(points)).numpy()


def clouds_by_seed(speakers: Speakers, points: np.ndarray) -> dict[int, np.ndarray]:
    """`cloud_features` of every 3D encoder, by seed."""
    return by_seed(speakers, lambda seed, model: cloud_features(model, points))


def class_features(speakers: Speakers, names: Sequence[str], templates: Sequence[str]) -> np.ndarray:
    """The prompts of classes, (K, C) float32: the mean over the templates."""
    return class_text(encode_prompts(speakers.clip, names, templates))


def text_features(speakers: Speakers, texts: Sequence[str]) -> np.ndarray:
    """(K, C) float32 of texts as they are."""
    return encode_prompts(speakers.clip, texts, ["{}"])[:, 0]


@torch.no_grad()
def view_features(speakers: Speakers, models: Iterable[np.ndarray]) -> dict[int, np.ndarray]:
    """RGB views through the image tower, with the visual prompts of each seed's encoder where it has some.

    A tower that was tuned as a whole is kept nowhere: the CLIP's own stands for it, whose language the encoder learnt
    to speak through the texts.

    Args:
        models: (V, H, W, 3) uint8 of each of M models; they are read once and not kept.
    Returns:
        By seed, (M, V, C) float32.
    """
    towers = {seed: _tower(speakers.clip, model.prompts) for seed, model in speakers.models.items()}
    found: dict[int, list[Tensor]] = {seed: [] for seed in towers}

    @torch.no_grad()  # holds for the thread that says so
    def look(seed: int, model: PointModel) -> Tensor:
        return functional.normalize(towers[seed](prepared).float(), dim=-1).cpu()

    views = 0
    for pictures in _batches(models, IMAGES_PER_BATCH[speakers.device.type]):
        views = pictures.shape[1]
        flat = pictures.flatten(0, 1).permute(0, 3, 1, 2).to(speakers.device)
        prepared = prepare_images(flat.float() / 255, speakers.clip)
        for seed, features in by_seed(speakers, look).items():
            found[seed].append(features)
    return {seed: torch.cat(parts).unflatten(0, (-1, views)).numpy() for seed, parts in found.items()}


def _tower(clip: Clip, prompts: Tensor | None) -> Callable[[Tensor], Tensor]:
    """The image tower with these visual prompts, or the plain one: prepared images (B, 3, H, W) to (B, C)."""
    if prompts is None:
        return lambda images: clip.model.encode_image(images, normalize=False)
    from c2p.models.visual_prompts import PromptedTower  # open_clip again

    return PromptedTower.with_prompts(clip, prompts)


def _batches(models: Iterable[np.ndarray], images: int) -> Iterator[Tensor]:
    """Views of some models at a time, (m, V, H, W, 3) uint8: about so many pictures."""
    waiting: list[np.ndarray] = []
    for views in models:
        waiting.append(views)
        if len(waiting) * len(views) >= images:
            yield torch.from_numpy(np.stack(waiting))
            waiting = []
    if waiting:
        yield torch.from_numpy(np.stack(waiting))
