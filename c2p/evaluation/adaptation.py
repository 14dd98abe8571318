"""Few-shot and fully supervised classification: adapters trained on frozen features (Eq. 2 to 4 and 16 to 19).

The adapter of the last epoch is the one evaluated: nothing is chosen on test objects.

Legend: N object, B batch, V view, C feature width, K class.
"""

import hashlib
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import cos, pi
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from c2p import params
from c2p.evaluation.features import one_thread, read_features, write_array
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


def few_shot_rows(keys: Sequence[str], labels: np.ndarray, *, shots: int, seed: int) -> np.ndarray:
    """Training objects of a k-shot problem: k a class, drawn by the seed.

    Objects are ranked by the sha256 of seed and key, so the draw depends on neither the order of the objects nor that
    of the classes. A class with fewer than k objects gives all it has, and the log says so.

    Args:
        keys: N names, unique.
        labels: (N,) int64.
    Returns:
        (n,) int64 indices into keys, in ranked order.
    """
    ranked = _ranked(keys, seed)
    taken = []
    for label in sorted(set(labels.tolist())):
        rows = ranked[labels[ranked] == label][:shots]
        if len(rows) < shots:
            log.warning("class %d has %d training objects, fewer than %d shots: takes all", label, len(rows), shots)
        taken.append(rows)
    chosen = np.isin(ranked, np.concatenate(taken)) if taken else np.zeros(0, bool)
    return ranked[chosen]


def all_rows(keys: Sequence[str], *, seed: int) -> np.ndarray:
    """Every training object, in the ranked order that few_shot_rows uses."""
    return _ranked(keys, seed)


def run_job(job: AdapterJob) -> Path:
    """Train the adapter, classify the test objects and write the logits (N, K) float32; an existing file stays."""
    if not job.out.exists():
        train = [read_features(pieces)[job.rows] for pieces in job.train]
        test = [read_features(pieces) for pieces in job.test]
        text = np.load(job.text, allow_pickle=False)
        write_array(job.out, train_and_classify(job.adapter, train, job.labels, test, text, job.recipe, job.seed))
    return job.out


def train_and_classify(
    adapter: Literal["global", "inter"],
    train: Sequence[np.ndarray],
    labels: np.ndarray,
    test: Sequence[np.ndarray],
    text: np.ndarray,
    recipe: Recipe,
    seed: int,
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
    Returns:
        (N, K) float32 cosines times the recipe's scale.
    Raises ValueError: fewer than two training objects, or widths that differ.
    """
    if len(labels) < 2:
        raise ValueError(
            f"{len(labels)} training objects; allowed: at least 2, for the batch statistics of the adapter"
        )
    if train[0].shape[-1] != text.shape[-1]:
        raise ValueError(f"features of width {train[0].shape[-1]} and prompts of width {text.shape[-1]}; must be equal")
    with _seeded(seed):
        model = build_adapter(adapter, train[0].shape[1], train[0].shape[2], len(train), recipe.dropout)
        prompts = torch.from_numpy(np.ascontiguousarray(text, dtype=np.float32))
        _train(model, [_tensor(a) for a in train], torch.from_numpy(labels), prompts, recipe, seed)
        model.eval()
        with torch.inference_mode():
            parts = zip(*(_tensor(a).split(TEST_BATCH) for a in test), strict=True)
            return torch.cat([recipe.scale * view_mean_logits(model(*part), prompts) for part in parts]).numpy()


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


def _train(
    model: nn.Module, features: Sequence[Tensor], labels: Tensor, text: Tensor, recipe: Recipe, seed: int
) -> None:
    if recipe.optimizer == "adamw":
        optimizer: torch.optim.Optimizer = torch.optim.AdamW(
            model.parameters(), lr=recipe.lr, weight_decay=recipe.weight_decay, fused=True
        )
    else:
        optimizer = torch.optim.SGD(
            model.parameters(), lr=recipe.lr, momentum=POINTCLIP_MOMENTUM, weight_decay=recipe.weight_decay, fused=True
        )
    model.train()
    batches = min(-(-len(labels) // recipe.batch), len(labels) // 2)
    for epoch in range(recipe.epochs):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(recipe, epoch)
        order = torch.from_numpy(np.random.default_rng((seed, epoch)).permutation(len(labels)))
        # Batches of nearly equal size, at least 2: a batch of one object has no batch statistics.
        for rows in order.tensor_split(batches):
            logits = recipe.scale * view_mean_logits(model(*(f[rows] for f in features)), text)
            loss = functional.cross_entropy(logits, labels[rows], label_smoothing=recipe.smoothing)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
    if not torch.isfinite(loss):
        raise ValueError(f"the adapter's loss became {loss.item()}; lower adapter.lr ({recipe.lr})")


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """A forked random generator on one thread; steps this small gain nothing from more."""
    with one_thread(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def _tensor(values: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))


def _ranked(keys: Sequence[str], seed: int) -> np.ndarray:
    digests = [hashlib.sha256(f"{seed}:{key}".encode()).digest() for key in keys]
    return np.array(sorted(range(len(keys)), key=digests.__getitem__), dtype=np.int64)
