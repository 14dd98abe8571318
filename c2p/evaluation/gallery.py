"""The gallery: which objects are shown, and their pictures.

Legend: V view, H = W pixels, S pixels of a render.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from c2p import params
from c2p.data.benchmarks import Benchmark
from c2p.evaluation.predictions import Prediction
from c2p.geometry.depth import depth_images, depth_maps
from c2p.geometry.views import view_set

VIEWS = ("front", "right", "below front right", "below back left", "top")


@dataclass(frozen=True)
class Exhibit:
    """One object in the gallery."""

    prediction: Prediction
    depth: np.ndarray
    """(V, H, W) uint8 depth pictures."""
    rgb: np.ndarray | None
    """(V, S, S, 3) uint8 RGB views; None: it has none."""

    @property
    def right(self) -> bool:
        """Whether it was classified right."""
        return self.prediction.actual == self.prediction.predicted


def exhibits(
    settings: params.Params,
    bench: Benchmark,
    picked: Sequence[Prediction],
    rgb_views: Callable[[Sequence[str]], Sequence[np.ndarray]] | None,
) -> list[Exhibit]:
    """Depth maps of test objects, and their RGB views where given, from the gallery's views."""
    views = view_set(settings.render.views)
    places = gallery_views(views.names)
    rows = [bench.test.keys.index(row.key) for row in picked]
    if not rows:
        return []
    turns = torch.tensor(views.rotations[places], dtype=torch.float32)
    raw = depth_maps(torch.from_numpy(bench.test.points[rows]), turns, settings.depth)
    depth = (depth_images(raw)[:, :, 0] * 255).round().to(torch.uint8).numpy()
    pictures = rgb_views([row.key for row in picked]) if rgb_views else [None] * len(picked)
    return [
        Exhibit(row, depth[n], None if picture is None else picture[places])
        for n, (row, picture) in enumerate(zip(picked, pictures, strict=True))
    ]


def choose_exhibits(predictions: Sequence[Prediction], *, right: int, wrong: int) -> list[Prediction]:
    """Some objects classified right and some wrong: one a class while that lasts, drawn by the hash of their keys."""
    ranked = sorted(predictions, key=lambda p: hashlib.sha256(p.key.encode()).digest())
    chosen: list[Prediction] = []
    for wanted, count in ((True, right), (False, wrong)):
        group = [p for p in ranked if (p.actual == p.predicted) == wanted]
        seen: dict[str, int] = {}
        turns = []
        for row in group:
            seen[row.actual] = seen.get(row.actual, 0) + 1
            turns.append(seen[row.actual])
        order = sorted(range(len(group)), key=turns.__getitem__)
        chosen += [group[place] for place in order[:count]]
    return chosen


def gallery_views(names: Sequence[str]) -> list[int]:
    """Places of the views the gallery shows: five telling ones, or the first five where they aren't all there."""
    if set(VIEWS) <= set(names):
        return [list(names).index(name) for name in VIEWS]
    return list(range(min(len(VIEWS), len(names))))
