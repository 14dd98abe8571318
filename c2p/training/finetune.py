"""Supervised training of a whole 3D encoder with a linear head, from learnt or from random weights.

Letters: N objects, P points a cloud, B batch, C feature width, K class.
"""

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from c2p.cg3d_params import Cg3dFinetune
from c2p.models.construction import random_weights
from c2p.training.gradients import autocast
from c2p.training.optim import learning_rate, set_learning_rate
from c2p.training.statistics import settle_statistics
from c2p.training.steps import TrainingError
from c2p.training.triplet_draws import draw_triplets, moved

WARMUP = 0.1
"""Share of the steps over which the rate rises from 0."""
CLOUDS_PER_BATCH = 64
"""Clouds classified at a time."""


def create_classifier(encoder: nn.Module, *, width: int, classes: int, seed: int) -> nn.Sequential:
    """The 3D encoder and a linear head, features (B, C) to logits (B, K), whose weights come from `seed`."""
    with random_weights(seed):
        head = nn.Linear(width, classes)
    return nn.Sequential(encoder, head.to(next(encoder.parameters()).device))


def plan_steps(objects: int, settings: Cg3dFinetune) -> tuple[int, int]:
    """Epochs, and batches an epoch, for so many training objects; it depends on nothing else.

    Batches are of nearly equal size, at most settings.batch and at least 2. settings.epochs passes, or as many as make
    settings.least_steps steps.
    Raises ValueError: fewer than two objects.
    """
    if objects < 2:
        raise ValueError(f"{objects} training objects; allowed: at least 2, for the batch statistics of the encoder")
    batches = min(math.ceil(objects / settings.batch), objects // 2)
    return max(settings.epochs, math.ceil(settings.least_steps / batches)), batches


def finetune(
    classifier: nn.Sequential,
    points: Tensor,
    labels: Tensor,
    settings: Cg3dFinetune,
    *,
    seed: int,
    scale: float,
    shift: float,
    precision: str = "float32",
) -> float:
    """Train encoder and head, in place, by cross-entropy (AdamW, warm-up and one cosine to 0); returns the last loss.

    points: (N, P, 3) float32, unit sphere, y up; labels: (N,) int64; both on the classifier's device. seed: of order
    and augmentation, which are CG3D's (scale, shift: c2p.training.triplet_draws) and the same whatever the weights
    are. The weights of the last step stay: nothing is chosen. The statistics of batch norms are then taken anew from
    the clouds as they are (c2p.training.statistics): the moving averages of a training of some dozen steps still hold
    what the weights were like at its start, and from random weights the demo's classifiers named one class for
    everything.

    Raises ValueError: fewer than two objects. TrainingError: the loss is no longer finite.
    """
    epochs, batches = plan_steps(len(points), settings)
    device, steps = points.device, epochs * batches
    warmup = min(round(WARMUP * steps), steps - 1)
    optimizer = torch.optim.AdamW(classifier.parameters(), settings.lr, weight_decay=settings.weight_decay, fused=True)
    classifier.requires_grad_(True).train()
    loss = 0.0
    for epoch in range(epochs):
        draw = draw_triplets(seed, epoch, samples=len(points), views=1, captions=1, scale=scale, shift=shift)
        for index, rows in enumerate(np.array_split(draw.order, batches)):
            step = epoch * batches + index
            rate = learning_rate(step, peak=settings.lr, cycle=steps - warmup, warmup=warmup)
            set_learning_rate(optimizer, rate)
            with autocast(device, precision):
                logits = classifier(moved(points[rows], draw, rows))
            error = functional.cross_entropy(logits.float(), labels[rows])
            optimizer.zero_grad(set_to_none=True)
            error.backward()
            optimizer.step()
        loss = float(error.item())
        if not math.isfinite(loss):
            raise TrainingError(f"fine-tuning: loss is {loss} after epoch {epoch + 1}; lower cg3d_finetune.lr")
    settle_statistics(classifier, points.tensor_split(math.ceil(len(points) / CLOUDS_PER_BATCH)))
    classifier.eval().requires_grad_(False)
    return loss


@torch.no_grad()
def classify(classifier: nn.Module, points: Tensor) -> np.ndarray:
    """Logits (N, K) float32 of clouds (N, P, 3) as they are, in evaluation mode."""
    classifier.eval()
    return torch.cat([classifier(part).float().cpu() for part in points.split(CLOUDS_PER_BATCH)]).numpy()
