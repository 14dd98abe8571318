"""A person's scene cloud: cut, named by their labels, searched by their texts.

Letters: S points of a scene, M segments, K labels, Q queries.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from c2p.encoder import Encoder
from c2p.evaluation.scene_names import best_cosines, segment_clouds, segment_features
from c2p.evaluation.scene_segments import FLOOR, NONE, Clustering, segment
from c2p.evaluation.scene_view import ShownScene, Vocabulary
from c2p.evaluation.zeroshot import softmax

LIKELIEST = 3
"""Labels of a segment that are told."""


@dataclass(frozen=True)
class Search:
    """A scene and what was found in it."""

    shown: ShownScene
    words: Vocabulary

    @property
    def segments(self) -> int:
        """M."""
        return len(self.shown.cosines)

    def record(self) -> dict[str, Any]:
        """Plain data for scripts."""
        numbers = self.shown.numbers
        return {
            "file": self.shown.title,
            "points": len(numbers),
            "floor": int((numbers == FLOOR).sum()),
            "without_segment": int((numbers == NONE).sum()),
            "segments": [self._segment(number) for number in range(1, self.segments + 1)],
            "queries": [self._query(place) for place in range(len(self.words.queries))],
        }

    def _segment(self, number: int) -> dict[str, Any]:
        own = self.shown.points[self.shown.numbers == number]
        cosines = self.shown.cosines[number - 1, : len(self.words.labels)]
        shares = softmax(self.words.scale * cosines)
        order = np.argsort(-cosines, kind="stable")
        return {
            "segment": number,
            "points": len(own),
            "low": [float(x) for x in own.min(0)],
            "high": [float(x) for x in own.max(0)],
            "labels": [
                {"label": self.words.labels[k], "probability": float(shares[k]), "cosine": float(cosines[k])}
                for k in order
            ],
        }

    def _query(self, place: int) -> dict[str, Any]:
        scores, lit = self.words.ask(self.shown.cosines, len(self.words.labels) + place)
        found = [int(m) + 1 for m in np.flatnonzero(lit)]
        return {
            "text": self.words.queries[place],
            "segments": found,
            "points": int(np.isin(self.shown.numbers, found).sum()),
            "scores": [float(score) for score in scores],
        }


def search_scene(
    points: np.ndarray,
    encoder: Encoder,
    *,
    title: str,
    labels: Sequence[str],
    queries: Sequence[str],
    clustering: Clustering,
    floor: bool,
    turns: int,
) -> Search:
    """Cut a cloud (S, 3), y up, in any unit, and compare its segments with labels and queries.

    Raises ValueError: no segment was found.
    """
    centred = np.asarray(points, dtype=np.float64)
    centred = centred - centred.mean(0)  # far from the origin single precision would lose the shape
    numbers = segment(centred, clustering, floor=floor)
    if numbers.max(initial=NONE) <= FLOOR:
        raise ValueError(
            f"{title}: no segment of at least {clustering.least} points ({len(points)} points, "
            f"{int((numbers == FLOOR).sum())} on the floor); try --floor none, or --method dbscan with a larger --reach"
        )
    text = encoder.encode_labels(labels)
    if queries:
        text = np.concatenate([text, encoder.encode_text(queries)])

    def encode(clouds: np.ndarray) -> np.ndarray:
        return encoder.encode_points(clouds, normalise=False)

    features = segment_features(segment_clouds(centred, numbers, encoder.points), encode, turns=turns)
    shown = ShownScene(title, np.asarray(points, dtype=np.float64), numbers, best_cosines(features, text))
    return Search(shown, Vocabulary(tuple(labels), tuple(queries), encoder.scale))
