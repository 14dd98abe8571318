"""Training of a 3D encoder on triplets of point cloud, RGB view and caption: CG3D (Hegde et al., ICCVW 2023).

InfoNCE draws the 3D encoder's features to those of the view and of the caption; where the image tower learns, it is
drawn to the caption. The text tower is frozen throughout.
Letters: N samples, B batch, b rows of this rank, P points a cloud, V view, T template, C feature width.
"""

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from c2p.cg3d_params import Cg3d
from c2p.data.files import write_json
from c2p.models.losses import info_nce
from c2p.models.network import Clip
from c2p.training.batchnorm import share_batchnorm
from c2p.training.checkpoint import HISTORY_FILE, Keeper, kept_epochs, load_state
from c2p.training.clutter import clutter_of, cluttered
from c2p.training.distributed import ALONE, Ranks
from c2p.training.gradients import autocast
from c2p.training.history import History
from c2p.training.image_towers import ImageTower
from c2p.training.ledger import Ledger, OnStep
from c2p.training.machine import Machine
from c2p.training.meter import Meter, matmul_rate, training_flops
from c2p.training.optim import gradient_norm, learning_rate
from c2p.training.statistics import settled
from c2p.training.triplet_draws import TripletDraw, draw_triplets, moved
from c2p.training.triplet_state import Training

NAMES = ("loss", "image", "text", "prompts", "grad_norm")
"""Values of a step: the sum of its losses, 3D-image, 3D-text and image-text (0 where a step has none), and the norm of
the 3D encoder's gradient before it is clipped (0 where the step is the image tower's)."""

ReadViews = Callable[[np.ndarray, np.ndarray], Tensor]
"""Samples (B,) and a view of each (B,) to pictures (B, 3, H, W) uint8."""


@dataclass(frozen=True)
class Triplets:
    """What is trained on."""

    points: Tensor
    """(N, P, 3) float32, unit sphere, y up."""
    read_views: ReadViews
    views: int
    """V: views of each sample to draw from."""
    labels: Tensor
    """(N,) int64 class of each sample."""
    text: Tensor
    """(K, T, C) float32, of length one: the captions of every class."""


