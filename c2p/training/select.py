"""Choosing a checkpoint on the validation split of the pre-training collection, never on a benchmark set.

Letters: N objects, V view, P points a cloud, C feature width, K class.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from c2p import params
from c2p.geometry.depth import depth_images, depth_maps
from c2p.models.depth_encoder import DepthEncoder
from c2p.training.distributed import ALONE, Ranks
from c2p.training.gradients import autocast
from c2p.training.history import ACCURACY, History

CLASS_MEAN = "validation_class_mean"
"""Mean of the classes' accuracies, percent: each class counts the same."""
IMAGES_PER_BATCH = 320


@dataclass(frozen=True)
class Selection:
    """What was chosen."""

    seed: int
    """The seed with the best validated checkpoint."""
    epochs: dict[int, int]
    """Best epoch (finished epochs) of every seed."""
    accuracies: dict[int, float]
    """Its validation accuracy, percent."""


@torch.no_grad()
def validate(
    encoder: DepthEncoder,
    *,
    points: Tensor,
    labels: Tensor,
    text: Tensor,
    rotations: Tensor,
    depth: params.Depth,
    precision: str = "float32",
    ranks: Ranks = ALONE,
) -> dict[str, float]:
    """Zero-shot accuracy of depth maps at the plain distance, all views' cosines summed (Eq. 15 without its softmax).

    points: (N, P, 3) float32, unit sphere, y up: the same at every call, nothing is resampled. labels: (N,) int64.
    text: (K, C), L2-normalised. rotations: (V, 3, 3). Each rank classifies its share.
    Returns {ACCURACY: percent, CLASS_MEAN: percent over the classes that occur}.
    """
    device = encoder.device
    rotations, text = rotations.to(device, torch.float32), text.to(device)
    points, labels = points.to(device), labels.to(device)  # at once: a copy for each part would wait for a GPU
    size = max(1, IMAGES_PER_BATCH // len(rotations))
    counts = torch.zeros(2, len(text), dtype=torch.int64, device=device)  # objects of each class; the right ones
    parts = list(zip(points.split(size), labels.split(size), strict=True))
    for part, wanted in parts[ranks.rank :: ranks.size]:
        images = depth_images(depth_maps(part, rotations, depth))
        with autocast(device, precision):
            features = functional.normalize(encoder(images.flatten(0, 1)), dim=-1)
        cosines = features.reshape(len(part), len(rotations), -1).sum(1) @ text.T
        counts[0].index_add_(0, wanted, torch.ones_like(wanted))
        counts[1].index_add_(0, wanted, (cosines.argmax(1) == wanted).long())
    ranks.sum_([counts])
    return dict(zip((ACCURACY, CLASS_MEAN), accuracies(counts), strict=True))


def accuracies(counts: Tensor) -> tuple[float, float]:
    """Percent right, and the mean over the classes that occur; counts: (2, K) objects of each class and right ones."""
    objects, right = counts.cpu().double()
    means = (right / objects)[objects > 0]
    return 100 * right.sum().item() / objects.sum().item(), 100 * means.mean().item()


def best_epoch(history: History) -> tuple[int, float]:
    """Epoch (finished epochs) and accuracy of the best validated checkpoint; of equals, the one trained longest.

    Raises ValueError: no row of the history was validated.
    """
    validated = [(row[ACCURACY], int(row["epoch"])) for row in history if ACCURACY in row]
    if not validated:
        raise ValueError("history: no validated checkpoint in it; run the pre-training with a validation split")
    accuracy, epoch = max(validated)
    return epoch, accuracy


def select_checkpoint(histories: Mapping[int, History]) -> Selection:
    """Choose the best epoch of every seed, and the best seed; of equal seeds, the first.

    Raises ValueError: no seeds, or a seed without a validated checkpoint.
    """
    if not histories:
        raise ValueError("histories: got none; run the pre-training first")
    best = {seed: best_epoch(history) for seed, history in histories.items()}
    return Selection(
        seed=max(best, key=lambda seed: best[seed][1]),
        epochs={seed: epoch for seed, (epoch, _) in best.items()},
        accuracies={seed: accuracy for seed, (_, accuracy) in best.items()},
    )
