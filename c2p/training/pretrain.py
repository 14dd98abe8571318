"""Image-depth pre-training: CLIP2Point section 3.2.1.

Letters: N samples, B batch, m rows of a piece, K distances, V view, P points a cloud, C feature width.
"""

import dataclasses
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
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
from c2p.training.draws import Batch, Draw, batches, draw_epoch
from c2p.training.gradients import Tower, backpropagate
from c2p.training.history import History
from c2p.training.lean import lean
from c2p.training.ledger import Ledger, OnStep
from c2p.training.machine import Machine
from c2p.training.neighbours import CANDIDATES, nearest
from c2p.training.optim import create_optimizer, gradient_norm, rate_of_step, set_learning_rate
from c2p.training.outlook import images_at_a_time, look_ahead, memory_errors_named
from c2p.training.statistics import settle_statistics

log = logging.getLogger(__name__)

STATISTICS_BATCHES = 16
"""Batches of an epoch over which a checkpoint's batch norms take their statistics."""


@dataclass
class Training:
    """What changes while it is trained, and how it is saved."""

    encoder: DepthEncoder
    balance: Balance
    optimizer: torch.optim.Optimizer
    ledger: Ledger
    image: dict[str, Any]
    """What one depth image costs, so that who goes on need not measure it again."""
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
            "image": self.image,
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
    their features against the view's image feature for the cross-modality loss (Eq. 5-11). Batches are drawn at random,
    or of neighbours (settings.hard_negatives, c2p.training.neighbours). With settings.intra off: one map at the plain
    distance and Eq. 10 alone. The last, incomplete batch of an epoch is dropped. A tower's batch norms, if it has any,
    take their statistics anew at every checkpoint: their moving averages lag behind the weights of a short training
    (c2p.training.statistics). Blocks made like CLIP's are replaced by lean ones, of the same weights under the same
    names (c2p.training.lean).

    Raises ValueError: shapes that don't fit, fewer samples than a batch, a batch that ranks or pieces can't share.
    CheckpointError: `folder` holds another run. OSError: it can't be written. TrainingError: the loss is no longer
    finite, or memory does not suffice. The last good checkpoint stays.
    """
    _check(points, image_features, rotations, settings, encoder, ranks, machine)
    run = _describe(points, image_features, settings, depth, seed)
    device, per_epoch = encoder.device, len(points) // settings.batch
    with memory_errors_named(encoder, points, settings, machine), Keeper(folder, run) as keeper:
        lean(encoder.visual, images=images_at_a_time(settings, machine, ranks))
        points, image_features = points.to(device), image_features.to(device)
        rotations = rotations.to(device, torch.float32)
        if ranks.size > 1:
            share_batchnorm(encoder.visual)
        balance = Balance().to(device)
        weights = [*encoder.parameters(), *balance.parameters()]
        optimizer = create_optimizer(weights, settings)
        state = load_state(folder, run=run, device=device)
        known = state.get("image") if state else None  # a state of an older c2p has none
        outlook = look_ahead(encoder, points, image_features, settings, depth, machine, ranks, known)
        advice = f"the last good checkpoint is kept in {folder}; lower pretrain.lr or raise pretrain.temperature"
        ledger = Ledger(seed, per_epoch, per_epoch * settings.epochs, advice, outlook.meter, on_step)
        training = Training(encoder, balance, optimizer, ledger, outlook.image, origin or {})
        step = training.resume(state)
        del state
        encode = torch.compile(encoder) if machine.compiled else encoder
        wanted = CANDIDATES * settings.hard_negatives
        candidates = nearest(image_features, wanted, ranks) if wanted else None
        data = Data(points, image_features, rotations, settings, depth, ranks, machine, candidates)
        tower = Tower(encode, list(encoder.parameters()), device, settings.precision)
        for epoch in range(step // per_epoch, settings.epochs):
            encoder.train()
            draw = data.draw(seed, epoch)
            for batch in data.batches(draw, start=step % per_epoch):
                rate = rate_of_step(step, per_epoch, settings)
                set_learning_rate(optimizer, rate)
                values = take_step(tower, balance, optimizer, data, batch, key=(seed, step))
                step += 1
                ledger.add(values, {"lr": rate, "temperature": settings.temperature})
                if ranks.first and step % per_epoch and keeper.age >= machine.save_seconds:
                    ledger.read()
                    keeper.save_state(training.state(step))
            row = ledger.close_epoch(temperature=settings.temperature, sigma=balance.sigma.item(), lr=rate)
            if (epoch + 1) % settings.checkpoint_every == 0 or epoch + 1 == settings.epochs:
                settle_statistics(encoder, data.statistics(draw), precision=settings.precision)
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


def take_step(
    tower: Tower,
    balance: Balance,
    optimizer: torch.optim.Optimizer,
    data: "Data",
    batch: Batch,
    *,
    key: tuple[int, int],
) -> Tensor:
    """Train on one batch; key: seed and step. Nothing in here waits for a GPU.

    Returns (5,) float32 on the device: the loss and its two parts, the norm of the gradients and sigma before the step.
    """
    pieces, targets = data.pieces(batch), data.targets(batch)
    terms = backpropagate(tower, balance, pieces, targets, data.settings, ranks=data.ranks, key=key)
    norm = gradient_norm([*tower.weights, *balance.parameters()])
    values = torch.stack([*terms, norm, balance.sigma.detach()])
    optimizer.step()
    return values


@dataclass(frozen=True)
class Data:
    """What batches are made of, all on one device."""

    points: Tensor
    image_features: Tensor
    rotations: Tensor
    settings: params.Pretrain
    depth: params.Depth
    ranks: Ranks
    machine: Machine
    candidates: np.ndarray | None
    """(N, L) nearest samples of each, for hard negatives."""

    def draw(self, seed: int, epoch: int) -> Draw:
        """What is random in an epoch, counted from 0."""
        return draw_epoch(
            seed,
            epoch,
            samples=len(self.points),
            views=len(self.rotations),
            jitter=self.depth.jitter,
            candidates=self.candidates,
            hard=self.settings.hard_negatives,
        )

    def batches(self, draw: Draw, start: int = 0) -> Iterator[Batch]:
        """Whole batches of an epoch, from the `start`-th on."""
        return batches(draw, self.settings.batch, self.points.device, start=start)

    def pieces(self, batch: Batch) -> list[Tensor]:
        """Depth images (K, m, 3, H, W) of this rank's rows of a batch, in the pieces that are encoded at a time."""
        own = [self.ranks.own(values) for values in (batch.rows, batch.views, batch.distances)]
        size = self.machine.micro_batch or len(own[0])
        parts = (Batch(*part) for part in zip(*(values.split(size) for values in own), strict=True))
        return [self._images(part) for part in parts]

    def targets(self, batch: Batch) -> Tensor:
        """Image features of all rows of a batch, (B, C) float32."""
        return self.image_features[batch.rows, batch.views].float()

    def statistics(self, draw: Draw) -> Iterator[Tensor]:
        """Depth images (K m, 3, H, W) to take the statistics of batch norms over."""
        for batch in islice(self.batches(draw), STATISTICS_BATCHES):
            for piece in self.pieces(batch):
                yield piece.flatten(0, 1)

    def _images(self, batch: Batch) -> Tensor:
        """Each cloud in its own view: (K, m, 3, H, W), K = 2 distances or, without intra, 1 plain one."""
        points, rotations, depth = self.points[batch.rows], self.rotations[batch.views].unsqueeze(1), self.depth
        if not self.settings.intra:
            return depth_images(depth_maps(points, rotations, depth)).squeeze(1).unsqueeze(0)
        both = surface_triangles(points, depth.reach).repeat(2, 1, 1) if depth.footprint == "surface" else None
        factors = batch.distances.T.reshape(-1)
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
