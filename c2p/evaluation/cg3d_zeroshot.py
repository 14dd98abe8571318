"""Zero-shot classification by 3D encoders: the class whose prompt is nearest to the cloud's feature, by cosine.

Scores, intervals and predictions are those of every other method (c2p.evaluation.experiment).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from c2p import params
from c2p.evaluation.bank import Source, logit_scale, open_source
from c2p.evaluation.cg3d_features import Speakers, class_features, clouds_by_seed
from c2p.evaluation.experiment import REVISION_DIGITS, Experiment, check_classes, describe
from c2p.evaluation.features import digest_array
from c2p.evaluation.zeroshot import cosines
from c2p.models.templates import templates_of

SLUG = "cg3d"
"""Of the method, in metrics and predictions."""


def run_cg3d_zeroshot(
    settings: params.Params, lab: Experiment, speakers: Speakers, benchmarks: Sequence[Path]
) -> tuple[dict[str, dict[str, Any]], dict[str, dict[int, np.ndarray]]]:
    """Classify the test objects of every benchmark file; the predictions stay in the experiment.

    Returns:
        Metrics, dataset -> {set, cg3d} as c2p.evaluation.protocols has them, and the features (N, C) of the test
        objects by dataset and seed.
    Raises ValueError: a set with one class, or a file that is none.
    """
    metrics: dict[str, dict[str, Any]] = {}
    features: dict[str, dict[int, np.ndarray]] = {}
    scale = logit_scale(lab.clip_dir)
    for source, dataset in ((open_source(path), path.stem) for path in benchmarks):
        bench = source.read()
        check_classes(bench, dataset, trained=False)
        text = class_features(speakers, bench.classes, templates_of(settings.zeroshot))
        features[dataset] = clouds_by_seed(speakers, bench.test.points)
        logits: dict[int | None, np.ndarray] = {seed: cosines(found, text) for seed, found in features[dataset].items()}
        scores = lab.record(source, dataset, SLUG, logits, scale=scale)
        metrics[dataset] = {"set": describe(bench), SLUG: scores | {"inputs": inputs_digest(source, speakers)}}
    return metrics, features


def inputs_digest(source: Source, speakers: Speakers) -> str:
    """Digest of a benchmark file, the CLIP and the 3D encoders, short."""
    return digest_array(np.array([source.sha256, speakers.clip_digest, *speakers.digests]))[:REVISION_DIGITS]
