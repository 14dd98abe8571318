"""Methods that learn from training objects: features planned with the bank, a head trained for every seed, then scored.

Legend: N object, V view, C feature width, K class.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from c2p.data.benchmarks import Benchmark
from c2p.evaluation import adaptation, controls
from c2p.evaluation.adaptation import AdapterJob, Recipe, clip2point_recipe, pointclip_recipe
from c2p.evaluation.augmentation import Augmentation
from c2p.evaluation.bank import Source, logit_scale
from c2p.evaluation.controls import CONTROL_CODE, ControlJob
from c2p.evaluation.drawings import Drawing
from c2p.evaluation.experiment import Experiment, check_classes, describe
from c2p.evaluation.features import digest_array, digest_code, place
from c2p.evaluation.methods import Method
from c2p.evaluation.prompts import class_prompts
from c2p.evaluation.subsets import all_rows, check_shots, few_shot_rows

log = logging.getLogger(__name__)

ADAPTER_CODE = ("c2p.models.adapters", "c2p.evaluation.adaptation", "c2p.evaluation.selection")
ENCODE_ALL_SHARE = 0.5
"""Few-shot encodes the whole training split where its seeds take at least this share: other stages want it too."""

Job = AdapterJob | ControlJob


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
    jobs: dict[tuple[int | None, str], list[Job]] = {(k, cell.slug): [] for k in points for cell in cells}
    for cell in cells:
        for position, seed in enumerate(seeds):
            inputs = _plan(lab, source, dataset, cell, encoded, position=position)
            for k in points:
                rows = np.searchsorted(encoded, drawn[k, seed])
                labels = bench.train.labels[drawn[k, seed]]
                jobs[k, cell.slug].append(_job(lab, cell.method, inputs, rows, labels, seed=seed, epochs=epochs))
    lab.bank.make(lab.map_)
    _train(lab, jobs, dataset)

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


def run_job(job: Job) -> Path:
    """Train and classify, in any process."""
    return adaptation.run_job(job) if isinstance(job, AdapterJob) else controls.run_job(job)


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
    """Files of the features that a cell's heads train on and classify; pieces a path, paths a pass."""

    train: tuple[tuple[Path, ...], ...]
    augmented: tuple[tuple[tuple[Path, ...], ...], ...]
    test: tuple[tuple[Path, ...], ...]
    text: Path


def _plan(
    lab: Experiment, source: Source, dataset: str, cell: AdaptedCell, encoded: np.ndarray, *, position: int
) -> _Inputs:
    """Plan the features of a cell's encoders: training objects in every pass, test objects, prompts."""
    method = cell.method
    encoders, views = lab.encoders(method, position), method.views(lab.settings, dataset)

    def pieces(
        split: Literal["train", "test"], rows: np.ndarray | None, augmentation: Augmentation | None = None
    ) -> tuple[tuple[Path, ...], ...]:
        where = (source, split, cell.drawing, views)
        return tuple(
            lab.bank.features(encoder, *where, label=cell.slug, rows=rows, augmentation=augmentation)
            for encoder in encoders
        )

    train, jitter = pieces("train", encoded), lab.settings.depth.jitter
    count = lab.settings.adapter.draws if method.adapts else 0
    augmented = tuple(pieces("train", encoded, Augmentation(number, jitter)) for number in range(1, count + 1))
    text = lab.bank.prompts(lab.clip_dir, class_prompts(method, lab.settings, source.read().classes))
    return _Inputs(train, augmented, pieces("test", None), text)


def _job(
    lab: Experiment,
    method: Method,
    inputs: _Inputs,
    rows: np.ndarray,
    labels: np.ndarray,
    *,
    seed: int,
    epochs: int | None,
) -> Job:
    """A head's training on some rows (n,) of the encoded objects, labels (n,), named by all it depends on."""
    key = {
        "head": method.head,
        "train": [[piece.stem for piece in path] for path in inputs.train],
        "augmented": [[[piece.stem for piece in path] for path in paths] for paths in inputs.augmented],
        "test": [[piece.stem for piece in path] for path in inputs.test],
        "rows": digest_array(rows),
        "labels": digest_array(labels),
        "text": inputs.text.stem,
        "seed": seed,
    }
    scale, text = logit_scale(lab.clip_dir), inputs.text
    if method.head == "global" or method.head == "inter":
        settings, recipe = lab.settings.adapter, _recipe(lab, method, epochs, scale)
        share = settings.heldout_share if settings.selection == "heldout" else 0.0
        out = place(lab.cache, {**key, "recipe": vars(recipe), "share": share, "code": digest_code(ADAPTER_CODE)})
        train, test = inputs.train, inputs.test
        return AdapterJob(method.head, train, test, rows, labels, text, recipe, seed, out, inputs.augmented, share)
    assert method.head != "none" and len(inputs.train) == len(inputs.test) == 1
    values = lab.settings.controls
    given = {"settings": controls.settings_key(values), "scale": scale, "code": digest_code(CONTROL_CODE)}
    out = place(lab.cache, {**key, **given})
    return ControlJob(method.head, inputs.train[0], inputs.test[0], rows, labels, text, values, scale, seed, out)


def _train(lab: Experiment, jobs: Mapping[tuple[int | None, str], Sequence[Job]], dataset: str) -> None:
    """Train the heads that the cache doesn't hold."""
    asked = {
        job.out: (job, f"{dataset} {slug} {'all' if k is None else k} shots seed {job.seed}")
        for (k, slug), group in jobs.items()
        for job in group
    }
    todo = [(job, name) for out, (job, name) in asked.items() if not out.exists()]
    log.info("%s: %d heads to train, %d from the cache", dataset, len(todo), len(asked) - len(todo))
    if todo:
        lab.map_(run_job, [job for job, _ in todo], names=[name for _, name in todo])


def _recipe(lab: Experiment, method: Method, epochs: int | None, scale: float) -> Recipe:
    if method.drawing == "clip2point":
        return clip2point_recipe(lab.settings.adapter, epochs=epochs)
    return pointclip_recipe(lab.settings.pointclip, scale=scale)
