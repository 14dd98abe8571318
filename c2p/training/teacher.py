"""Training of a small CLIP on renders and captions: the demo's stand-in for weights trained on the web.

Symmetric contrastive loss between one random view and one random caption a model (Radford et al., 2021).
Letters: N models, B batch, V view, H W pixels.
"""

import dataclasses
import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from c2p import params
from c2p.models.clip import Clip, prepare_images
from c2p.training.checkpoint import load_state, save_state
from c2p.training.history import History
from c2p.training.optim import learning_rate, set_learning_rate
from c2p.training.steps import LOG_EVERY, TrainingError

log = logging.getLogger(__name__)

MAX_LOGIT_SCALE = math.log(100)
"""CLIP's bound on the learnt logarithm of the inverse temperature."""
BETAS, EPS = (0.9, 0.98), 1e-6
"""CLIP's AdamW settings for ViTs."""
SAVE_EVERY_S = 15.0
"""Seconds of training that a kill may cost, and the epoch it was in."""
SHIFT, SCALE, BRIGHTNESS = 0.03, 0.05, 0.05
"""Largest shift (share of half the picture), change of size and change of brightness in the augmentation.

Renders are centred and of one scale: twice as much cost two points of validation accuracy, five times as much ten."""


@dataclass(frozen=True)
class Draw:
    """What is random in one epoch; entry i belongs to model i whatever its place in the order."""

    order: np.ndarray
    """(N,) int64 permutation."""
    views: np.ndarray
    """(N,) int64 view of each model."""
    captions: np.ndarray
    """(N,) int64 caption of each model."""
    flips: np.ndarray
    """(N,) bool: mirror left and right."""
    shifts: np.ndarray
    """(N, 2) float32."""
    scales: np.ndarray
    """(N,) float32 factors."""
    brightness: np.ndarray
    """(N,) float32 factors."""


def draw_epoch(seed: int, epoch: int, *, views: int, captions: Sequence[int]) -> Draw:
    """Everything random in an epoch (counted from 0); captions: how many each model has."""
    generator = np.random.default_rng([seed, epoch])
    samples = len(captions)
    return Draw(
        order=generator.permutation(samples),
        views=generator.integers(views, size=samples),
        captions=generator.integers(np.asarray(captions)),
        flips=generator.random(samples) < 0.5,
        shifts=generator.uniform(-SHIFT, SHIFT, size=(samples, 2)).astype(np.float32),
        scales=generator.uniform(1 - SCALE, 1 + SCALE, size=samples).astype(np.float32),
        brightness=generator.uniform(1 - BRIGHTNESS, 1 + BRIGHTNESS, size=samples).astype(np.float32),
    )


def augment(images: Tensor, draw: Draw, rows: np.ndarray) -> Tensor:
    """Mirrored, scaled, shifted and brightened copies; what comes in from outside is white, as the renders' background.

    images: (B, 3, H, W) float in [0, 1]; rows: (B,) the models they show. Returns the same shape, in [0, 1].
    """
    scales = torch.from_numpy(draw.scales[rows])
    theta = torch.zeros(len(rows), 2, 3)
    theta[:, 0, 0] = torch.where(torch.from_numpy(draw.flips[rows]), -scales, scales)
    theta[:, 1, 1] = scales
    theta[:, :, 2] = torch.from_numpy(draw.shifts[rows])
    grid = functional.affine_grid(theta.to(images.device), list(images.shape), align_corners=False)
    moved = 1 - functional.grid_sample(1 - images, grid, padding_mode="zeros", align_corners=False)
    factors = torch.from_numpy(draw.brightness[rows]).to(images.device)
    return (moved * factors[:, None, None, None]).clamp(0, 1)


def contrastive_loss(images: Tensor, texts: Tensor, logit_scale: Tensor, tokens: Tensor) -> Tensor:
    """CLIP's symmetric loss over a batch of pairs; equal captions share their target instead of being negatives.

    images, texts: (B, C) features, L2-normalised here; logit_scale: scalar, logarithm of the inverse temperature;
    tokens: (B, L) int64, the captions. A batch of different captions gives CLIP's loss itself.
    """
    cosines = functional.normalize(images, dim=-1) @ functional.normalize(texts, dim=-1).T
    logits = logit_scale.exp() * cosines
    equal = (tokens[:, None] == tokens).all(-1).float()
    targets = equal / equal.sum(1, keepdim=True)
    return (functional.cross_entropy(logits, targets) + functional.cross_entropy(logits.T, targets)) / 2


