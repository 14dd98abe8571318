"""Image-depth pre-training: CLIP2Point section 3.2.1.

Letters: N samples, B batch, V view, P points a cloud, C feature width.
"""

import dataclasses
import logging
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from c2p import params
from c2p.data.files import write_json
from c2p.geometry.depth import depth_images, depth_maps
from c2p.models.depth_encoder import DepthEncoder
from c2p.models.losses import Balance, cross_loss, intra_loss
from c2p.training.checkpoint import HISTORY_FILE, load_state, save_state, save_weights
from c2p.training.optim import Lamb, learning_rate, set_learning_rate
from c2p.training.steps import LOG_EVERY, TrainingError

log = logging.getLogger(__name__)

History = list[dict[str, float]]
"""One row an epoch: epoch (finished), loss, intra, cross, sigma, lr, and at checkpoints what `evaluate` returned."""


@dataclass(frozen=True)
class Draw:
    """What is random in one epoch; entry i belongs to sample i whatever its place in the order."""

    order: np.ndarray
    """(N,) int64 permutation."""
    views: np.ndarray
    """(N,) int64 view of each sample."""
    distances: np.ndarray
    """(N, 2) float32 factors of the camera distance, uniform in [1 - jitter, 1 + jitter)."""


def draw_epoch(seed: int, epoch: int, *, samples: int, views: int, jitter: float) -> Draw:
    """Order, views and distances of an epoch (counted from 0), from nothing but the arguments."""
    generator = np.random.default_rng([seed, epoch])
    order = generator.permutation(samples)
    chosen = generator.integers(views, size=samples)
    distances = generator.uniform(1 - jitter, 1 + jitter, size=(samples, 2)).astype(np.float32)
    return Draw(order, chosen, distances)


def pretrain(
    encoder: DepthEncoder,
    points: Tensor,
    image_features: Tensor,
    settings: params.Pretrain,
    depth: params.Depth,
    rotations: Tensor,
    *,
    seed: int,
    folder: Path,
    evaluate: Callable[[DepthEncoder], dict[str, float]] | None = None,
    on_step: Callable[[int, int, dict[str, float]], None] | None = None,
) -> History:
    """Align a depth encoder with frozen image features; the encoder is trained in place, on its own device.

    points: (N, P, 3) float32, unit sphere, y up. image_features: (N, V, C) float, the teacher's features of the RGB
    views, normalised or not. rotations: (V, 3, 3), world to view for row vectors. folder: receives checkpoints; where
    it holds the state of the same run, training goes on from there. evaluate: called at every checkpoint; its values
    join the history. on_step: called with (step from 1, steps, values).

    Per sample and epoch one random view; its depth map at two distances for the intra-modality loss, and the mean of
    their features against the view's image feature for the cross-modality loss (Eq. 5-11). With settings.intra off:
    one map at the plain distance and Eq. 10 alone. The last, incomplete batch of an epoch is dropped.

    Raises ValueError: shapes that don't fit, fewer samples than a batch. CheckpointError: `folder` holds another run.
    TrainingError: the loss is no longer finite; the last checkpoint stays.
    """
    _check(points, image_features, rotations, settings, encoder)
    run = _describe(points, image_features, settings, depth, seed)
    samples, views = image_features.shape[:2]
    per_epoch = samples // settings.batch
    cycle = per_epoch * (settings.restart_epochs if settings.schedule == "restarts" else settings.epochs)
    rotations = rotations.to(encoder.device, torch.float32)
    balance = Balance().to(encoder.device)
    optimizer = _optimizer([*encoder.parameters(), *balance.parameters()], settings)
    history, done = _resume(folder, run, encoder, balance, optimizer)
    for epoch in range(done, settings.epochs):
        draw = draw_epoch(seed, epoch, samples=samples, views=views, jitter=depth.jitter)
        encoder.train()
        means: dict[str, float] = {}
        for index, rows in enumerate(_batches(draw.order, settings.batch)):
            step = epoch * per_epoch + index
            rate = learning_rate(step, peak=settings.lr, minimum=settings.lr_min, cycle=cycle)
            set_learning_rate(optimizer, rate)
            depth_views = _render(points[rows], rotations, draw, rows, depth, intra=settings.intra)
            targets = image_features[rows, draw.views[rows]].to(encoder.device, torch.float32)
            loss, values = _loss(encoder(depth_views), targets, balance, settings)
            if not math.isfinite(values["loss"]):
                raise TrainingError(
                    f"pre-training seed {seed}: loss is {values['loss']} at step {step + 1} (epoch {epoch + 1}); "
                    f"the last good checkpoint is kept in {folder}; lower pretrain.lr or raise pretrain.temperature"
                )
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            means = {name: means.get(name, 0.0) + value / per_epoch for name, value in values.items()}
            _report(step + 1, per_epoch * settings.epochs, values | {"lr": rate}, seed, on_step)
        row = {"epoch": float(epoch + 1), **means, "sigma": balance.sigma.item(), "lr": rate}
        history.append(row)
        if (epoch + 1) % settings.checkpoint_every == 0 or epoch + 1 == settings.epochs:
            save_weights(folder, epoch + 1, encoder.visual.state_dict())
            row.update(_evaluated(encoder, evaluate))
            save_state(folder, _state(history, encoder, balance, optimizer), run=run)
    write_json(folder / HISTORY_FILE, history)
    encoder.eval()
    return history


