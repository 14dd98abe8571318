"""Variants of CG3D's recipe beside one another: what the 3D encoder names, and what the image tower has forgotten.

Letters: N models, V views, C feature width, K classes, T captions of a class.
"""

import dataclasses
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from c2p.cg3d_params import Cg3d
from c2p.data.files import write_bytes
from c2p.data.pointset import PointSet
from c2p.evaluation.differences import difference, spread
from c2p.evaluation.forgetting import image_to_text, likeness, text_to_image
from c2p.evaluation.predictions import PredictionTable, predict
from c2p.evaluation.scores import DIGITS, interval, score, summarise

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Variant:
    """What differs from the recipe of the section cg3d."""

    tuned: Literal["prompts", "nothing", "everything"]
    alignment: Literal["both", "image", "text"]

    @property
    def slug(self) -> str:
        """Its name in the metrics."""
        return f"{self.tuned}-{self.alignment}"

    @property
    def blind(self) -> bool:
        """Whether its 3D encoder never looks at pictures: its image tower is the published recipe's, to the bit."""
        return self.alignment == "text"

    def recipe(self, settings: Cg3d, *, seed: int, epochs: int) -> Cg3d:
        """The section cg3d of one training: the last epoch is the one that is taken.

        Without clutter, which is not the paper's, whose claims these trainings test. Blind ones train no image tower.
        """
        return dataclasses.replace(
            settings,
            tuned="nothing" if self.blind else self.tuned,
            alignment=self.alignment,
            seeds=(seed,),
            epochs=epochs,
            clutter=0.0,
            checkpoint_every=epochs,
            keep_last=1,
            keep_best=1,
        )


PUBLISHED = Variant("prompts", "both")
"""CG3D as published."""
PLAIN = Variant("nothing", "both")
"""Its image tower is the CLIP's own: what is known before tuning."""
VARIANTS = (
    Variant("everything", "both"),
    PUBLISHED,
    Variant("prompts", "image"),
    PLAIN,
    Variant("prompts", "text"),
)
"""In the order in which they are trained, the longest first."""


@dataclass(frozen=True)
class Outcome:
    """What one training led to."""

    validation: np.ndarray
    """(N, K) float32 cosines of the 3D encoder's features of the validation clouds with the text of every class."""
    test: np.ndarray
    """The same of the test objects and classes of a benchmark set."""
    pictures: np.ndarray
    """(N, V, C) float32 features of the validation models' RGB views by the image tower as training left it; (0, 0, 0)
    of a blind variant."""

    def write(self, path: Path) -> Path:
        """Write it as safetensors; the same outcome gives the same bytes."""
        from safetensors.numpy import save

        return write_bytes(path, save({name: np.ascontiguousarray(values) for name, values in vars(self).items()}))


def read_outcome(path: Path) -> Outcome:
    """Read what `Outcome.write` has written."""
    from safetensors.numpy import load_file

    return Outcome(**load_file(path))


Outcomes = Mapping[Variant, Mapping[int, Outcome]]
"""By variant and seed; PUBLISHED and PLAIN are among them, with the same seeds."""


@dataclass(frozen=True)
class Measures:
    """What the outcomes are held against."""

    validation: PointSet
    classes: tuple[str, ...]
    """K, those of the validation split."""
    left_out: tuple[str, ...]
    """Those that tuning did not see."""
    text: np.ndarray
    """(K, C) of length one."""
    captions: np.ndarray
    """(K, T, C) of length one."""
    dataset: str
    test: PointSet
    test_classes: tuple[str, ...]
    scale: float
    """CLIP's logit scale: probabilities are softmax of cosines times it."""

    @property
    def groups(self) -> dict[str, np.ndarray]:
        """Validation models (N,) bool by whether tuning saw their class; a group without models is left away."""
        strange = np.isin(self.validation.labels, [self.classes.index(name) for name in self.left_out])
        return {name: rows for name, rows in (("seen", ~strange), ("held_out", strange)) if rows.any()}


