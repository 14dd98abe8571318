"""What the experiments share: parameters, frozen encoders, the bank of their features, scores and predictions.

Legend: N object, V view, C feature width, K class.
"""

import logging
from collections.abc import Mapping, Sequence
from copy import copy
from pathlib import Path
from typing import Any

import numpy as np

from c2p import params
from c2p.data.benchmarks import Benchmark
from c2p.evaluation.bank import Bank, Map, Source, encoder_width
from c2p.evaluation.drawings import (
    POINTCLIP_FEWSHOT_DISTANCE,
    POINTCLIP_ZEROSHOT_DISTANCE,
    Clip2PointDrawing,
    Drawing,
    PointclipDrawing,
    PointclipV2Drawing,
)
from c2p.evaluation.features import digest_array
from c2p.evaluation.methods import Method
from c2p.evaluation.predictions import PredictionTable, predict
from c2p.evaluation.scores import DIGITS, Scores, score, summarise

log = logging.getLogger(__name__)

REVISION_DIGITS = 12


class Experiment:
    """What the experiments share: parameters, encoders, the bank of features."""

    def __init__(
        self,
        settings: params.Params,
        *,
        clip_dir: Path,
        depth_encoders: Sequence[Path],
        cache: Path,
        device: str,
        map_: Map,
    ) -> None:
        self.settings = settings
        self.clip_dir = clip_dir
        self.depth_encoders = depth_encoders
        self.cache = cache
        self.bank = Bank(cache, device=device)
        self.map_ = map_
        self.predictions = PredictionTable()

    def seeing(self, depth_encoders: Sequence[Path]) -> "Experiment":
        """The same experiment with other depth encoders; the bank and the predictions are shared."""
        other = copy(self)
        other.depth_encoders = depth_encoders
        return other

    def encoders(self, method: Method, position: int) -> tuple[Path, ...]:
        """Folder of the encoder of each path, for the seed at a position: position modulo the number of encoders.

        Raises ValueError: one that isn't there, or whose features are not as wide as CLIP's.
        """
        depth = self.depth_encoders[position % len(self.depth_encoders)]
        folders = tuple(self.clip_dir if path == "clip" else depth for path in method.paths)
        for folder in folders:
            self.bank.weights(folder)
            if (width := encoder_width(folder)) != (wanted := encoder_width(self.clip_dir)):
                raise ValueError(
                    f"{folder}: features of width {width}; allowed: {wanted}, the width of {self.clip_dir}; "
                    "use a depth encoder that was trained with this CLIP"
                )
        return folders

    def drawing(self, method: Method) -> Drawing:
        """How the method draws depth maps."""
        if method.drawing == "clip2point":
            return Clip2PointDrawing(self.settings.depth)
        if method.drawing == "pointclip_v2":
            return PointclipV2Drawing()
        settings = self.settings.pointclip
        if method.head in ("none", "views"):
            return PointclipDrawing(settings.size, POINTCLIP_ZEROSHOT_DISTANCE)
        return PointclipDrawing(settings.adapter_size, POINTCLIP_FEWSHOT_DISTANCE)

    def inputs(self, source: Source, encoders: Sequence[Path]) -> str:
        """Digest of a benchmark file and the weights of encoders, short."""
        digests = [source.sha256, *sorted({self.bank.weights(folder) for folder in encoders})]
        return digest_array(np.array(digests))[:REVISION_DIGITS]

    def record(
        self,
        source: Source,
        dataset: str,
        method: str,
        logits: Mapping[int | None, np.ndarray],
        *,
        scale: float,
        shots: int | None = None,
    ) -> dict[str, Any]:
        """Score the logits (N, K) of every seed (None: nothing was drawn), keep the predictions, give the metrics.

        scale: probabilities, and the calibration error with them, are those of softmax(scale * logits).
        shots: of a point on the curve of accuracy against shots: its predictions are not kept.
        """
        bench = source.read()
        scores: dict[int | None, Scores] = {}
        for seed, values in logits.items():
            scores[seed] = score(values, bench.test.labels, scale=scale)
            if shots is None:
                rows = predict(bench.test.keys, bench.test.labels, values, bench.classes, scale=scale)
                self.predictions.add(rows, dataset=dataset, method=method, seed=seed)
        summary = summarise(scores[None] if None in scores else {s: v for s, v in scores.items() if s is not None})
        spread = f" ± {summary['std']:.2f}" if "std" in summary else ""
        point = "" if shots is None else f", {shots} shots"
        log.info("%s, %s%s: %.2f%s %%", dataset, method, point, summary["mean"], spread)
        return summary

    def finish(self, predictions: Path | None) -> None:
        """Write the predictions where a path is given."""
        if predictions is not None:
            self.predictions.write(predictions)


def check_classes(bench: Benchmark, dataset: str, *, trained: bool) -> None:
    """Refuse a set that nothing can be learnt from or measured on.

    Raises ValueError: a single class, or, where adapters are to be trained, a class without training objects.
    """
    if len(bench.classes) < 2:
        raise ValueError(f"{dataset}: 1 class ({', '.join(bench.classes)}); allowed: at least 2, to tell them apart")
    counts = np.bincount(bench.train.labels, minlength=len(bench.classes))
    if trained and counts.min() == 0:
        empty = [name for name, count in zip(bench.classes, counts, strict=True) if count == 0]
        raise ValueError(
            f"{dataset}: {len(empty)} classes without training objects ({', '.join(empty)}); allowed: at least 1 in "
            "each; give them some, or take the classes out of the set"
        )


def describe(bench: Benchmark) -> dict[str, Any]:
    """Sizes of a benchmark set and the accuracy of guessing, percent."""
    classes = len(bench.classes)
    return {
        "classes": classes,
        "train": len(bench.train),
        "test": len(bench.test),
        "chance": round(100 / classes, DIGITS),
    }
