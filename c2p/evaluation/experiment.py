"""What the experiments share: frozen encoders, adapters trained on their features, scores and predictions.

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
from c2p.evaluation import adaptation
from c2p.evaluation.adaptation import AdapterJob, Recipe, clip2point_recipe, pointclip_recipe
from c2p.evaluation.augmentation import Augmentation
from c2p.evaluation.bank import Bank, Map, Source, encoder_width, logit_scale
from c2p.evaluation.drawings import (
    POINTCLIP_FEWSHOT_DISTANCE,
    POINTCLIP_ZEROSHOT_DISTANCE,
    Clip2PointDrawing,
    Drawing,
    PointclipDrawing,
)
from c2p.evaluation.features import digest_array, digest_code, place
from c2p.evaluation.methods import Method
from c2p.evaluation.predictions import PredictionTable, predict
from c2p.evaluation.scores import DIGITS, Scores, score, summarise
from c2p.evaluation.subsets import all_rows, check_shots, few_shot_rows
from c2p.models.templates import templates_of

log = logging.getLogger(__name__)

POINTCLIP_ZEROSHOT_TEMPLATE = "point cloud depth map of a {}."
POINTCLIP_FEWSHOT_TEMPLATE = "point cloud of a big {}."
"""PointCLIP's published prompts."""
ADAPTER_VIEWS = "ten"
"""Views of every adapter (section 5.2)."""
ADAPTER_CODE = ("c2p.models.adapters", "c2p.evaluation.adaptation", "c2p.evaluation.selection")
ENCODE_ALL_SHARE = 0.5
"""Few-shot encodes the whole training split where its seeds take at least this share: other stages want it too."""
REVISION_DIGITS = 12


class Experiment:
    """What the experiments share: parameters, encoders, the bank of features."""

    def __init__(
        self, settings: params.Params, *, clip_dir: Path, encoder_dir: Path, cache: Path, device: str, map_: Map
    ) -> None:
        self.settings = settings
        self.clip_dir = clip_dir
        self.encoder_dir = encoder_dir
        self.cache = cache
        self.bank = Bank(cache, device=device)
        self.map_ = map_
        self.predictions = PredictionTable()

    def depth_encoder(self, position: int) -> Path:
        """Folder of the depth encoder for the seed at a position: position modulo the number of encoders."""
        seeds = self.settings.pretrain.seeds
        return self.encoder_dir / f"seed-{seeds[position % len(seeds)]}"

    def encoders(self, method: Method, position: int) -> tuple[Path, ...]:
        """Folder of the encoder of each path.

        Raises ValueError: one that isn't there, or whose features are not as wide as CLIP's.
        """
        folders = tuple(self.clip_dir if path == "clip" else self.depth_encoder(position) for path in method.paths)
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
        few = method.adapter != "none"
        settings = self.settings.pointclip
        if few:
            return PointclipDrawing(settings.adapter_size, POINTCLIP_FEWSHOT_DISTANCE)
        return PointclipDrawing(settings.size, POINTCLIP_ZEROSHOT_DISTANCE)

    def templates(self, method: Method) -> tuple[str, ...]:
        """The method's prompts: PointCLIP's own, or the ensemble of the parameters."""
        if method.recipe == "clip2point":
            return templates_of(self.settings.zeroshot)
        return (POINTCLIP_ZEROSHOT_TEMPLATE if method.adapter == "none" else POINTCLIP_FEWSHOT_TEMPLATE,)

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
    """An adapter under a name in the metrics."""

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
    encode: int = 0,
    epochs: int | None = None,
) -> dict[str, Any]:
    """Train and evaluate every cell with every seed.

    Args:
        shots: training objects a class; None: all.
        curve: further numbers of training objects a class, for accuracy against shots.
        encode: training objects a class to encode at least, so that stages share them.
        epochs: of CLIP2Point's adapters; None: as adapter.epochs says.
    Returns:
        Metrics by the cells' slugs, `set`, and where a curve is asked for `curve`: by number of shots, in rising
        order and `shots` among them, the metrics by slug.
    Raises ValueError: a class without training objects, or more shots than any class has.
    """
    bench = source.read()
    check_classes(bench, dataset, trained=True)
    points = [shots, *(k for k in sorted(set(curve)) if k != shots)]
    most = max([*points, encode], key=lambda k: np.inf if k is None else k)
    for number in sorted({k for k in (*points, most) if k is not None}):
        check_shots(bench.train.labels, number, dataset=dataset)
    drawn = {(k, seed): _draw(bench, k, seed) for k in {*points, most} for seed in seeds}
    encoded = _encoded(bench, [drawn[most, seed] for seed in seeds])
    jobs: dict[tuple[int | None, str], list[AdapterJob]] = {(k, cell.slug): [] for k in points for cell in cells}
    for cell in cells:
        for position, seed in enumerate(seeds):
            inputs = _plan(lab, source, cell, encoded, position=position)
            for k in points:
                rows = np.searchsorted(encoded, drawn[k, seed])
                labels = bench.train.labels[drawn[k, seed]]
                jobs[k, cell.slug].append(_job(lab, cell.method, inputs, rows, labels, seed=seed, epochs=epochs))
    lab.bank.make(lab.map_)
    _train(lab, jobs, dataset)

    def summary(k: int | None, cell: AdaptedCell) -> dict[str, Any]:
        group = jobs[k, cell.slug]
        logits: dict[int | None, np.ndarray] = {job.seed: np.load(job.out, allow_pickle=False) for job in group}
        scale = logit_scale(lab.clip_dir) / group[0].recipe.scale
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