def _render(
    points: Tensor, rotations: Tensor, draw: Draw, rows: np.ndarray, depth: params.Depth, *, intra: bool
) -> Tensor:
    """Depth images of a batch in its drawn views: (2B, 3, H, W), first distances first; (B, 3, H, W) without intra."""
    points = points.to(rotations.device)
    rotation = rotations[torch.from_numpy(draw.views[rows])].unsqueeze(1)
    if not intra:
        return depth_images(depth_maps(points, rotation, depth)).squeeze(1)
    distances = torch.from_numpy(draw.distances[rows]).to(points.device)
    raw = depth_maps(points.repeat(2, 1, 1), rotation.repeat(2, 1, 1, 1), depth, distances.T.reshape(-1))
    return depth_images(raw).squeeze(1)


def _loss(
    features: Tensor, targets: Tensor, balance: Balance, settings: params.Pretrain
) -> tuple[Tensor, dict[str, float]]:
    if not settings.intra:
        cross = cross_loss(features, targets, settings.temperature)
        return cross, {"loss": cross.item(), "intra": 0.0, "cross": cross.item()}
    first, second = features.chunk(2)
    intra = intra_loss(first, second, settings.temperature)
    cross = cross_loss((first + second) / 2, targets, settings.temperature)
    loss = balance(intra, cross)
    return loss, {"loss": loss.item(), "intra": intra.item(), "cross": cross.item()}


def _batches(order: np.ndarray, batch: int) -> Iterator[np.ndarray]:
    """Whole batches of sample indices; what is left over is dropped."""
    for start in range(0, len(order) - batch + 1, batch):
        yield order[start : start + batch]


def _optimizer(weights: list[torch.nn.Parameter], settings: params.Pretrain) -> torch.optim.Optimizer:
    if settings.optimizer == "lamb":
        return Lamb(weights, settings.lr, weight_decay=settings.weight_decay)
    return torch.optim.AdamW(weights, settings.lr, weight_decay=settings.weight_decay)


def _evaluated(encoder: DepthEncoder, evaluate: Callable[[DepthEncoder], dict[str, float]] | None) -> dict[str, float]:
    if evaluate is None:
        return {}
    encoder.eval()
    with torch.no_grad():
        return evaluate(encoder)


def _state(
    history: History, encoder: DepthEncoder, balance: Balance, optimizer: torch.optim.Optimizer
) -> dict[str, Any]:
    return {
        "history": history,
        "encoder": encoder.visual.state_dict(),
        "balance": balance.state_dict(),
        "optimizer": optimizer.state_dict(),
    }


def _resume(
    folder: Path, run: dict[str, Any], encoder: DepthEncoder, balance: Balance, optimizer: torch.optim.Optimizer
) -> tuple[History, int]:
    """History and number of finished epochs; puts the saved weights and optimiser state in place."""
    state = load_state(folder, run=run, device=encoder.device)
    if state is None:
        return [], 0
    encoder.visual.load_state_dict(state["encoder"])
    balance.load_state_dict(state["balance"])
    optimizer.load_state_dict(state["optimizer"])
    history: History = state["history"]
    log.info("pre-training goes on after epoch %d", len(history))
    return history, len(history)


def _describe(
    points: Tensor, image_features: Tensor, settings: params.Pretrain, depth: params.Depth, seed: int
) -> dict[str, Any]:
    """What a training state belongs to; the content of the data is the caller's key."""
    recipe = dataclasses.asdict(settings)
    recipe.pop("seeds")
    shapes = {"points": list(points.shape), "image_features": list(image_features.shape)}
    return {**recipe, **shapes, "depth": dataclasses.asdict(depth), "seed": seed}


def _check(
    points: Tensor, image_features: Tensor, rotations: Tensor, settings: params.Pretrain, encoder: DepthEncoder
) -> None:
    samples = len(points)
    if points.ndim != 3 or points.shape[2] != 3:
        raise ValueError(f"points: got shape {tuple(points.shape)}; allowed: (N, P, 3)")
    if tuple(rotations.shape[1:]) != (3, 3):
        raise ValueError(f"rotations: got shape {tuple(rotations.shape)}; allowed: (V, 3, 3)")
    expected = (samples, len(rotations), encoder.width)
    if tuple(image_features.shape) != expected:
        raise ValueError(f"image features: got shape {tuple(image_features.shape)}; allowed: {expected} (N, V, C)")
    if samples < settings.batch:
        raise ValueError(f"pretrain.batch: got {settings.batch}; allowed: at most the {samples} training samples")


def _report(step: int, steps: int, values: dict[str, float], seed: int, on_step: Callable[..., None] | None) -> None:
    if on_step is not None:
        on_step(step, steps, values)
    if step % LOG_EVERY == 0 or step == steps:
        log.info("pre-training seed %d step %d/%d loss %.3f lr %.2g", seed, step, steps, values["loss"], values["lr"])
