"""Names for a scene's segments, and which of its points a text lights up.

Letters: S points of a scene, M segments, T turns, P points that the encoder reads, C feature width, K labels.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from c2p.data.clouds import farthest_cloud
from c2p.evaluation.scene_segments import FLOOR
from c2p.evaluation.scenes import turned
from c2p.evaluation.zeroshot import softmax

STEP = 3
"""Degrees between the turns that squared_up tries."""

Encode = Callable[[np.ndarray], np.ndarray]
"""Clouds (B, P, 3) float32, unit sphere, y up, to features (B, C) float32 of length one."""


@dataclass(frozen=True)
class Named:
    """What an encoder says of a scene's segments."""

    cosines: np.ndarray
    """(M, K): of every segment, numbers 1 to M, with every label."""
    probabilities: np.ndarray
    """(M, K) float64: softmax of the cosines times the CLIP's scale; no calibrated confidence."""

    @property
    def best(self) -> np.ndarray:
        """(M,) int64: label of each segment, the likeliest; of equals, the one named first."""
        return self.cosines.argmax(1)


@dataclass(frozen=True)
class Answer:
    """What a text lights up."""

    scores: np.ndarray
    """(M,) float64 in [0, 1]: probability of the text beside the labels, segment by segment."""
    lit: np.ndarray
    """(M,) bool: segments that fit the text at least as well as every label."""


def segment_clouds(points: np.ndarray, numbers: np.ndarray, count: int) -> np.ndarray:
    """Every segment as the encoder reads it: squared up, centred, in the unit sphere, its farthest points.

    points: (S, 3); numbers: (S,), segments from 1 to M. A segment of fewer points than count gives each of them once or
    more often. Returns (M, count, 3) float32.
    """
    number = max(int(numbers.max(initial=FLOOR)), FLOOR)
    clouds = np.empty((number, count, 3), np.float32)
    for place in range(number):
        own = squared_up(points[numbers == place + 1])
        clouds[place] = farthest_cloud(own, min(count, len(own)))[np.arange(count) % min(count, len(own))]
    return clouds


def squared_up(points: np.ndarray) -> np.ndarray:
    """A cloud turned about the up axis so that its ground fits the smallest rectangle along x and z, in steps of STEP.

    What people make has sides: most shapes that encoders are trained on stand along the axes. Which of the four sides
    is the front stays open.
    """
    angles = np.arange(0, 90, STEP)
    areas = []
    for degrees in angles:
        width = np.ptp(turned(points, float(degrees))[:, [0, 2]], axis=0)
        areas.append(float(width[0] * width[1]))
    return turned(points, float(angles[int(np.argmin(areas))]))


def segment_features(clouds: np.ndarray, encode: Encode, *, turns: int) -> np.ndarray:
    """Features at so many equal turns about the up axis, beginning with none: (M, P, 3) to (M, T, C) float32."""
    every = [encode(turned(clouds, 360 * turn / turns)) for turn in range(turns)]
    return np.stack(every, axis=1)


def name_segments(features: np.ndarray, text: np.ndarray, *, scale: float) -> Named:
    """Compare segments with labels: the best cosine over a segment's turns, since nobody knows its front.

    features: (M, T, C), text: (K, C), of length one; scale: the CLIP's, by which cosines become logits.
    """
    cosines = best_cosines(features, text)
    return Named(cosines, softmax(scale * cosines) if len(cosines) else cosines)


def best_cosines(features: np.ndarray, text: np.ndarray) -> np.ndarray:
    """(M, T, C) and (K, C) of length one to (M, K) float64: of every segment with every text, at its best turn."""
    found: np.ndarray = (features.astype(np.float64) @ text.astype(np.float64).T).max(1)
    return found


def answer(features: np.ndarray, labels: np.ndarray, query: np.ndarray, *, scale: float) -> Answer:
    """Which segments a text lights up.

    A cosine alone says little: it has no zero. So the text stands beside the labels, and a segment is lit where none of
    them fits it better; a label as query lights the segments that have its name.
    labels: (K, C) of the labels, without the query itself; query: (C,); features: (M, T, C); all of length one.
    """
    cosines = best_cosines(features, np.concatenate([query[None], labels]))
    if not len(cosines):
        return Answer(np.zeros(0), np.zeros(0, bool))
    return Answer(softmax(scale * cosines)[:, 0], cosines[:, 0] >= cosines.max(1))


def point_labels(numbers: np.ndarray, best: Sequence[int] | np.ndarray, *, floor: int) -> np.ndarray:
    """Labels of points by the names of their segments: (S,) int64; `floor` on the floor, -1 where there is none."""
    return np.array([-1, floor, *best], dtype=np.int64)[np.asarray(numbers) + 1]


def point_scores(numbers: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """A query's score at every point: (S,) float64, 0 on the floor and off all segments."""
    return np.concatenate([[0.0, 0.0], scores])[np.asarray(numbers) + 1]
