"""What the experiments share: frozen encoders, heads trained on their features, scores and predictions.

Legend: N object, V view, C feature width, K class.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from c2p import params
from c2p.data.benchmarks import Benchmark
from c2p.evaluation import adaptation, controls
from c2p.evaluation.adaptation import AdapterJob, Recipe, clip2point_recipe, few_shot_rows, pointclip_recipe
from c2p.evaluation.bank import Bank, Map, Source, logit_scale
from c2p.evaluation.controls import CONTROL_CODE, ControlJob
from c2p.evaluation.drawings import (
    POINTCLIP_FEWSHOT_DISTANCE,
    POINTCLIP_ZEROSHOT_DISTANCE,
    Clip2PointDrawing,
    Drawing,
    PointclipDrawing,
    PointclipV2Drawing,
)
from c2p.evaluation.features import digest_array, digest_code, place
from c2p.evaluation.methods import Method
from c2p.evaluation.predictions import PredictionTable, predict
from c2p.evaluation.prompts import class_prompts
from c2p.evaluation.scores import DIGITS, Scores, score, summarise

log = logging.getLogger(__name__)

ADAPTER_CODE = ("c2p.models.adapters", "c2p.evaluation.adaptation")
ENCODE_ALL_SHARE = 0.5
"""Few-shot encodes the whole training split where its seeds take at least this share: other stages want it too."""
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

    def encoders(self, method: Method, position: int) -> tuple[Path, ...]:
        """Folder of the encoder of each path, for the seed at a position: position modulo the number of encoders."""
        depth = self.depth_encoders[position % len(self.depth_encoders)]
        return tuple(self.clip_dir if path == "clip" else depth for path in method.paths)

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


@dataclass(frozen=True)
class AdaptedCell:
    """A method that learns, under a name in the metrics."""

    slug: str
    method: Method
    drawing: Drawing


def adapt(
    lab: Experiment,
    source: Source,
    dataset: str,
    cells: Sequence[AdaptedCell],
    *,
    seeds: Sequence[int],
    shots: int | None = None,
    curve: Sequence[int] = (),
    epochs: int | None = None,
) -> dict[str, Any]:
    """Train and evaluate every cell with every seed.

    Args:
        shots: training objects a class; None: all.
        curve: further numbers of training objects a class, for accuracy against shots.
        epochs: of CLIP2Point's adapters; None: as adapter.epochs says.
    Returns:
        Metrics by the cells' slugs, `set`, and where a curve is asked for `curve`: by number of shots, in rising
        order and `shots` among them, the metrics by slug.
    """
    bench = source.read()
    points = [shots, *(k for k in sorted(set(curve)) if k != shots)]
    drawn = {(k, seed): _draw(bench, k, seed) for k in points for seed in seeds}
    encoded = _encoded(bench, list(drawn.values()))
    jobs = {
        (k, cell.slug): [
            _plan(lab, source, dataset, cell, encoded, drawn[k, seed], seed=seed, position=position, epochs=epochs)
            for position, seed in enumerate(seeds)
        ]
        for k in points
        for cell in cells
    }
    lab.bank.make(lab.map_)
    todo = {
        job.out: (job, f"{dataset} {slug} {'all' if k is None else k} shots seed {job.seed}")
        for (k, slug), group in jobs.items()
        for job in group
        if not job.out.exists()
    }
    if todo:
        lab.map_(run_job, [job for job, _ in todo.values()], names=[name for _, name in todo.values()])

    def summary(k: int | None, cell: AdaptedCell) -> dict[str, Any]:
        group = jobs[k, cell.slug]
        logits: dict[int | None, np.ndarray] = {job.seed: np.load(job.out, allow_pickle=False) for job in group}
        scale = logit_scale(lab.clip_dir) / group[0].factor
        used = {folder for position in range(len(seeds)) for folder in lab.encoders(cell.method, position)}
        point = k if k != shots else None
        return lab.record(source, dataset, cell.slug, logits, scale=scale, shots=point) | {
            "inputs": lab.inputs(source, [lab.clip_dir, *used])
        }

    by_shots = {k: {cell.slug: summary(k, cell) for cell in cells} for k in points}
    metrics: dict[str, Any] = {"set": describe(bench)} | by_shots[shots]
    if curve:
        metrics["curve"] = {str(k): by_shots[k] for k in sorted(k for k in points if k is not None)}
    return metrics


def run_job(job: AdapterJob | ControlJob) -> Path:
    """Train and classify, in any process."""
    return adaptation.run_job(job) if isinstance(job, AdapterJob) else controls.run_job(job)


def describe(bench: Benchmark) -> dict[str, Any]:
    """Sizes of a benchmark set and the accuracy of guessing, percent."""
    classes = len(bench.classes)
    return {
        "classes": classes,
        "train": len(bench.train),
        "test": len(bench.test),
        "chance": round(100 / classes, DIGITS),
    }


def _encoded(bench: Benchmark, drawn: Sequence[np.ndarray]) -> np.ndarray:
    """Training objects to encode, rising: those that were drawn, or all where most were."""
    union = np.unique(np.concatenate(drawn))
    return np.arange(len(bench.train)) if len(union) >= ENCODE_ALL_SHARE * len(bench.train) else union


def _draw(bench: Benchmark, shots: int | None, seed: int) -> np.ndarray:
    if shots is None:
        return adaptation.all_rows(bench.train.keys, seed=seed)
    return few_shot_rows(bench.train.keys, bench.train.labels, shots=shots, seed=seed)


def _plan(
    lab: Experiment,
    source: Source,
    dataset: str,
    cell: AdaptedCell,
    encoded: np.ndarray,
    drawn: np.ndarray,
    *,
    seed: int,
    position: int,
    epochs: int | None,
) -> AdapterJob | ControlJob:
    """Plan the features one head needs, and its training on the drawn rows among the encoded ones."""
    method, bench = cell.method, source.read()
    assert method.learns
    views = method.views(lab.settings, dataset)

    def pieces(split: Literal["train", "test"], rows: np.ndarray | None) -> tuple[tuple[Path, ...], ...]:
        return tuple(
            lab.bank.features(encoder, source, split, cell.drawing, views, label=cell.slug, rows=rows)
            for encoder in lab.encoders(method, position)
        )

    train, test = pieces("train", encoded), pieces("test", None)
    rows, labels = np.searchsorted(encoded, drawn), bench.train.labels[drawn]
    text = lab.bank.prompts(lab.clip_dir, class_prompts(method, lab.settings, bench.classes))
    key = {
        "head": method.head,
        "train": [[piece.stem for piece in path] for path in train],
        "test": [[piece.stem for piece in path] for path in test],
        "rows": digest_array(rows),
        "labels": digest_array(labels),
        "text": text.stem,
        "seed": seed,
    }
    scale = logit_scale(lab.clip_dir)
    if method.head == "global" or method.head == "inter":
        recipe = _recipe(lab, method, epochs, scale)
        out = place(lab.cache, key | {"recipe": vars(recipe), "code": digest_code(ADAPTER_CODE)})
        return AdapterJob(method.head, train, test, rows, labels, text, recipe, seed, out)
    assert method.head != "none" and len(train) == 1
    values = lab.settings.controls
    out = place(lab.cache, key | {"settings": controls.settings_key(values), "code": digest_code(CONTROL_CODE)})
    return ControlJob(method.head, train[0], test[0], rows, labels, text, values, scale, seed, out)


def _recipe(lab: Experiment, method: Method, epochs: int | None, scale: float) -> Recipe:
    if method.drawing == "clip2point":
        return clip2point_recipe(lab.settings.adapter, epochs=epochs)
    return pointclip_recipe(lab.settings.pointclip, scale=scale)
