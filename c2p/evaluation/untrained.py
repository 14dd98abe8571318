"""Methods that need no training objects: their features and prompts planned with the bank, then scored.

Legend: N object, V view, C feature width, K class.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from c2p.evaluation.bank import Source, logit_scale
from c2p.evaluation.experiment import Experiment, check_classes
from c2p.evaluation.features import read_features
from c2p.evaluation.methods import Method
from c2p.evaluation.prompts import class_prompts
from c2p.evaluation.view_weights import search_view_weights, weighted_logits
from c2p.evaluation.zeroshot import cosines, zeroshot_logits


@dataclass(frozen=True)
class Trial:
    """A method on a set before its features are there."""

    source: Source
    dataset: str
    method: Method
    text: Path
    """File of the prompts (K, C)."""
    pieces: dict[int | None, tuple[Path, ...]]
    """Feature files of the test objects by pre-training seed; None: no pre-trained encoder has a part in it."""


def plan_trial(
    lab: Experiment, source: Source, dataset: str, method: Method, *, seeds: Sequence[int | None] = (None,)
) -> Trial:
    """Plan what a method needs on a set; seeds: names of the depth encoders, in their order.

    Raises ValueError: a set of a single class, or an encoder folder or prompt file that is missing or broken.
    """
    assert not method.learns
    check_classes(source.read(), dataset, trained=False)
    prompts = class_prompts(method, lab.settings, source.read().classes)
    text = lab.bank.prompts(lab.clip_dir, prompts)
    views = method.views(lab.settings, dataset)
    pieces: dict[int | None, tuple[Path, ...]] = {}
    for position, seed in enumerate(seeds if method.pretrained else [None]):
        label = f"{dataset} {method.slug}" + ("" if seed is None else f" seed {seed}")
        encoder = lab.encoders(method, position)[0]
        pieces[seed] = lab.bank.features(encoder, source, "test", lab.drawing(method), views, label=label)
    return Trial(source, dataset, method, text, pieces)


def score_trial(lab: Experiment, trial: Trial) -> dict[str, Any]:
    """Metrics of a planned method, once the bank has made its features.

    Where view weights are searched on the test set, `searched_on` says so and `view_weights` has them.
    """
    method, bench, scale = trial.method, trial.source.read(), logit_scale(lab.clip_dir)
    text = np.load(trial.text, allow_pickle=False)
    found: dict[str, Any] = {}
    logits: dict[int | None, np.ndarray] = {}
    for seed, files in trial.pieces.items():
        features = read_features(files)
        if method.searched_on_test:
            seen = cosines(features, text)
            weights = search_view_weights(seen, bench.test.labels, scale=scale)
            logits[seed] = weighted_logits(seen, weights)
            found = {"searched_on": "test", "view_weights": [round(float(weight), 6) for weight in weights]}
        else:
            logits[seed] = zeroshot_logits(features, text)
    encoders = {folder for position in range(len(trial.pieces)) for folder in lab.encoders(method, position)}
    scores = lab.record(trial.source, trial.dataset, method.slug, logits, scale=scale)
    return scores | found | {"inputs": lab.inputs(trial.source, [lab.clip_dir, *encoders])}
