"""Zero-shot classification from the features of several views (CLIP2Point Eq. 1 and 15).

Legend: N object, V view, C feature width, K class.
"""

import numpy as np


def cosines(features: np.ndarray, text: np.ndarray) -> np.ndarray:
    """Cosine of every feature with every class prompt.

    Args:
        features: (..., C) float, any length but zero.
        text: (K, C) float, prompts of the K classes.
    Returns:
        (..., K) float64, what CLIP's F_I F_T^T of Eq. 1 means: both sides have length one there.
    Raises ValueError: widths that differ.
    """
    if features.shape[-1] != text.shape[-1]:
        raise ValueError(
            f"features of width {features.shape[-1]} and prompts of width {text.shape[-1]}; "
            "allowed: the same width; use a depth encoder and a CLIP that belong together"
        )
    return _unit(features) @ _unit(text).T


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities along the last axis, float64."""
    shifted = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    return shifted / shifted.sum(axis=-1, keepdims=True)


def image_probabilities(features: np.ndarray, text: np.ndarray, *, scale: float = 1.0) -> np.ndarray:
    """Class probabilities (..., K) of single images (..., C): Eq. 1, with CLIP's learnt logit scale."""
    return softmax(scale * cosines(features, text))


def zeroshot_logits(features: np.ndarray, text: np.ndarray) -> np.ndarray:
    """Mean over the views of their cosines with the prompts.

    Eq. 15 prints 1/N softmax(sum over views); softmax keeps the order, so the class chosen is the same. No view
    carries a weight: nothing is searched.

    Args:
        features: (N, V, C) float.
        text: (K, C) float.
    Returns:
        (N, K) float64 in [-1, 1].
    """
    return cosines(features, text).mean(axis=1)


def _unit(vectors: np.ndarray) -> np.ndarray:
    vectors = vectors.astype(np.float64)
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
