"""Linear probe: multinomial logistic regression on frozen features, the plainest classifier that learns from shots.

Radford et al. 2021 probe CLIP's features so. The loss is the mean cross-entropy plus strength / 2 * |W|^2, the
constant's row included, so it is strictly convex: there is one minimum, also where a class has no objects.

Legend: N object, V view, C feature width, K class.
"""

import logging
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from c2p.evaluation.features import one_thread
from c2p.evaluation.selection import best, held_out, merit

log = logging.getLogger(__name__)

STRENGTHS = (1.0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5)
"""Candidates of the L2 strength, strongest first: of equals the stronger is taken."""
STEPS = 2000
"""Largest number of L-BFGS steps."""
TOLERANCE = 1e-6
"""Largest entry of the gradient at which the minimum counts as reached."""


def probe_logits(
    train: np.ndarray,
    labels: np.ndarray,
    test: np.ndarray,
    *,
    classes: int,
    pooling: Literal["mean", "concatenated"],
    strength: float,
    share: float = 0.0,
) -> np.ndarray:
    """Fit on the training objects and classify the test objects.

    Args:
        train: (n, V, C) float.
        labels: (n,) int64.
        test: (N, V, C) float.
        classes: K.
        pooling: of the views.
        strength: L2 strength; used as it is where share is 0, or where a class has a single object.
        share: of the training objects that the strength is chosen on; the fit that counts is on all of them.
    Returns:
        (N, K) float64; their softmax gives probabilities.
    Raises ValueError: no training objects, or no convergence.
    """
    if len(labels) == 0:
        raise ValueError("0 training objects; allowed: at least 1")
    inputs, queries = standardised(pooled(train, pooling), pooled(test, pooling))
    apart = held_out(labels, share=share) if share else None
    if apart is not None:
        strength = choose_strength(inputs, labels, apart, classes=classes)
    return queries @ fit(inputs, labels, classes=classes, strength=strength)


def pooled(features: np.ndarray, pooling: Literal["mean", "concatenated"]) -> np.ndarray:
    """One vector an object from (N, V, C) float: its views at length one, averaged (N, C) or joined (N, V * C)."""
    views = features.astype(np.float64)
    views /= np.linalg.norm(views, axis=-1, keepdims=True)
    return views.mean(axis=1) if pooling == "mean" else views.reshape(len(views), -1)


def standardised(train: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Shift and scale both by the training objects' mean and root mean square distance from it, and append a constant.

    One factor for all entries, so distances keep their proportions. (n, C), (N, C) -> (n, C + 1), (N, C + 1) float64.
    """
    centre = train.mean(axis=0)
    spread = np.sqrt(((train - centre) ** 2).sum(axis=1).mean())
    scale = 1 / spread if spread > 0 else 1.0
    first, second = (np.pad((part - centre) * scale, ((0, 0), (0, 1)), constant_values=1.0) for part in (train, test))
    return first, second


def choose_strength(inputs: np.ndarray, labels: np.ndarray, apart: np.ndarray, *, classes: int) -> float:
    """The strength whose fit on the other training objects classifies those set apart (n, bool) best."""
    weights = None
    merits = []
    for strength in STRENGTHS:
        weights = fit(inputs[~apart], labels[~apart], classes=classes, strength=strength, start=weights)
        merits.append(merit(inputs[apart] @ weights, labels[apart]))
    chosen = STRENGTHS[best(merits)]
    log.debug("linear probe: strength %g of %d held-out objects", chosen, apart.sum())
    return chosen


def fit(
    inputs: np.ndarray, labels: np.ndarray, *, classes: int, strength: float, start: np.ndarray | None = None
) -> np.ndarray:
    """Weights (C, K) float64 at the minimum of the loss, by L-BFGS from a start or from zero.

    Raises ValueError: the gradient is not small enough after STEPS steps.
    """
    x, y = torch.from_numpy(inputs), torch.from_numpy(labels)
    zero = np.zeros((inputs.shape[1], classes))
    weights = torch.tensor(zero if start is None else start, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [weights],
        max_iter=STEPS,
        max_eval=2 * STEPS,
        history_size=20,
        tolerance_grad=TOLERANCE,
        tolerance_change=0.0,
        line_search_fn="strong_wolfe",
    )

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = functional.cross_entropy(x @ weights, y) + strength / 2 * weights.square().sum()
        value.backward()
        return value

    with one_thread():
        optimizer.step(loss)
        loss()
    assert weights.grad is not None
    steepest = float(weights.grad.abs().max())
    if not steepest <= TOLERANCE:
        raise ValueError(
            f"linear probe: gradient {steepest:.1e} after {STEPS} steps at strength {strength:g}; "
            f"allowed: up to {TOLERANCE:g}; raise controls.strength"
        )
    return weights.detach().numpy()
