"""Stage cg3d_ablations: CG3D's recipe with one part changed at a time, and what tuning makes the image tower forget."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from c2p.data.benchmarks import read_benchmark
from c2p.data.files import sha256, write_json
from c2p.data.manifest import FILE, read_manifest, read_points
from c2p.data.views import ViewReader
from c2p.evaluation.bank import logit_scale
from c2p.evaluation.experiment import REVISION_DIGITS
from c2p.evaluation.features import digest_array, one_thread
from c2p.evaluation.forgetting import classes_left_out
from c2p.evaluation.predictions import PredictionTable
from c2p.evaluation.recipe_variants import (
    PUBLISHED,
    VARIANTS,
    Measures,
    Outcome,
    Variant,
    pair_metrics,
    read_outcome,
    zeroshot_metrics,
)
from c2p.models.clip import load_clip
from c2p.models.device import compute_device
from c2p.models.folder import clip_digest
from c2p.models.point_model import encode_clouds
from c2p.models.prompts import class_text, encode_prompts
from c2p.models.templates import expanded, templates_of
from c2p.params import Params
from c2p.training.distributed import ALONE
from c2p.training.image_towers import ImageTower
from tasks.cg3d import train
from tasks.closure import code_digest
from tasks.layout import Layout
from tasks.shard_map import Map, serial, worker_count
from tasks.store import key

PICTURES_PER_BATCH = 256


@dataclass(frozen=True)
class VariantJob:
    """One training and its measurement: plain values and paths, so that any process can do it."""

    params: Params
    root: Path
    variant: Variant
    seed: int
    left_out: tuple[str, ...]
    piece: str
    """Of the outcome, in the store."""


def run(params: Params, root: Path, map_: Map) -> None:
    """Write metrics/cg3d_ablations.json and the predictions behind it; both empty where cg3d.run is false.

    Five variants of the section cg3d, each trained with every seed of cg3d_ablations.seeds: the image tower tuned by
    prompts (published), not at all, or as a whole, the 3D encoder drawn to images and texts; and, with prompts, to
    images alone, or to texts alone. They are trained for cg3d_ablations.epochs, which may be fewer than cg3d's, on the
    training models of all but cg3d_ablations.held_out_classes classes; so the published recipe is trained here again,
    and figures compare with one another, not with those of cg3d_evaluate. Nothing is chosen: the last epoch is taken.

    The metrics: {"inputs": digest of shards, CLIP and benchmark file,
    "epochs", "held_out_classes": their names, "variants": {slug: {"tuned", "alignment"}},
    "zeroshot": c2p.evaluation.recipe_variants.zeroshot_metrics, "pairs": .pair_metrics}. Slugs: everything-both,
    prompts-both (published), prompts-image, prompts-text, nothing-both.

    Trainings run side by side on CPUs, one after another on a GPU. A killed stage goes on with those not finished, of
    which a training longer than C2P_SAVE_MINUTES goes on where it was saved.
    """
    layout, name = Layout(root), "cg3d_ablations"
    table = PredictionTable()
    if not params.cg3d.run:
        write_json(layout.metrics(name), {})
        table.write(layout.predictions(name))
        return
    device, manifest = compute_device(), read_manifest(layout.shards)
    left_out = classes_left_out(manifest.classes, params.cg3d_ablations.held_out_classes)
    benchmark = layout.benchmarks / f"{params.fewshot.dataset}.parquet"
    inputs = sha256(layout.shards / FILE), clip_digest(layout.cg3d_clip), sha256(benchmark)
    jobs: dict[tuple[Variant, int], VariantJob] = {}
    for variant in VARIANTS:
        for seed in params.cg3d_ablations.seeds:
            recipe = variant.recipe(params.cg3d, seed=seed, epochs=params.cg3d_ablations.epochs)
            shared = params.point_encoder, templates_of(params.zeroshot), left_out, device.type
            piece = key(name, code_digest(f"tasks.{name}"), inputs, recipe, *shared)
            jobs[variant, seed] = VariantJob(params, root, variant, seed, left_out, piece)
    todo = [job for job in jobs.values() if not _outcome_file(job).exists()]
    side_by_side = map_ if device.type == "cpu" else serial
    side_by_side(make_outcome, todo, names=[f"{job.variant.slug} seed {job.seed}" for job in todo])
    outcomes: dict[Variant, dict[int, Outcome]] = {variant: {} for variant in VARIANTS}
    for (variant, seed), job in jobs.items():
        outcome = read_outcome(_outcome_file(job))
        shown = outcomes[PUBLISHED][seed].pictures if variant.blind else outcome.pictures
        outcomes[variant][seed] = replace(outcome, pictures=shown)
    measures = _measures(params, layout, left_out)
    metrics = {
        "inputs": digest_array(np.array(inputs))[:REVISION_DIGITS],
        "epochs": params.cg3d_ablations.epochs,
        "held_out_classes": list(left_out),
        "variants": {v.slug: {"tuned": v.tuned, "alignment": v.alignment} for v in VARIANTS},
        "zeroshot": zeroshot_metrics(outcomes, measures, table),
        "pairs": pair_metrics(outcomes, measures),
    }
    table.write(layout.predictions(name))
    write_json(layout.metrics(name), metrics)


def make_outcome(job: VariantJob) -> Path:
    """Train and measure one variant, and write its outcome; on a CPU by one thread, whoever calls."""
    if compute_device().type == "cpu":
        with one_thread():
            return _outcome(job).write(_outcome_file(job))
    return _outcome(job).write(_outcome_file(job))


def _outcome_file(job: VariantJob) -> Path:
    return Layout(job.root).evaluation / f"{job.piece}.safetensors"


def _outcome(job: VariantJob) -> Outcome:
    params, layout, device = job.params, Layout(job.root), compute_device()
    recipe = job.variant.recipe(params.cg3d, seed=job.seed, epochs=params.cg3d_ablations.epochs)
    model, tower = train(
        params, recipe, job.root, job.seed, device=device, ranks=ALONE, out=None, left_out=job.left_out
    )
    manifest = read_manifest(layout.shards)
    encoder = model.encoder.to(device)
    clip, templates = load_clip(layout.cg3d_clip), templates_of(params.zeroshot)
    test = read_benchmark(layout.benchmarks / f"{params.fewshot.dataset}.parquet")

    def cosines(points: np.ndarray, classes: tuple[str, ...]) -> np.ndarray:
        text = torch.from_numpy(class_text(encode_prompts(clip, classes, templates)))
        return (encode_clouds(encoder, torch.from_numpy(points)) @ text.T).numpy()

    pictures = np.zeros((0, 0, 0), np.float32)
    if not job.variant.blind:
        reader = ViewReader(manifest, manifest.split("val"), threads=worker_count())
        pictures = _pictures(tower, reader, params, device)
    return Outcome(
        validation=cosines(read_points(manifest, "val").points, manifest.classes),
        test=cosines(test.test.points, test.classes),
        pictures=pictures,
    )


@torch.no_grad()
def _pictures(tower: ImageTower, read: ViewReader, params: Params, device: torch.device) -> np.ndarray:
    """Features (N, V, C) of the validation models' views, those that training models are seen from."""
    views = params.cg3d.views
    samples = np.arange(len(read)).repeat(views)
    numbers = np.tile(np.arange(views), len(read))
    parts = [
        tower(read(samples[rows], numbers[rows]).to(device)).cpu()
        for rows in np.array_split(np.arange(len(samples)), -(-len(samples) // PICTURES_PER_BATCH))
    ]
    return torch.cat(parts).unflatten(0, (len(read), views)).numpy()


def _measures(params: Params, layout: Layout, left_out: tuple[str, ...]) -> Measures:
    manifest, clip = read_manifest(layout.shards), load_clip(layout.cg3d_clip)
    test = read_benchmark(layout.benchmarks / f"{params.fewshot.dataset}.parquet")
    return Measures(
        validation=read_points(manifest, "val"),
        classes=manifest.classes,
        left_out=left_out,
        text=class_text(encode_prompts(clip, manifest.classes, templates_of(params.zeroshot))),
        captions=encode_prompts(clip, manifest.classes, expanded(params.cg3d.templates)),
        dataset=params.fewshot.dataset,
        test=test.test,
        test_classes=test.classes,
        scale=logit_scale(layout.cg3d_clip),
    )
