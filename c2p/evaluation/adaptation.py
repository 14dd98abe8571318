"""Few-shot and fully supervised classification: adapters trained on frozen features (Eq. 2 to 4 and 16 to 19).

The adapter that is evaluated is that of the last epoch, or of the best epoch on training objects held out: nothing is
chosen on test objects. Epochs take the cached passes over the training objects in turn: the plain one, and augmented
ones where there are any.

Legend: N object, B batch, V view, C feature width, K class.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from math import cos, pi
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from c2p import params
from c2p.evaluation.features import one_thread, read_features, write_array
from c2p.evaluation.selection import held_out
from c2p.models.adapters import DualPath, GlobalViewAdapter, InterViewAdapter, cosine_logits

log = logging.getLogger(__name__)

TEST_BATCH = 1024
POINTCLIP_LR = 0.01
POINTCLIP_WARMUP_LR = 1e-5
POINTCLIP_MOMENTUM = 0.9
POINTCLIP_WEIGHT_DECAY = 5e-4
POINTCLIP_BATCH = 32
POINTCLIP_SMOOTHING = 0.2
POINTCLIP_DROPOUT = 0.075
"""PointCLIP's published few-shot code."""


@dataclass(frozen=True)
class Recipe:
    """How an adapter trains."""

    optimizer: Literal["adamw", "sgd"]
    epochs: int
    batch: int
    lr: float
    weight_decay: float
    dropout: float
    smoothing: float = 0.0
    """Label smoothing."""
    scale: float = 1.0
    """Factor on the cosines before the cross-entropy; CLIP2Point's published code has none."""
    warmup_lr: float = 0.0
    """Rate of the one warm-up epoch before a cosine to 0; 0: constant rate, no warm-up."""


@dataclass(frozen=True)
class AdapterJob:
    """One adapter to train and to evaluate: plain values and paths, so that any process can do it."""

    adapter: Literal["global", "inter"]
    train: tuple[tuple[Path, ...], ...]
    """Feature files (n, V, C), one after the other the training objects, for each path: one, or two for the dual."""
    test: tuple[tuple[Path, ...], ...]
    """Those of the test objects."""
    rows: np.ndarray
    """(n,) int64 training objects taken."""
    labels: np.ndarray
    """(n,) int64 their classes."""
    text: Path
    """File of the prompts (K, C)."""
    recipe: Recipe
    seed: int
    out: Path
    """Where the logits go."""
    augmented: tuple[tuple[tuple[Path, ...], ...], ...] = ()
    """Further passes over the training objects, each laid out as train."""
    share: float = 0.0
    """Of each class's training objects, held out to choose the epoch on; 0: the last epoch."""

    @property
    def factor(self) -> float:
        """What the cosines have been multiplied with in the logits."""
        return self.recipe.scale


def clip2point_recipe(settings: params.Adapter, *, epochs: int | None = None) -> Recipe:
    """CLIP2Point's training (section 5.2): AdamW at a constant rate, cosines without a scale."""
    return Recipe(
        "adamw", epochs or settings.epochs, settings.batch, settings.lr, settings.weight_decay, settings.dropout
    )


def pointclip_recipe(settings: params.Pointclip, *, scale: float, epochs: int | None = None) -> Recipe:
    """PointCLIP's training (its published code): SGD, one warm-up epoch, cosine, label smoothing.

    scale: CLIP's learnt logit scale. Left out: its augmentation of the points (features are encoded once) and its
    search of view weights and of the best epoch on the test set.
    """
    return Recipe(
        "sgd",
        epochs or settings.epochs,
        POINTCLIP_BATCH,
        POINTCLIP_LR,
        POINTCLIP_WEIGHT_DECAY,
        POINTCLIP_DROPOUT,
        smoothing=POINTCLIP_SMOOTHING,
        scale=scale,
        warmup_lr=POINTCLIP_WARMUP_LR,
    )


def run_job(job: AdapterJob) -> Path:
    """Train the adapter, classify the test objects and write the logits (N, K) float32; an existing file stays."""
    if not job.out.exists():
        train, test = _read_pass(job.train, job.rows), [read_features(pieces) for pieces in job.test]
        augmented = [partial(_read_pass, paths, job.rows) for paths in job.augmented]
        text = np.load(job.text, allow_pickle=False)
        problem = (job.adapter, train, job.labels, test, text, job.recipe, job.seed)
        write_array(job.out, train_and_classify(*problem, augmented=augmented, share=job.share))
    return job.out


def train_and_classify(
    adapter: Literal["global", "inter"],
    train: Sequence[np.ndarray],
    labels: np.ndarray,
    test: Sequence[np.ndarray],
    text: np.ndarray,
    recipe: Recipe,
    seed: int,
    *,
    augmented: Sequence[Callable[[], Sequence[np.ndarray]]] = (),
    share: float = 0.0,
) -> np.ndarray:
    """Logits of the test objects after training on the training objects.

    Args:
        adapter: the kind on every path.
        train: one array (n, V, C) float32 a path, not normalised.
        labels: (n,) int64.
        test: one array (N, V, C) a path.
        text: (K, C) float32.
        recipe: optimiser and loss.
        seed: initial weights, dropout and order of the batches.
        augmented: further passes over the training objects, each as train and read anew when its epoch comes, so that
            one lies in memory at a time; epoch e trains on pass e modulo their number, the plain one first.
        share: of each class's training objects that don't train but choose the epoch: the one after which most of them
            are classified right, of equals the last. They are seen plain. 0, or a class with a single object: the last
            epoch.
    Returns:
        (N, K) float32 cosines times the recipe's scale.
    Raises ValueError: fewer than two objects to train on, widths that differ, or a loss that became infinite.
    """
    held = _held_out(labels, share)
    if (count := int((~held).sum())) < 2:
        raise ValueError(f"{count} training objects; allowed: at least 2, for the batch statistics of the adapter")
    for width in (path.shape[-1] for path in train):
        if width != text.shape[-1]:
            raise ValueError(
                f"features of width {width} and prompts of width {text.shape[-1]}; "
                "allowed: the same width; use a depth encoder and a CLIP that belong together"
            )
    with _seeded(seed):
        model = build_adapter(adapter, train[0].shape[1], train[0].shape[2], len(train), recipe.dropout)
        prompts = _tensor(text)
        plain = [_tensor(path) for path in train]
        _train(model, plain, augmented, torch.from_numpy(labels), torch.from_numpy(held), prompts, recipe, seed)
        return _logits(model, [_tensor(path) for path in test], prompts, recipe.scale).numpy()


