"""What an image tower that was tuned beside a 3D encoder still knows of pictures and the texts that name them.

It is asked about pictures of models that tuning never saw. Pictures of classes that tuning saw tell whether it learnt
them; pictures of classes that were left out of tuning altogether, which the CLIP had learnt before, tell what it
forgot. In both, the texts of all classes compete: a tower that pulls everything to the classes it was tuned on fails.

Letters: N models, V views, C feature width, K classes, T captions of a class.
"""

import hashlib
from collections.abc import Sequence

import numpy as np

from c2p.evaluation.zeroshot import cosines


def classes_left_out(classes: Sequence[str], count: int) -> tuple[str, ...]:
    """Classes that tuning does not see, sorted: those whose names have the smallest sha256.

    Raises ValueError: fewer than two classes would be left to learn from.
    """
    allowed = max(0, len(classes) - 2)
    if not 0 <= count <= allowed:
        raise ValueError(
            f"cg3d_ablations.held_out_classes: got {count} of {len(classes)} classes; allowed: 0 to {allowed}"
        )
    ranked = sorted(classes, key=lambda name: hashlib.sha256(name.encode()).digest())
    return tuple(sorted(ranked[:count]))


def image_to_text(features: np.ndarray, labels: np.ndarray, text: np.ndarray) -> np.ndarray:
    """Share of each model's pictures whose nearest text, of those of all classes, is that of their class: R@1.

    Args:
        features: (N, V, C) float, any length but zero.
        labels: (N,) int64.
        text: (K, C) float, one a class.
    Returns:
        (N,) float64 in [0, 1].
    """
    shares: np.ndarray = (cosines(features, text).argmax(-1) == labels[:, None]).mean(1)
    return shares


def text_to_image(features: np.ndarray, labels: np.ndarray, captions: np.ndarray) -> np.ndarray:
    """Whether the picture nearest to a caption, of all pictures, shows the caption's class: R@1.

    Args:
        features: (N, V, C) float; all of them are the gallery.
        labels: (N,) int64.
        captions: (K, T, C) float.
    Returns:
        (K, T) bool.
    """
    pictures, shown = features.reshape(-1, features.shape[-1]), np.repeat(labels, features.shape[1])
    nearest = [cosines(pictures, caption).argmax(0) for caption in captions]  # class by class: (N * V, T) at a time
    return shown[np.stack(nearest)] == np.arange(len(captions))[:, None]


def likeness(before: np.ndarray, after: np.ndarray) -> float:
    """Mean cosine of a picture's features (..., C) before and after tuning: 1 where nothing moved."""
    lengths = np.linalg.norm(before, axis=-1) * np.linalg.norm(after, axis=-1)
    return float(((before * after).sum(-1) / lengths).mean())