def train_triplets(
    encoder: nn.Module,
    clip: Clip,
    data: Triplets,
    settings: Cg3d,
    *,
    seed: int,
    folder: Path,
    evaluate: Callable[[nn.Module], dict[str, float]] | None = None,
    on_step: OnStep | None = None,
    ranks: Ranks = ALONE,
    machine: Machine = Machine(),  # noqa: B008 - frozen
    origin: dict[str, str] | None = None,
) -> tuple[History, ImageTower]:
    """Train a 3D encoder, in place, on the CLIP's device; returns the history and the image tower as it ended.

    folder: receives checkpoints; where it holds the state of the same run, training goes on from there. evaluate:
    called with the 3D encoder on every rank at every checkpoint; its values join the history. on_step: called with
    (step from 1, steps, values). ranks: the processes that share the batches; each gives the same arguments. origin:
    revisions of code and data, kept with the state.

    Per sample and epoch one random view, caption and augmentation: clutter (c2p.training.clutter), then stretched and
    moved. With settings.alternate even steps (from 0) train the 3D encoder and odd ones the image tower; else, and
    where nothing in that tower learns, every step trains all. The last, incomplete batch is dropped. Checkpoints, and
    what `evaluate` gets, have the batch norms' statistics taken anew from the clouds of the epoch's batches as they are
    (c2p.training.statistics); the training goes on with its own.

    Raises ValueError: shapes that don't fit, fewer samples than a batch, a batch that ranks can't share. ModelError:
    prompts for a tower that takes none. CheckpointError: `folder` holds another run. OSError: it can't be written.
    TrainingError: the loss is no longer finite. The last good checkpoint stays.
    """
    _check(data, settings, clip, ranks)
    device = clip.device
    run = _describe(data, settings, encoder, seed)
    per_epoch = len(data.points) // settings.batch
    steps = per_epoch * settings.epochs
    with Keeper(folder, run) as keeper:
        plain = data.points.cpu().numpy()
        data = dataclasses.replace(data, points=data.points.to(device), text=data.text.to(device))
        encoder.to(device)
        if ranks.size > 1:
            share_batchnorm(encoder)
        tower = ImageTower(clip, settings, seed=seed).to(device)
        training = _training(encoder, tower, settings, data, seed, steps, ranks, folder, on_step, origin)
        step = training.resume(load_state(folder, run=run, device=device))
        temperature = settings.temperature or 1 / float(clip.model.logit_scale.exp())
        batch = _Batch(data, settings, training, ranks, clip, plain, temperature)
        ledger = training.ledger
        for epoch in range(step // per_epoch, settings.epochs):
            encoder.train()
            tower.train(settings.tuned == "everything")
            draw = _draw(data, settings, seed, epoch)
            for index in range(step % per_epoch, per_epoch):
                rows = draw.order[index * settings.batch : (index + 1) * settings.batch]
                rate = training.set_rates(_share(step, steps, settings), settings.lr_min)
                values = batch.step(draw, rows, odd=step % 2 == 1)
                step += 1
                ledger.add(values, {"lr": rate})
                if ranks.first and step % per_epoch and keeper.age >= machine.save_seconds:
                    ledger.read()
                    keeper.save_state(training.state(step))
            row = ledger.close_epoch(lr=rate)
            if (epoch + 1) % settings.checkpoint_every == 0 or epoch + 1 == settings.epochs:
                with settled(encoder, batch.clouds(draw), precision=settings.precision):
                    if ranks.first:
                        keeper.save_weights(epoch + 1, training.weights())
                    row.update(evaluate(encoder) if evaluate else {})
                if ranks.first:
                    keeper.save_state(training.state(step), keep=kept_epochs(ledger.history, settings))
            elif ranks.first and keeper.age >= machine.save_seconds:
                keeper.save_state(training.state(step))
            ledger.meter.skip()
    if ranks.first:
        write_json(folder / HISTORY_FILE, ledger.history)
    encoder.eval()
    tower.eval()
    return ledger.history, tower


@dataclass(frozen=True)
class _Batch:
    """How one batch is trained on."""

    data: Triplets
    settings: Cg3d
    training: Training
    ranks: Ranks
    clip: Clip
    plain: np.ndarray
    """(N, P, 3) the clouds in the CPU's memory."""
    temperature: float
    """Of the losses; the CLIP's own where the recipe gives none, asked for once: a GPU would be waited for."""

    def step(self, draw: TripletDraw, rows: np.ndarray, *, odd: bool) -> Tensor:
        """One step on the samples `rows` (B,); returns (5,) values in the order of NAMES."""
        tower, settings = self.training.tower, self.settings
        in_turn = settings.alternate and tower.learns
        for optimizer in self.training.optimizers.values():
            optimizer.zero_grad(set_to_none=True)
        text = self.data.text[self.data.labels[rows], torch.from_numpy(draw.captions[rows])]
        images = self._images(draw, rows, learning=tower.learns and (odd or not in_turn))
        zero = text.new_zeros(())
        image_loss = text_loss = prompt_loss = norm = zero
        if not (in_turn and odd):
            image_loss, text_loss, norm = self._encoder_step(draw, rows, images, text)
        if images is not None and images.requires_grad:
            prompt_loss = info_nce(self.ranks.gather(images[None])[0], text, self.temperature)
            prompt_loss.backward()
            self.ranks.sum_(weight.grad for weight in tower.parameters() if weight.grad is not None)
            self.training.optimizers["tower"].step()
        terms = [value.detach() for value in (image_loss, text_loss, prompt_loss)]
        return torch.stack([sum(terms, zero), *terms, norm.detach()])

    def clouds(self, draw: TripletDraw) -> Iterator[Tensor]:
        """This rank's clouds (b, P, 3) of every batch of an epoch, as they are."""
        whole = len(draw.order) // self.settings.batch * self.settings.batch
        for rows in draw.order[:whole].reshape(-1, self.settings.batch):
            yield self.data.points[self._own(rows)]

    def _encoder_step(
        self, draw: TripletDraw, rows: np.ndarray, images: Tensor | None, text: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Update the 3D encoder; returns its two losses and its gradient's norm."""
        encoder, settings, ranks = self.training.encoder, self.settings, self.ranks
        own = self._own(rows)
        with autocast(self.clip.device, settings.precision):
            features = encoder(moved(self._clouds(draw, own), draw, own))
        features = ranks.gather(features.float()[None])[0]
        zero = text.new_zeros(())
        seen = said = zero
        if settings.alignment != "text":
            assert images is not None
            seen = info_nce(features, ranks.gather(images.detach()[None])[0], self.temperature)
        if settings.alignment != "image":
            said = info_nce(features, text, self.temperature)
        (seen + said).backward()
        weights = list(encoder.parameters())
        ranks.sum_(weight.grad for weight in weights if weight.grad is not None)
        norm = gradient_norm(weights)
        torch.nn.utils.clip_grads_with_norm_(weights, settings.clip_norm, norm)
        self.training.optimizers["encoder"].step()
        return seen, said, norm

    def _images(self, draw: TripletDraw, rows: np.ndarray, *, learning: bool) -> Tensor | None:
        """Features (b, C) of this rank's views; None where nothing asks for them."""
        if not learning and self.settings.alignment == "text":
            return None
        own = self._own(rows)
        views = self.data.read_views(own, draw.views[own]).to(self.clip.device)
        with torch.set_grad_enabled(learning), autocast(self.clip.device, self.settings.precision):
            return self.training.tower(views)

    def _clouds(self, draw: TripletDraw, rows: np.ndarray) -> Tensor:
        """Clouds (b, P, 3) of samples `rows` (b,), cluttered where the recipe says so."""
        if not self.settings.clutter:
            return self.data.points[rows]
        clouds = cluttered(self.plain, rows, clutter_of(self.settings), key=draw.key)
        return torch.from_numpy(clouds).to(self.clip.device)

    def _own(self, rows: np.ndarray) -> np.ndarray:
        """This rank's rows of a batch."""
        return np.array_split(rows, self.ranks.size)[self.ranks.rank]


def _training(
    encoder: nn.Module,
    tower: ImageTower,
    settings: Cg3d,
    data: Triplets,
    seed: int,
    steps: int,
    ranks: Ranks,
    folder: Path,
    on_step: OnStep | None,
    origin: dict[str, str] | None,
) -> Training:
    optimizers: dict[str, torch.optim.Optimizer] = {
        "encoder": torch.optim.AdamW(encoder.parameters(), settings.lr, weight_decay=settings.weight_decay, fused=True)
    }
    peaks = {"encoder": settings.lr, "tower": settings.prompt_lr if settings.tuned == "prompts" else settings.lr}
    if (second := tower.optimizer(settings)) is not None:
        optimizers["tower"] = second
    advice = f"the last good checkpoint is kept in {folder}; lower cg3d.lr or raise cg3d.temperature"
    per_epoch = len(data.points) // settings.batch
    meter = _meter(encoder, data.points[:1], settings, ranks)
    ledger = Ledger(seed, per_epoch, steps, advice, meter, on_step, title="CG3D", names=NAMES)
    return Training(encoder, tower, optimizers, peaks, ledger, origin or {})


def _meter(encoder: nn.Module, cloud: Tensor, settings: Cg3d, ranks: Ranks) -> Meter:
    """Rates of clouds; the arithmetic is the 3D encoder's alone."""
    encoder.eval()  # batch norm must not learn from this cloud
    flops = training_flops(encoder, list(encoder.parameters()), cloud)
    bfloat16 = settings.precision == "bfloat16"
    peak = matmul_rate(cloud.device, torch.bfloat16 if bfloat16 else torch.float32)
    rows = settings.batch // ranks.size
    return Meter(samples=settings.batch, images=settings.batch, flops=flops * rows, peak=peak)


def _draw(data: Triplets, settings: Cg3d, seed: int, epoch: int) -> TripletDraw:
    return draw_triplets(
        seed,
        epoch,
        samples=len(data.points),
        views=data.views,
        captions=data.text.shape[1],
        scale=settings.scale,
        shift=settings.shift,
    )


def _share(step: int, steps: int, settings: Cg3d) -> float:
    """Share of the peak rate: linear warm-up, then one cosine to 0."""
    warmup = min(round(settings.warmup * steps), steps - 1)
    return learning_rate(step, peak=1.0, cycle=steps - warmup, warmup=warmup)


def _describe(data: Triplets, settings: Cg3d, encoder: nn.Module, seed: int) -> dict[str, Any]:
    """What a training state belongs to; the content of the data is the caller's key."""
    recipe = dataclasses.asdict(settings)
    for name in ("run", "seeds"):
        recipe.pop(name)
    shapes = {"points": list(data.points.shape), "text": list(data.text.shape), "views": data.views}
    size = vars(encoder).get("size")
    network = {"network": type(encoder).__name__, "size": dataclasses.asdict(size) if size else {}}
    return {**recipe, **shapes, **network, "seed": seed}


def _check(data: Triplets, settings: Cg3d, clip: Clip, ranks: Ranks) -> None:
    samples = len(data.points)
    if data.points.ndim != 3 or data.points.shape[2] != 3:
        raise ValueError(f"points: got shape {tuple(data.points.shape)}; allowed: (N, P, 3)")
    if tuple(data.labels.shape) != (samples,):
        raise ValueError(f"labels: got shape {tuple(data.labels.shape)}; allowed: ({samples},)")
    if data.text.ndim != 3 or data.text.shape[2] != clip.width:
        raise ValueError(f"text: got shape {tuple(data.text.shape)}; allowed: (K, T, {clip.width})")
    if samples < settings.batch:
        raise ValueError(f"cg3d.batch: got {settings.batch}; allowed: at most the {samples} training samples")
    if settings.batch % ranks.size:
        raise ValueError(f"cg3d.batch: got {settings.batch} for {ranks.size} processes; allowed: a multiple of them")