def build_adapter(adapter: Literal["global", "inter"], views: int, width: int, paths: int, dropout: float) -> nn.Module:
    """One adapter, or two under the dual-path structure (Eq. 17 to 19)."""
    kind = {"global": GlobalViewAdapter, "inter": InterViewAdapter}[adapter]
    made = [kind(views, width, dropout) for _ in range(paths)]
    return made[0] if paths == 1 else DualPath(*made)


def view_mean_logits(features: Tensor, text: Tensor) -> Tensor:
    """Cosines with the prompts: (B, C) as in Eq. 16 and 19, or the views' mean of (B, V, C) as in Eq. 15.

    Eq. 4's searched view weights are that mean here: searching them needs test objects.
    """
    if features.ndim == 2:
        return cosine_logits(features, text)
    return cosine_logits(features.flatten(0, 1), text).unflatten(0, features.shape[:2]).mean(1)


def learning_rate(recipe: Recipe, epoch: int) -> float:
    """Rate of an epoch: constant, or one epoch at the warm-up rate and then a cosine from lr towards 0."""
    if recipe.warmup_lr == 0.0:
        return recipe.lr
    return recipe.warmup_lr if epoch == 0 else recipe.lr * (1 + cos(pi * epoch / recipe.epochs)) / 2


def _read_pass(paths: Sequence[Sequence[Path]], rows: np.ndarray) -> list[np.ndarray]:
    """Features (n, V, C) of rows of the objects, one array a path."""
    return [read_features(pieces)[rows] for pieces in paths]


def _held_out(labels: np.ndarray, share: float) -> np.ndarray:
    """(n,) bool: the objects that the epoch is chosen on, none of them where one can't be spared in every class."""
    held = held_out(labels, share=share) if share else np.zeros(len(labels), bool)
    if held is None:
        log.warning("a class with a single training object has none to hold out: the last epoch is taken")
        return np.zeros(len(labels), bool)
    return held


def _train(
    model: nn.Module,
    plain: Sequence[Tensor],
    augmented: Sequence[Callable[[], Sequence[np.ndarray]]],
    labels: Tensor,
    held: Tensor,
    text: Tensor,
    recipe: Recipe,
    seed: int,
) -> None:
    """Train on the objects that are not held out, and leave the weights of the last or the best epoch."""
    optimizer = _optimizer(model, recipe)
    taken, apart = (~held).nonzero()[:, 0], held.nonzero()[:, 0]
    batches = min(-(-len(taken) // recipe.batch), len(taken) // 2)
    best = (0, recipe.epochs - 1, model.state_dict())
    for epoch in range(recipe.epochs):
        model.train()
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(recipe, epoch)
        number = epoch % (1 + len(augmented))
        features = [_tensor(path) for path in augmented[number - 1]()] if number else plain
        order = taken[torch.from_numpy(np.random.default_rng((seed, epoch)).permutation(len(taken)))]
        # Batches of nearly equal size, at least 2: a batch of one object has no batch statistics.
        for rows in order.tensor_split(batches):
            logits = recipe.scale * view_mean_logits(model(*(f[rows] for f in features)), text)
            loss = functional.cross_entropy(logits, labels[rows], label_smoothing=recipe.smoothing)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
        if len(apart):
            chosen = _logits(model, [f[apart] for f in plain], text, recipe.scale).argmax(1)
            right = int((chosen == labels[apart]).sum())
            if right >= best[0]:
                best = (right, epoch, deepcopy(model.state_dict()))
    if not torch.isfinite(loss):
        raise ValueError(f"the adapter's loss became {loss.item()}; lower adapter.lr ({recipe.lr})")
    if len(apart):
        model.load_state_dict(best[2])
        log.info("epoch %d of %d: %d of %d held out objects right", best[1] + 1, recipe.epochs, best[0], len(apart))


def _optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    weights, lr, decay = model.parameters(), recipe.lr, recipe.weight_decay
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(weights, lr=lr, weight_decay=decay, fused=True)
    return torch.optim.SGD(weights, lr=lr, momentum=POINTCLIP_MOMENTUM, weight_decay=decay, fused=True)


def _logits(model: nn.Module, features: Sequence[Tensor], text: Tensor, scale: float) -> Tensor:
    """Logits (N, K) of objects as the trained adapter sees them, features (N, V, C) a path."""
    model.eval()
    with torch.inference_mode():
        parts = zip(*(path.split(TEST_BATCH) for path in features), strict=True)
        return torch.cat([scale * view_mean_logits(model(*part), text) for part in parts])


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """A forked random generator on one thread; steps this small gain nothing from more."""
    with one_thread(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def _tensor(values: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))
