"""The experiments behind the tables: zero-shot, few-shot, fully supervised, ablations.

Each gives plain nested metrics, dataset -> method -> {mean, std, seeds, class_mean, top3, top5, ece, interval, inputs},
in percent (c2p.evaluation.scores.summarise says what each is); `inputs` is a digest of the benchmark file and the
weights behind the numbers. dataset -> `set` describes the benchmark set itself; few-shot only, dataset -> `curve` ->
shots -> method has the same metrics of other numbers of shots. Probabilities are softmax of cosines times CLIP's
learnt logit scale, for every method: adapters whose recipe trains without a scale are read with it too. What
controls.methods names stands beside the tables' own methods.

Legend: N object, V view, C feature width, K class.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from c2p import params
from c2p.evaluation import methods
from c2p.evaluation.bank import Map, Source, logit_scale, open_source, serial
from c2p.evaluation.drawings import Clip2PointDrawing
from c2p.evaluation.experiment import Experiment, describe
from c2p.evaluation.features import read_features
from c2p.evaluation.trained import AdaptedCell, adapt
from c2p.evaluation.untrained import plan_trial, score_trial
from c2p.evaluation.zeroshot import zeroshot_logits
from c2p.models.templates import templates_of

Metrics = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class ImageFeatures:
    """The frozen CLIP's features of RGB views of the validation models."""

    keys: Sequence[str]
    values: np.ndarray
    """(N, V, C) float, not normalised."""


def run_zeroshot(
    settings: params.Params,
    *,
    clip_dir: Path,
    encoder_dir: Path,
    benchmarks: Sequence[Path],
    cache: Path,
    image_features: ImageFeatures | None = None,
    predictions: Path | None = None,
    device: str = "cpu",
    map_: Map = serial,
) -> Metrics:
    """Table 1: zero-shot classification of every benchmark file.

    Where controls.methods names it, PointCLIP with view weights searched on the test set stands beside it.
    The file `validation.parquet` is seen from all the views that were rendered and, where image_features are given,
    RGB views are classified beside its depth maps (section 5.1).

    Raises ValueError: a missing file or folder, or image features of other models than the validation split.
    """
    lab = _lab(settings, clip_dir, encoder_dir, cache, device, map_)
    listed = [*methods.ZEROSHOT, *_named((methods.SEARCHED_ON_TEST,), settings)]
    trials = [
        plan_trial(lab, open_source(path), path.stem, method, seeds=settings.pretrain.seeds)
        for path in benchmarks
        for method in listed
    ]
    lab.bank.make(map_)
    metrics: Metrics = {path.stem: {"set": describe(open_source(path).read())} for path in benchmarks}
    for trial in trials:
        source, dataset = trial.source, trial.dataset
        metrics[dataset][trial.method.slug] = score_trial(lab, trial)
        if dataset == methods.VALIDATION and trial.method is methods.WITH and image_features is not None:
            prompts = np.load(trial.text, allow_pickle=False)
            rgb = zeroshot_logits(_aligned(image_features, source.read().test.keys), prompts)
            slug = methods.RGB_VIEWS.slug
            metrics[dataset][slug] = lab.record(source, dataset, slug, {None: rgb}, scale=logit_scale(clip_dir)) | {
                "inputs": lab.inputs(source, [clip_dir])
            }
    lab.finish(predictions)
    return metrics


def run_fewshot(
    settings: params.Params,
    *,
    clip_dir: Path,
    encoder_dir: Path,
    benchmarks: Sequence[Path],
    cache: Path,
    predictions: Path | None = None,
    device: str = "cpu",
    map_: Map = serial,
) -> Metrics:
    """Table 2: k-shot classification of fewshot.dataset, and accuracy against shots (fewshot.curve)."""
    lab = _lab(settings, clip_dir, encoder_dir, cache, device, map_)
    section = settings.fewshot
    source = _find(benchmarks, section.dataset)
    cells = [AdaptedCell(m.slug, m, lab.drawing(m)) for m in (*methods.ADAPTED, *_named(methods.CONTROLS, settings))]
    adapted = adapt(lab, source, section.dataset, cells, seeds=section.seeds, shots=section.shots, curve=section.curve)
    lab.finish(predictions)
    return {section.dataset: adapted}


