"""Places for words on a picture: as near as may be to what they name, none over another.

Letters: M words, W H the picture's width and height in pixels.
"""

import numpy as np

PLATE = 18
"""Height of a word's plate, pixels."""
APART = 2
"""Between two plates."""
STEP = 4
"""Pixels between the places that are tried."""


def spread(anchors: np.ndarray, widths: np.ndarray, *, size: tuple[int, int]) -> np.ndarray:
    """Where plates go so that they lie inside the picture and over no other.

    Words of low anchors, which stand in front, choose first, and each takes the free place nearest to its anchor. A
    word for which no place is left lies where it hides least of the others.

    anchors: (M, 2) columns and rows, where each plate's lower edge should have its middle. widths: (M,) pixels, at most
    W. size: (W, H).
    Returns (M, 2) float64, places of the lower edges' middles.
    """
    places = np.empty((len(anchors), 2))
    taken: list[tuple[float, float, float]] = []
    for number in np.lexsort((anchors[:, 0], -anchors[:, 1])):
        tried = _candidates(anchors[number], float(widths[number]), size)
        hidden = _hidden(tried, float(widths[number]), taken)
        best = tried[hidden.argmin()]  # of equals the first, which is the nearest
        places[number] = best
        taken.append((float(best[0]), float(best[1]), float(widths[number])))
    return places


def _candidates(anchor: np.ndarray, width: float, size: tuple[int, int]) -> np.ndarray:
    """Places inside the picture, the nearest to the anchor first: (T, 2)."""
    low = np.array([width / 2, PLATE])
    high = np.maximum(low, [size[0] - width / 2, size[1]])
    start = np.clip(anchor, low, high)
    axes = [
        np.concatenate([np.arange(start[k], low[k] - 1e-9, -STEP)[::-1], np.arange(start[k] + STEP, high[k], STEP)])
        for k in (0, 1)
    ]
    tried = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)
    ordered: np.ndarray = tried[np.argsort(((tried - start) ** 2).sum(1), kind="stable")]
    return ordered


def _hidden(tried: np.ndarray, width: float, taken: list[tuple[float, float, float]]) -> np.ndarray:
    """Pixels of plates taken that a plate hides at each of the places: (T,)."""
    hidden = np.zeros(len(tried))
    for x, y, other in taken:
        across = (width + other) / 2 + APART - np.abs(tried[:, 0] - x)
        down = PLATE + APART - np.abs(tried[:, 1] - y)
        hidden += np.clip(across, 0, None) * np.clip(down, 0, None)
    return hidden
