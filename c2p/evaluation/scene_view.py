"""Scenes to turn and to search, as one page that needs no other file and no network.

Letters: S points of a scene, M segments, K labels, Q queries.
"""

import base64
import colorsys
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from c2p.evaluation.scene_segments import FLOOR
from c2p.evaluation.zeroshot import softmax

TEMPLATE = Path(__file__).with_name("scene_view.html.j2")
GRID = 65535
"""Steps along the longest side of a scene in which points are written."""
SHOWN = 40_000
"""Points of a scene that the page holds."""
LIKELIEST = 5
"""Labels of a segment that the page names."""
GOLDEN = 0.618033988749895
"""Step between hues, so that labels beside one another differ."""


@dataclass(frozen=True)
class ShownScene:
    """A scene as a page or picture shows it."""

    title: str
    points: np.ndarray
    """(S, 3) float."""
    numbers: np.ndarray
    """(S,) int64: segments from 1, FLOOR, or -1."""
    cosines: np.ndarray
    """(M, K + Q): with labels, then with further queries."""
    truth: np.ndarray | None = None
    """(S,) int64 labels, K for the floor; None: nobody knows."""


@dataclass(frozen=True)
class Vocabulary:
    """The texts that segments are compared with."""

    labels: tuple[str, ...]
    """K names, one of which every segment gets."""
    queries: tuple[str, ...]
    """Q further texts, each asked beside the labels."""
    scale: float
    """The CLIP's, by which cosines become logits."""

    def ask(self, cosines: np.ndarray, place: int) -> tuple[np.ndarray, np.ndarray]:
        """Scores and whether lit, (M,) each, of a label or, from K on, a query: as c2p.evaluation.scene_names.answer.

        A query that is a label asks what the label asks.
        """
        count = len(self.labels)
        if place >= count and self.queries[place - count] in self.labels:
            place = self.labels.index(self.queries[place - count])
        beside = cosines[:, :count] if place < count else cosines[:, [*range(count), place]]
        column = place if place < count else count
        if not len(beside):
            return np.zeros(0), np.zeros(0, bool)
        return softmax(self.scale * beside)[:, column], beside[:, column] >= beside.max(1)


def colour(label: int) -> tuple[int, int, int]:
    """Colour of a label or a segment's number, light enough for dark paper and dark enough for light."""
    red, green, blue = colorsys.hls_to_rgb((0.58 + GOLDEN * label) % 1, (0.5, 0.42, 0.6)[label % 3], 0.62)
    return round(255 * red), round(255 * green), round(255 * blue)


def scene_page(scenes: Sequence[ShownScene], words: Vocabulary, *, title: str, note: str) -> str:
    """The page; same scenes, same bytes."""
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined)
    data = {
        "labels": list(words.labels),
        "queries": list(words.queries),
        "colours": ["#{:02x}{:02x}{:02x}".format(*colour(k)) for k in range(max(len(words.labels), 64))],
        "scenes": [_packed(scene, words) for scene in scenes],
    }
    # inside a script only "</" could end it early
    text = json.dumps(data, sort_keys=True, ensure_ascii=True, separators=(",", ":")).replace("<", "\\u003c")
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    return template.render(title=title, note=note, data=Markup(text))


def thinned(scene: ShownScene, count: int) -> ShownScene:
    """At most so many of a scene's points, drawn evenly."""
    if len(scene.points) <= count:
        return scene
    some = np.sort(np.random.default_rng(0).choice(len(scene.points), count, replace=False))
    truth = None if scene.truth is None else scene.truth[some]
    return ShownScene(scene.title, scene.points[some], scene.numbers[some], scene.cosines, truth)


def _packed(whole: ShownScene, words: Vocabulary) -> dict[str, Any]:
    scene = thinned(whole, SHOWN)
    low, high = scene.points.min(0), scene.points.max(0)
    size = float((high - low).max()) or 1.0
    grid = np.rint((scene.points - low) / size * GRID).astype("<u2")
    asked = [words.ask(scene.cosines, place) for place in range(len(words.labels) + len(words.queries))]
    return {
        "title": scene.title,
        "size": size,
        "span": [round(float(side), 5) for side in (high - low) / size],
        "points": _base64(grid),
        "segments": _base64((scene.numbers + 1).astype("<u2")),
        "truth": None if scene.truth is None else _base64(scene.truth.astype("<u2")),
        "counts": np.bincount(whole.numbers[whole.numbers >= FLOOR], minlength=len(scene.cosines) + 1).tolist(),
        "names": [_likeliest(row, words) for row in scene.cosines],
        "scores": [[round(float(score), 4) for score in scores] for scores, _ in asked],
        "lit": [lit.astype(int).tolist() for _, lit in asked],
    }


def _likeliest(cosines: np.ndarray, words: Vocabulary) -> list[list[float]]:
    """Label and probability of a segment's likeliest labels."""
    labels = cosines[: len(words.labels)]
    shares = softmax(words.scale * labels)
    return [[int(k), round(float(shares[k]), 4)] for k in np.argsort(-labels, kind="stable")[:LIKELIEST]]


def _base64(values: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode()
