"""CLIP2Point's few-shot training as published: every epoch draws and encodes the training objects anew.

The arithmetic is that of c2p.evaluation.adaptation (same batches, same initial weights, same dropout), with one
difference: the frozen towers run inside the loop. Depth maps are drawn once a batch and serve both towers.

Legend: n training object, B batch, V view, C feature width, K class.
"""

import time
from collections.abc import Sequence

import numpy as np
import torch
from torch.nn import functional

from c2p.evaluation.adaptation import Recipe, build_adapter, learning_rate, view_mean_logits
from c2p.evaluation.bank import IMAGES_PER_BATCH
from c2p.evaluation.drawings import Drawing
from c2p.evaluation.features import one_thread
from c2p.geometry.views import view_set
from c2p.models.clip import Clip, encode_images


def train_reencoding(
    clips: Sequence[Clip],
    points: np.ndarray,
    labels: np.ndarray,
    text: np.ndarray,
    recipe: Recipe,
    *,
    seed: int,
    views: str,
    drawing: Drawing,
) -> tuple[torch.nn.Module, list[float]]:
    """Train a global-view adapter a tower; clips: the frozen towers; points (n, P, 3); labels (n,); text (K, C).

    Returns the adapter in evaluation mode and the seconds of each epoch.
    """
    assert recipe.optimizer == "adamw"
    rotations = torch.tensor(view_set(views).rotations, dtype=torch.float32)
    prompts, targets = torch.from_numpy(text), torch.from_numpy(labels)
    seconds = []
    with one_thread(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = build_adapter("global", len(rotations), text.shape[1], len(clips), recipe.dropout)
        optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.lr, weight_decay=recipe.weight_decay, fused=True)
        model.train()
        batches = min(-(-len(labels) // recipe.batch), len(labels) // 2)
        for epoch in range(recipe.epochs):
            begin = time.perf_counter()
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(recipe, epoch)
            order = torch.from_numpy(np.random.default_rng((seed, epoch)).permutation(len(labels)))
            for rows in order.tensor_split(batches):
                features = _encoded(clips, points[rows.numpy()], rotations, drawing)
                logits = recipe.scale * view_mean_logits(model(*features), prompts)
                loss = functional.cross_entropy(logits, targets[rows], label_smoothing=recipe.smoothing)
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
            seconds.append(time.perf_counter() - begin)
    return model.eval(), seconds


def _encoded(
    clips: Sequence[Clip], points: np.ndarray, rotations: torch.Tensor, drawing: Drawing
) -> list[torch.Tensor]:
    """Features (B, V, C) of a batch under each tower, in pieces as large as c2p's own."""
    step = max(1, IMAGES_PER_BATCH["cpu"] // len(rotations))
    pieces: list[list[torch.Tensor]] = [[] for _ in clips]
    with torch.no_grad():
        for part in torch.from_numpy(points).split(step):
            images = drawing.draw(part, rotations, clips[0].image_size)
            for clip, found in zip(clips, pieces, strict=True):
                features = encode_images(clip, images.flatten(0, 1), standardise=drawing.standardise)
                found.append(features.unflatten(0, images.shape[:2]))
    return [torch.cat(found) for found in pieces]