def train_teacher(
    clip: Clip,
    images: np.ndarray | Tensor,
    captions: Sequence[Sequence[str]],
    settings: params.Teacher,
    *,
    folder: Path | None = None,
    save_every_s: float = SAVE_EVERY_S,
    on_step: Callable[[int, int, dict[str, float]], None] | None = None,
) -> History:
    """Train `clip` in place, on its own device, and freeze it again.

    images: (N, V, H, W, 3) uint8 renders. captions: N lists of at least one text. folder: receives the training's state
    after an epoch, at most every save_every_s seconds; where it holds the state of the same run, training goes on from
    there, to the same bits on a CPU. on_step: called with (step from 1, steps, values). Returns one row an epoch:
    epoch, loss, lr, scale.

    Raises ValueError: shapes that don't fit, a model without captions, fewer models than a batch. CheckpointError:
    `folder` holds another run. TrainingError: the loss is no longer finite.
    """
    _check(images, captions, settings)
    pictures = _shrink(torch.as_tensor(images), clip.image_size)
    tokens = [clip.tokenizer(list(texts)) for texts in captions]
    per_epoch = len(pictures) // settings.batch
    steps = per_epoch * settings.epochs
    warmup = min(round(settings.warmup * steps), steps - 1)
    optimizer = _optimizer(clip, settings)
    clip.model.train().requires_grad_(True)
    run = _describe(pictures, tokens, settings)
    history = _resume(folder, run, clip, optimizer) if folder else []
    saved = time.monotonic()
    for epoch in range(len(history), settings.epochs):
        draw = draw_epoch(settings.seed, epoch, views=pictures.shape[1], captions=[len(texts) for texts in captions])
        mean = 0.0
        for index in range(per_epoch):
            step = epoch * per_epoch + index
            rows = draw.order[index * settings.batch : (index + 1) * settings.batch]
            rate = learning_rate(step, peak=settings.lr, cycle=steps - warmup, warmup=warmup)
            set_learning_rate(optimizer, rate)
            value = _step(clip, optimizer, pictures, tokens, draw, rows)
            if not math.isfinite(value):
                raise TrainingError(
                    f"teacher: loss is {value} at step {step + 1} (epoch {epoch + 1}); lower teacher.lr"
                )
            mean += value / per_epoch
            _report(step + 1, steps, {"loss": value, "lr": rate}, on_step)
        scale = clip.model.logit_scale.exp().item()
        history.append({"epoch": float(epoch + 1), "loss": mean, "lr": rate, "scale": scale})
        if folder and (time.monotonic() - saved >= save_every_s or epoch + 1 == settings.epochs):
            state = {"history": history, "model": clip.model.state_dict(), "optimizer": optimizer.state_dict()}
            save_state(folder, state, run=run)
            saved = time.monotonic()
    clip.model.eval().requires_grad_(False)
    return history


def _step(
    clip: Clip,
    optimizer: torch.optim.Optimizer,
    pictures: Tensor,
    tokens: Sequence[Tensor],
    draw: Draw,
    rows: np.ndarray,
) -> float:
    """One step on the models in `rows`; the loss before it. Weights stay as they are where that is not finite."""
    pixels = pictures[rows, draw.views[rows]].to(clip.device).float() / 255
    text = torch.stack([tokens[row][draw.captions[row]] for row in rows]).to(clip.device)
    shown = prepare_images(augment(pixels, draw, rows), clip)
    features = clip.model.encode_image(shown), clip.model.encode_text(text)
    loss = contrastive_loss(*features, clip.model.logit_scale, text)
    value = float(loss.item())
    if math.isfinite(value):
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            clip.model.logit_scale.clamp_(0, MAX_LOGIT_SCALE)
    return value


def _resume(folder: Path, run: dict[str, Any], clip: Clip, optimizer: torch.optim.Optimizer) -> History:
    """The history so far; puts the saved weights and the optimiser's state in place."""
    state = load_state(folder, run=run, device=clip.device)
    if state is None:
        return []
    clip.model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    history: History = state["history"]
    log.info("teacher goes on after epoch %d of %d", len(history), run["epochs"])
    return history


def _describe(pictures: Tensor, tokens: Sequence[Tensor], settings: params.Teacher) -> dict[str, Any]:
    """What a training's state belongs to; the content of the pictures is the caller's key."""
    return {**dataclasses.asdict(settings), "pictures": list(pictures.shape), "texts": sum(map(len, tokens))}


def _shrink(images: Tensor, size: tuple[int, int]) -> Tensor:
    """(N, V, H, W, 3) uint8 -> (N, V, 3, h, w) uint8 of the tower's size, bicubic and antialiased."""
    pictures = images.permute(0, 1, 4, 2, 3)
    if tuple(pictures.shape[-2:]) == size:
        return pictures.contiguous()
    parts = [functional.interpolate(part, size, mode="bicubic", antialias=True) for part in pictures]
    return torch.stack(parts)


def _optimizer(clip: Clip, settings: params.Teacher) -> torch.optim.Optimizer:
    """AdamW as CLIP's: decay on matrices only, not on gains, biases and the logit scale."""
    weights = list(clip.model.parameters())
    groups = [
        {"params": [weight for weight in weights if weight.ndim >= 2], "weight_decay": settings.weight_decay},
        {"params": [weight for weight in weights if weight.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, settings.lr, betas=BETAS, eps=EPS, fused=True)


def _check(images: np.ndarray | Tensor, captions: Sequence[Sequence[str]], settings: params.Teacher) -> None:
    if images.ndim != 5 or images.shape[-1] != 3 or str(images.dtype).removeprefix("torch.") != "uint8":
        raise ValueError(f"images: got {images.dtype} {tuple(images.shape)}; allowed: uint8 (N, V, H, W, 3)")
    if len(captions) != len(images):
        raise ValueError(f"captions: got {len(captions)} for {len(images)} models; allowed: one list a model")
    if not all(captions):
        missing = sum(not texts for texts in captions)
        raise ValueError(f"captions: {missing} models have none; add rows for them to captions.csv")
    if len(images) < settings.batch:
        raise ValueError(f"teacher.batch: got {settings.batch}; allowed: at most the {len(images)} training models")


def _report(step: int, steps: int, values: dict[str, float], on_step: Callable[..., None] | None) -> None:
    if on_step is not None:
        on_step(step, steps, values)
    if step % LOG_EVERY == 0 or step == steps:
        log.info("teacher step %d/%d loss %.3f lr %.2g", step, steps, values["loss"], values["lr"])