def run_fullshot(
    settings: params.Params,
    *,
    clip_dir: Path,
    encoder_dir: Path,
    benchmarks: Sequence[Path],
    cache: Path,
    predictions: Path | None = None,
    device: str = "cpu",
    map_: Map = serial,
) -> Metrics:
    """Table 3: classification of fullshot.dataset with all its training objects."""
    lab = _lab(settings, clip_dir, encoder_dir, cache, device, map_)
    section = settings.fullshot
    source = _find(benchmarks, section.dataset)
    wanted = [methods.find(methods.ADAPTED, slug) for slug in ("pointclip", "clip2point")]
    cells = [AdaptedCell(m.slug, m, lab.drawing(m)) for m in (*wanted, *_named(methods.CONTROLS, settings))]
    adapted = adapt(lab, source, section.dataset, cells, seeds=section.seeds, epochs=section.epochs)
    lab.finish(predictions)
    return {section.dataset: adapted}


def run_ablations(
    settings: params.Params,
    *,
    clip_dir: Path,
    encoder_dir: Path,
    benchmarks: Sequence[Path],
    cache: Path,
    cross_only: Path | None = None,
    predictions: Path | None = None,
    device: str = "cpu",
    map_: Map = serial,
) -> Metrics:
    """Tables 4 and 5: adapters and paths, and depth renderings, on fewshot.dataset; and the text's controls.

    cross_only: folder of the depth encoder that was pre-trained without the intra-modality loss; None: there is none.
    """
    lab = _lab(settings, clip_dir, encoder_dir, cache, device, map_)
    section = settings.fewshot
    source, dataset = _find(benchmarks, section.dataset), section.dataset
    cells = [AdaptedCell(m.slug, m, lab.drawing(m)) for m in methods.COMPONENTS]
    zeroshot: dict[str, tuple[Path, ...]] = {}
    for aggregation in methods.AGGREGATIONS:
        for dilation in settings.ablations.dilations:
            drawing = Clip2PointDrawing(
                replace(settings.depth, footprint="window", dilation=dilation, aggregation=aggregation)
            )
            slug = methods.rendering_slug("fewshot", aggregation, dilation)
            cells.append(AdaptedCell(slug, methods.RENDERING_FEWSHOT, drawing))
            slug = methods.rendering_slug("zeroshot", aggregation, dilation)
            views = settings.zeroshot.views
            zeroshot[slug] = lab.bank.features(clip_dir, source, "test", drawing, views, label=f"{dataset} {slug}")
    alone = lab.seeing([cross_only] if cross_only else [])
    seed = settings.pretrain.seeds[:1]
    control = plan_trial(alone, source, dataset, methods.CROSS_ONLY, seeds=seed) if cross_only else None
    text = lab.bank.text(clip_dir, templates_of(settings.zeroshot), source.read().classes)
    few = adapt(
        lab,
        source,
        dataset,
        cells,
        seeds=section.seeds,
        shots=section.shots,
        encode=max((section.shots, *section.curve)),
    )
    metrics: Metrics = {dataset: few}
    for slug, pieces in zeroshot.items():
        logits = zeroshot_logits(read_features(pieces), np.load(text, allow_pickle=False))
        summary = lab.record(source, dataset, slug, {None: logits}, scale=logit_scale(clip_dir))
        metrics[dataset][slug] = summary | {"inputs": lab.inputs(source, [clip_dir])}
    if control:
        metrics[dataset][methods.CROSS_ONLY.slug] = score_trial(alone, control)
    lab.finish(predictions)
    return metrics


def _lab(settings: params.Params, clip_dir: Path, encoder_dir: Path, cache: Path, device: str, map_: Map) -> Experiment:
    """An experiment with the depth encoder of every pre-training seed."""
    encoders = [encoder_dir / f"seed-{seed}" for seed in settings.pretrain.seeds]
    return Experiment(settings, clip_dir=clip_dir, depth_encoders=encoders, cache=cache, device=device, map_=map_)


def _named(rows: Sequence[methods.Method], settings: params.Params) -> list[methods.Method]:
    """Those of the rows that controls.methods names."""
    return [method for method in rows if method.slug in settings.controls.methods]


def _find(benchmarks: Sequence[Path], dataset: str) -> Source:
    for path in benchmarks:
        if path.stem == dataset:
            return open_source(path)
    raise ValueError(f"{dataset}: not among the benchmark files ({', '.join(p.stem for p in benchmarks)})")


def _aligned(features: ImageFeatures, keys: Sequence[str]) -> np.ndarray:
    """Image features (N, V, C) in the order of keys."""
    places = {key: place for place, key in enumerate(features.keys)}
    missing = [key for key in keys if key not in places]
    if missing:
        raise ValueError(
            f"{len(missing)} validation models without image features, the first {missing[0]}; make both again"
        )
    return features.values[[places[key] for key in keys]].astype(np.float32)
