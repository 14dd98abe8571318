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
from c2p.training.pretrain import History

ACCURACY = "validation_accuracy"
"""Name of the deciding value in a history, percent."""
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
    encoder: DepthEncoder, *, points: Tensor, labels: Tensor, text: Tensor, rotations: Tensor, depth: params.Depth
) -> dict[str, float]:
    """Zero-shot accuracy of depth maps at the plain distance, all views' cosines summed (Eq. 15 without its softmax).

    points: (N, P, 3) float32, unit sphere, y up. labels: (N,) int64. text: (K, C), L2-normalised. rotations: (V, 3, 3).
    Returns {ACCURACY: percent}.
    """
    device = encoder.device
    rotations = rotations.to(device, torch.float32)
    batch = max(1, IMAGES_PER_BATCH // len(rotations))
    correct = 0
    for part, wanted in zip(points.split(batch), labels.split(batch), strict=True):
        images = depth_images(depth_maps(part.to(device), rotations, depth))
        features = functional.normalize(encoder(images.flatten(0, 1)), dim=-1)
        cosines = features.reshape(len(part), len(rotations), -1).sum(1) @ text.to(device).T
        correct += int((cosines.argmax(1).cpu() == wanted).sum())
    return {ACCURACY: 100 * correct / len(points)}


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
