"""Fine-tuning of the 3D encoder on few and many labels: from CG3D's weights, against the same network from scratch.

Legend: N object, C feature width, K class.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from c2p.cg3d_params import Cg3dFinetune, PointEncoder
from c2p.data.benchmarks import Benchmark, read_benchmark
from c2p.data.files import sha256
from c2p.evaluation.differences import difference
from c2p.evaluation.experiment import REVISION_DIGITS, check_classes, describe
from c2p.evaluation.features import digest_array, digest_code, one_thread, place, write_array
from c2p.evaluation.predictions import PredictionTable, predict
from c2p.evaluation.scores import score, summarise
from c2p.evaluation.subsets import share_rows
from c2p.models.point_model import WEIGHTS_FILE, PointModel, create_point_encoder, load_point_model
from c2p.params import Params
from c2p.training.finetune import classify, create_classifier, finetune, plan_steps

log = logging.getLogger(__name__)

Map = Callable[..., list[Any]]
"""map_(function, jobs, names=labels) runs a function over picklable jobs and keeps their order."""
CODE = (
    "c2p.evaluation.finetuning",
    "c2p.models.point_encoder",
    "c2p.models.point_groups",
    "c2p.models.point_mlp",
    "c2p.models.point_model",
    "c2p.training.finetune",
    "c2p.training.statistics",
    "c2p.training.triplet_draws",
)
"""Modules whose text decides what a trained classifier says."""
LEARNT, SCRATCH = "cg3d", "scratch"
"""Where the encoder's weights start: CG3D's, or random ones."""


@dataclass(frozen=True)
class FinetuneJob:
    """One classifier to train and to evaluate: plain values and paths, so that any process can do it."""

    benchmark: Path
    start: Path | None
    """Folder of the 3D encoder whose weights it starts with; None: random ones from the seed."""
    network: PointEncoder
    width: int
    """C."""
    rows: np.ndarray
    """(n,) int64 training objects taken."""
    settings: Cg3dFinetune
    scale: float
    shift: float
    """Augmentation, as in CG3D's training."""
    precision: str
    seed: int
    device: str
    out: Path
    """Where the test objects' logits go."""


Jobs = dict[tuple[float, str], dict[int, FinetuneJob]]
"""Trainings by share, start and seed."""


def run_finetune(
    params: Params,
    *,
    encoder_dir: Path,
    benchmark: Path,
    cache: Path,
    predictions: Path | None = None,
    device: str = "cpu",
    map_: Map,
) -> dict[str, Any]:
    """Fine-tune on every share of the training objects of a benchmark file, from both starts, with every seed.

    The seed draws the subset, the head's weights, order and augmentation, the same for both starts, and the random
    encoder; the learnt encoder is `encoder_dir/seed-<s>` for the s at the seed's position in cg3d.seeds, modulo their
    number. Trained on augmented clouds and tested on plain ones, after the last step: test objects choose nothing.

    encoder_dir: the folder models/cg3d. cache: folder of finished logits; what is there is not trained again.
    predictions: file for what every classifier said, methods `<start>_<share>`.

    Returns dataset -> {"set": ..., "shares": {share: {"objects": training objects of a subset, "steps": ...,
    "cg3d": metrics, "scratch": metrics, "gain": {"mean", "std", "seeds", "interval"}}}}; shares are texts ("0.01"),
    metrics as c2p.evaluation.scores.summarise gives them, with `inputs`; gain is what CG3D's weights bring, in points
    of top-1, its interval over the same test objects and seeds of both.

    Raises ValueError: a class without training objects, no file or folder there, or one that is damaged.
    """
    bench, section = read_benchmark(benchmark), params.cg3d_finetune
    check_classes(bench, benchmark.stem, trained=True)
    folders = [encoder_dir / f"seed-{seed}" for seed in params.cg3d.seeds]
    digests = {folder: sha256(folder / WEIGHTS_FILE) for folder in folders if (folder / WEIGHTS_FILE).is_file()}
    model = load_point_model(folders[0])
    study = _Study(params, benchmark, bench, sha256(benchmark), digests, model, cache, device)
    learnt = {seed: folders[position % len(folders)] for position, seed in enumerate(section.seeds)}
    jobs: Jobs = {}
    for share in section.shares:
        jobs[share, LEARNT] = {seed: study.job(share, seed, learnt[seed]) for seed in section.seeds}
        jobs[share, SCRATCH] = {seed: study.job(share, seed, None) for seed in section.seeds}
    _train(jobs, benchmark.stem, map_)
    table = PredictionTable()
    shares = {f"{share:g}": study.summary(share, jobs, table) for share in section.shares}
    if predictions is not None:
        table.write(predictions)
    return {benchmark.stem: {"set": describe(bench), "shares": shares}}