def _encoded(bench: Benchmark, drawn: Sequence[np.ndarray]) -> np.ndarray:
    """Training objects to encode, rising: those that were drawn, or all where most were."""
    union = np.unique(np.concatenate(drawn))
    return np.arange(len(bench.train)) if len(union) >= ENCODE_ALL_SHARE * len(bench.train) else union


def _draw(bench: Benchmark, shots: int | None, seed: int) -> np.ndarray:
    if shots is None:
        return all_rows(bench.train.keys, seed=seed)
    return few_shot_rows(bench.train.keys, bench.train.labels, shots=shots, seed=seed)


@dataclass(frozen=True)
class _Inputs:
    """Files of the features that adapters of one cell train on and classify; pieces a path, paths a pass."""

    passes: tuple[tuple[tuple[Path, ...], ...], ...]
    test: tuple[tuple[Path, ...], ...]
    text: Path


def _plan(lab: Experiment, source: Source, cell: AdaptedCell, encoded: np.ndarray, *, position: int) -> _Inputs:
    """Plan the features of a cell's encoders: training objects in every pass, test objects, prompts."""
    encoders = lab.encoders(cell.method, position)

    def pieces(
        split: Literal["train", "test"], rows: np.ndarray | None, augmentation: Augmentation | None = None
    ) -> tuple[tuple[Path, ...], ...]:
        where = (source, split, cell.drawing, ADAPTER_VIEWS)
        return tuple(
            lab.bank.features(encoder, *where, label=cell.slug, rows=rows, augmentation=augmentation)
            for encoder in encoders
        )

    jitter = lab.settings.depth.jitter
    draws = [Augmentation(number, jitter) for number in range(1, lab.settings.adapter.draws + 1)]
    passes = tuple(pieces("train", encoded, augmentation) for augmentation in (None, *draws))
    text = lab.bank.text(lab.clip_dir, lab.templates(cell.method), source.read().classes)
    return _Inputs(passes, pieces("test", None), text)


def _job(
    lab: Experiment,
    method: Method,
    inputs: _Inputs,
    rows: np.ndarray,
    labels: np.ndarray,
    *,
    seed: int,
    epochs: int | None,
) -> AdapterJob:
    """An adapter's training on some rows (n,) of the encoded objects, labels (n,), named by all it depends on."""
    assert method.adapter != "none"
    settings, recipe = lab.settings.adapter, _recipe(lab, method, epochs)
    share = settings.heldout_share if settings.selection == "heldout" else 0.0
    key = {
        "adapter": method.adapter,
        "passes": [[[piece.stem for piece in path] for path in paths] for paths in inputs.passes],
        "test": [[piece.stem for piece in path] for path in inputs.test],
        "rows": digest_array(rows),
        "labels": digest_array(labels),
        "text": inputs.text.stem,
        "recipe": vars(recipe),
        "seed": seed,
        "share": share,
        "code": digest_code(ADAPTER_CODE),
    }
    train, *augmented = inputs.passes
    return AdapterJob(
        method.adapter,
        train,
        inputs.test,
        rows,
        labels,
        inputs.text,
        recipe,
        seed,
        place(lab.cache, key),
        tuple(augmented),
        share,
    )


def _train(lab: Experiment, jobs: Mapping[tuple[int | None, str], Sequence[AdapterJob]], dataset: str) -> None:
    """Train the adapters that the cache doesn't hold."""
    asked = {
        job.out: (job, f"{dataset} {slug} {'all' if k is None else k} shots seed {job.seed}")
        for (k, slug), group in jobs.items()
        for job in group
    }
    todo = [(job, name) for out, (job, name) in asked.items() if not out.exists()]
    log.info("%s: %d adapters to train, %d from the cache", dataset, len(todo), len(asked) - len(todo))
    if todo:
        lab.map_(adaptation.run_job, [job for job, _ in todo], names=[name for _, name in todo])


def _recipe(lab: Experiment, method: Method, epochs: int | None) -> Recipe:
    if method.recipe == "pointclip":
        return pointclip_recipe(lab.settings.pointclip, scale=logit_scale(lab.clip_dir))
    return clip2point_recipe(lab.settings.adapter, epochs=epochs)
