"""Image-depth pre-training: CLIP2Point section 3.2.1.

Letters: N samples, B batch, m rows of a piece, K distances, V view, P points a cloud, C feature width.
"""

import dataclasses
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from c2p import params
from c2p.data.files import write_json
from c2p.geometry.depth import depth_images, depth_maps
from c2p.geometry.surface import surface_triangles
from c2p.models.depth_encoder import DepthEncoder
from c2p.models.losses import Balance
from c2p.training.batchnorm import BatchNormError, has_batchnorm, share_batchnorm
from c2p.training.checkpoint import HISTORY_FILE, Keeper, kept_epochs, load_state
from c2p.training.distributed import ALONE, Ranks
from c2p.training.draws import Batch, batches, draw_epoch
from c2p.training.gradients import Tower, backpropagate
from c2p.training.history import History
from c2p.training.ledger import Ledger, OnStep
from c2p.training.machine import Machine
from c2p.training.optim import create_optimizer, gradient_norm, rate_of_step, set_learning_rate
from c2p.training.outlook import look_ahead, memory_errors_named

log = logging.getLogger(__name__)


@dataclass
class Training:
    """What changes while it is trained, and how it is saved."""

    encoder: DepthEncoder
    balance: Balance
    optimizer: torch.optim.Optimizer
    ledger: Ledger
    origin: dict[str, str]
    """Revisions of code and data, for who looks into a state."""

    def state(self, step: int) -> dict[str, Any]:
        """Everything needed to go on. Schedule, order and random numbers follow from the step and the run's seed."""
        return {
            "step": step,
            "sums": self.ledger.sums,
            "history": self.ledger.history,
            "encoder": self.encoder.visual.state_dict(),
            "balance": self.balance.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "origin": self.origin,
        }

    def resume(self, state: dict[str, Any] | None) -> int:
        """Put a saved state in place; returns the number of finished steps."""
        if state is None:
            return 0
        self.encoder.visual.load_state_dict(state["encoder"])
        self.balance.load_state_dict(state["balance"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.ledger.step, self.ledger.sums, self.ledger.history = state["step"], state["sums"], state["history"]
        log.info("pre-training goes on after step %d", state["step"])
        return self.ledger.step


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
    on_step: OnStep | None = None,
    ranks: Ranks = ALONE,
    machine: Machine = Machine(),  # noqa: B008 - frozen
    origin: dict[str, str] | None = None,
) -> History:
    """Align a depth encoder with frozen image features; the encoder is trained in place, on its own device.

    points: (N, P, 3) float32, unit sphere, y up. image_features: (N, V, C) float, the teacher's features of the RGB
    views, normalised or not. rotations: (V, 3, 3), world to view for row vectors. All of them are moved to the device.
    folder: receives checkpoints; where it holds the state of the same run, training goes on from there. evaluate:
    called on every rank at every checkpoint; its values join the history. on_step: called with (step from 1, steps,
    values). ranks: the processes that share the batches; each gives the same arguments. origin: revisions of code and
    data, kept with the state.

    Per sample and epoch one random view; its depth map at two distances for the intra-modality loss, and the mean of
    their features against the view's image feature for the cross-modality loss (Eq. 5-11). With settings.intra off:
    one map at the plain distance and Eq. 10 alone. The last, incomplete batch of an epoch is dropped.

    Raises ValueError: shapes that don't fit, fewer samples than a batch, a batch that ranks or pieces can't share.
    CheckpointError: `folder` holds another run. OSError: it can't be written. TrainingError: the loss is no longer
    finite, or memory does not suffice. The last good checkpoint stays.
    """
    _check(points, image_features, rotations, settings, encoder, ranks, machine)
    run = _describe(points, image_features, settings, depth, seed)
    device, per_epoch = encoder.device, len(points) // settings.batch
    with memory_errors_named(encoder, points, settings, machine), Keeper(folder, run) as keeper:
        points, image_features = points.to(device), image_features.to(device)
        rotations = rotations.to(device, torch.float32)
        if ranks.size > 1:
            share_batchnorm(encoder.visual)
        balance = Balance().to(device)
        weights = [*encoder.parameters(), *balance.parameters()]
        optimizer = create_optimizer(weights, settings)
        outlook = look_ahead(encoder, points, image_features, settings, depth, machine, ranks)
        advice = f"the last good checkpoint is kept in {folder}; lower pretrain.lr or raise pretrain.temperature"
        ledger = Ledger(seed, per_epoch, per_epoch * settings.epochs, advice, outlook.meter, on_step)
        training = Training(encoder, balance, optimizer, ledger, origin or {})
        step = training.resume(load_state(folder, run=run, device=device))
        encode = torch.compile(encoder) if machine.compiled else encoder
        tower = Tower(encode, list(encoder.parameters()), device, settings.precision)
        for epoch in range(step // per_epoch, settings.epochs):
            encoder.train()
            draw = draw_epoch(seed, epoch, samples=len(points), views=len(rotations), jitter=depth.jitter)
            for batch in batches(draw, settings.batch, device, start=step % per_epoch):
                rate = rate_of_step(step, per_epoch, settings)
                set_learning_rate(optimizer, rate)
                pieces = [
                    _depth_images(points[part.rows], rotations[part.views], part.distances, depth, intra=settings.intra)
                    for part in _pieces(batch, ranks, machine)
                ]
                targets = image_features[batch.rows, batch.views].float()
                terms = backpropagate(tower, balance, pieces, targets, settings, ranks=ranks, key=(seed, step))
                values = torch.stack([*terms, gradient_norm(weights), balance.sigma.detach()])
                optimizer.step()
                step += 1
                ledger.add(values, {"lr": rate, "temperature": settings.temperature})
                if ranks.first and step % per_epoch and keeper.age >= machine.save_seconds:
                    ledger.read()
                    keeper.save_state(training.state(step))
            row = ledger.close_epoch(temperature=settings.temperature, sigma=balance.sigma.item(), lr=rate)
            if (epoch + 1) % settings.checkpoint_every == 0 or epoch + 1 == settings.epochs:
                if ranks.first:
                    keeper.save_weights(epoch + 1, encoder.visual.state_dict())
                row.update(_evaluated(encoder, evaluate))
                if ranks.first:
                    keeper.save_state(training.state(step), keep=kept_epochs(ledger.history, settings))
            elif ranks.first and keeper.age >= machine.save_seconds:
                keeper.save_state(training.state(step))
            outlook.compare()
            ledger.meter.skip()
    if ranks.first:
        write_json(folder / HISTORY_FILE, ledger.history)
    encoder.eval()
    return ledger.history


def _pieces(batch: Batch, ranks: Ranks, machine: Machine) -> Iterator[Batch]:
    """This rank's rows of a batch in the pieces that are encoded at a time."""
    own = [ranks.own(values) for values in (batch.rows, batch.views, batch.distances)]
    size = machine.micro_batch or len(own[0])
    return (Batch(*parts) for parts in zip(*(values.split(size) for values in own), strict=True))


def _depth_images(points: Tensor, rotations: Tensor, distances: Tensor, depth: params.Depth, *, intra: bool) -> Tensor:
    """Depth images of clouds, each in its own view: (K, m, 3, H, W), K = 2 distances or, without intra, 1 plain one.

    points: (m, P, 3); rotations: (m, 3, 3); distances: (m, 2).
    """
    rotations = rotations.unsqueeze(1)
    if not intra:
        return depth_images(depth_maps(points, rotations, depth)).squeeze(1).unsqueeze(0)
    both = surface_triangles(points, depth.reach).repeat(2, 1, 1) if depth.footprint == "surface" else None
    factors = distances.T.reshape(-1)
    raw = depth_maps(points.repeat(2, 1, 1), rotations.repeat(2, 1, 1, 1), depth, factors, triangles=both)
    return depth_images(raw).squeeze(1).unflatten(0, (2, len(points)))


def _evaluated(encoder: DepthEncoder, evaluate: Callable[[DepthEncoder], dict[str, float]] | None) -> dict[str, float]:
    if evaluate is None:
        return {}
    encoder.eval()
    with torch.no_grad():
        return evaluate(encoder)


def _describe(
    points: Tensor, image_features: Tensor, settings: params.Pretrain, depth: params.Depth, seed: int
) -> dict[str, Any]:
    """What a training state belongs to; the content of the data is the caller's key."""
    recipe = dataclasses.asdict(settings)
    recipe.pop("seeds")
    shapes = {"points": list(points.shape), "image_features": list(image_features.shape)}
    return {**recipe, **shapes, "depth": dataclasses.asdict(depth), "seed": seed}


def _check(
    points: Tensor,
    image_features: Tensor,
    rotations: Tensor,
    settings: params.Pretrain,
    encoder: DepthEncoder,
    ranks: Ranks,
    machine: Machine,
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
    if settings.batch % ranks.size:
        raise ValueError(
            f"pretrain.batch: got {settings.batch} for {ranks.size} processes; allowed: a multiple of them"
        )
    if 0 < machine.micro_batch < settings.batch // ranks.size and has_batchnorm(encoder):
        raise BatchNormError(
            f"C2P_MICRO_BATCH: got {machine.micro_batch}; allowed: 0 for this tower, whose batch norm would see pieces "
            "of a batch and not the whole; lower pretrain.batch or share it among more processes (C2P_PROCESSES)"
        )