def run_job(job: FinetuneJob) -> Path:
    """Train and classify, and write the logits (N, K) float32; an existing file stays."""
    if not job.out.exists():
        with one_thread():
            write_array(job.out, _logits(job))
    return job.out


def _logits(job: FinetuneJob) -> np.ndarray:
    bench, device = read_benchmark(job.benchmark), torch.device(job.device)
    if job.start is None:
        encoder = create_point_encoder(job.network, job.width, seed=job.seed)
    else:
        encoder = load_point_model(job.start).encoder
    encoder.to(device)
    classifier = create_classifier(encoder, width=job.width, classes=len(bench.classes), seed=job.seed)
    points = torch.from_numpy(bench.train.points[job.rows]).to(device)
    labels = torch.from_numpy(bench.train.labels[job.rows]).to(device)
    moves = {"scale": job.scale, "shift": job.shift}
    finetune(classifier, points, labels, job.settings, seed=job.seed, precision=job.precision, **moves)
    return classify(classifier, torch.from_numpy(bench.test.points).to(device))


def _key(job: FinetuneJob, benchmark: str, start: str | None) -> dict[str, Any]:
    """All that decides the logits; benchmark and start: digests of the file and of the weights."""
    return {
        "finetune": benchmark,
        "start": start,
        "network": vars(job.network),
        "width": job.width,
        "rows": digest_array(job.rows),
        "settings": vars(job.settings),
        "augmentation": [job.scale, job.shift],
        "precision": job.precision,
        "seed": job.seed,
        "device": torch.device(job.device).type,
        "code": digest_code(CODE),
    }


def _train(jobs: Jobs, dataset: str, map_: Map) -> None:
    """Train what the cache doesn't hold, the longest first."""
    named = [
        (job, f"{dataset} {100 * share:g} % {name} seed {seed}")
        for (share, name), group in jobs.items()
        for seed, job in group.items()
        if not job.out.exists()
    ]
    named.sort(key=lambda pair: -len(pair[0].rows))
    count = sum(len(group) for group in jobs.values())
    log.info("%s: %d classifiers to train, %d from the cache", dataset, len(named), count - len(named))
    if named:
        map_(run_job, [job for job, _ in named], names=[name for _, name in named])


@dataclass(frozen=True)
class _Study:
    """What all the trainings share."""

    params: Params
    path: Path
    bench: Benchmark
    digest: str
    """Of the benchmark file."""
    weights: Mapping[Path, str]
    """Digest of the weights in every folder."""
    model: PointModel
    cache: Path
    device: str

    def job(self, share: float, seed: int, start: Path | None) -> FinetuneJob:
        """One training, its logits named by all they depend on."""
        train, recipe = self.bench.train, self.params.cg3d
        rows = share_rows(train.keys, train.labels, share=share, seed=seed)
        # shares and seeds of the other trainings are no matter of this one, and must not name it
        settings = replace(self.params.cg3d_finetune, shares=(share,), seeds=(seed,))
        job = FinetuneJob(
            self.path,
            start,
            self.model.settings,
            self.model.width,
            rows,
            settings,
            recipe.scale,
            recipe.shift,
            recipe.precision,
            seed,
            self.device,
            out=Path(),
        )
        key = _key(job, self.digest, None if start is None else self.weights[start])
        return replace(job, out=place(self.cache, key))

    def summary(self, share: float, jobs: Jobs, table: PredictionTable) -> dict[str, Any]:
        """Metrics of one share: of both starts, and what one brings over the other; the predictions join the table."""
        told: dict[str, Any] = {}
        hits: list[dict[int, np.ndarray]] = []
        test, classes = self.bench.test, self.bench.classes
        for name in (LEARNT, SCRATCH):
            group = jobs[share, name]
            logits = {seed: np.load(job.out, allow_pickle=False) for seed, job in group.items()}
            for seed, values in logits.items():
                said = predict(test.keys, test.labels, values, classes, scale=1.0)
                table.add(said, dataset=self.path.stem, method=f"{name}_{share:g}", seed=seed)
            scores = {seed: score(values, test.labels, scale=1.0) for seed, values in logits.items()}
            hits.append({seed: scored.hits for seed, scored in scores.items()})
            used = sorted({self.weights[job.start] for job in group.values() if job.start is not None})
            inputs = digest_array(np.array([self.digest, *used]))[:REVISION_DIGITS]
            told[name] = summarise(scores) | {"inputs": inputs}
            log.info("%s, %g %% of the labels, %s: %.2f %%", self.path.stem, 100 * share, name, told[name]["mean"])
        first = next(iter(group.values()))
        epochs, batches = plan_steps(len(first.rows), first.settings)
        return {"objects": len(first.rows), "steps": epochs * batches, "gain": difference(*hits), **told}