def zeroshot_metrics(outcomes: Outcomes, measures: Measures, table: PredictionTable) -> dict[str, Any]:
    """How well the 3D encoders name clouds: set -> slug -> metrics of c2p.evaluation.scores.summarise.

    Sets: `validation` (models of classes that training saw), `validation_held_out` (of the others) and the benchmark
    set by its name; in each, `set` has {"classes": that compete, "test": objects, "chance"}. Every slug but the
    published recipe's has `below`: the points that it is below that one (c2p.evaluation.differences.difference).
    The predictions join the table, those of the validation split as one set.
    """
    sets = {
        {"seen": "validation", "held_out": "validation_held_out"}[name]: (measures.validation, measures.classes, rows)
        for name, rows in measures.groups.items()
    }
    whole = np.ones(len(measures.test), bool)
    sets[measures.dataset] = (measures.test, measures.test_classes, whole)
    metrics: dict[str, Any] = {}
    for name, (objects, classes, rows) in sets.items():
        chance = round(100 / len(classes), DIGITS)
        metrics[name] = {"set": {"classes": len(classes), "test": int(rows.sum()), "chance": chance}}
        scores = {
            variant: {
                seed: score(_logits(found, measures, name)[rows], objects.labels[rows], scale=measures.scale)
                for seed, found in group.items()
            }
            for variant, group in outcomes.items()
        }
        for variant, group in scores.items():
            summary = summarise(group)
            if variant != PUBLISHED:
                hits = [{seed: scored.hits for seed, scored in scores[of].items()} for of in (PUBLISHED, variant)]
                summary["below"] = difference(*hits)
            metrics[name][variant.slug] = summary
            log.info("%s, %s: %.2f %%", name, variant.slug, summary["mean"])
    for variant, found in outcomes.items():
        for seed, outcome in found.items():
            for name, objects, classes in (
                ("validation", measures.validation, measures.classes),
                (measures.dataset, measures.test, measures.test_classes),
            ):
                logits = _logits(outcome, measures, name)
                said = predict(objects.keys, objects.labels, logits, classes, scale=measures.scale)
                table.add(said, dataset=name, method=variant.slug, seed=seed)
    return metrics


def pair_metrics(outcomes: Outcomes, measures: Measures) -> dict[str, Any]:
    """What the image towers know of held-out pairs of picture and text (c2p.evaluation.forgetting).

    Returns `seen` and `held_out` (pictures of validation models of classes that tuning saw, and of the others; the
    second only where classes were left out), each with `set` {"classes", "models", "pictures", "captions", "chance"}
    (of image to text, percent), `before` (the CLIP's own tower) and every variant's slug:
    "image_to_text": R@1 over pictures, percent: mean, seeds, std, interval over models and seeds;
    "text_to_image": R@1 over captions of the group's classes, all validation pictures the gallery: mean, seeds, std;
    "forgotten": points of image to text that the CLIP's own tower was above it: mean, seeds, std, interval;
    "likeness": mean cosine of a picture's features before and after.
    `before` has mean and interval of the first, mean of the second. A tower is as training left it; its 3D encoder has
    no part in any of this.
    """
    metrics: dict[str, Any] = {}
    labels = measures.validation.labels
    plain = next(iter(outcomes[PLAIN].values())).pictures  # nothing is tuned, so seeds agree
    for name, rows in measures.groups.items():
        here = np.unique(labels[rows])
        about = {"classes": len(here), "models": int(rows.sum()), "pictures": int(rows.sum()) * plain.shape[1]}
        about |= {"captions": len(here) * measures.captions.shape[1], "chance": round(100 / len(measures.text), DIGITS)}
        known = image_to_text(plain[rows], labels[rows], measures.text)
        found = text_to_image(plain, labels, measures.captions)[here]
        metrics[name] = {
            "set": about,
            "before": {
                "image_to_text": {"mean": _percent(known), "interval": [round(v, DIGITS) for v in interval([known])]},
                "text_to_image": {"mean": _percent(found)},
            },
        }
        for variant, group in outcomes.items():
            still = {seed: image_to_text(o.pictures[rows], labels[rows], measures.text) for seed, o in group.items()}
            nearest = {seed: text_to_image(o.pictures, labels, measures.captions)[here] for seed, o in group.items()}
            ends = [round(end, DIGITS) for end in interval(list(still.values()))]
            near = [likeness(plain[rows], outcome.pictures[rows]) for outcome in group.values()]
            metrics[name][variant.slug] = {
                "image_to_text": spread({s: 100 * float(v.mean()) for s, v in still.items()}) | {"interval": ends},
                "text_to_image": spread({s: 100 * float(v.mean()) for s, v in nearest.items()}),
                "forgotten": difference(dict.fromkeys(still, known), still),
                "likeness": round(float(np.mean(near)), DIGITS),
            }
            lost = metrics[name][variant.slug]["forgotten"]["mean"]
            log.info("image tower, %s classes, %s: %.2f points forgotten", name, variant.slug, lost)
    return metrics


def _logits(outcome: Outcome, measures: Measures, name: str) -> np.ndarray:
    return outcome.test if name == measures.dataset else outcome.validation


def _percent(values: np.ndarray) -> float:
    return round(100 * float(values.mean()), DIGITS)
