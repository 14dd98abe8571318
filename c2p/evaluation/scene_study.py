"""Open scenes: made, cut, named by every 3D encoder, and scored beside what bounds and baselines reach.

Letters: S points of a scene, M segments, T turns, K classes, C feature width.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from c2p.cg3d_params import Cg3dScenes
from c2p.evaluation.scene_names import Encode, Named, name_segments, point_labels, segment_clouds, segment_features
from c2p.evaluation.scene_scores import DIGITS, SceneScore, class_ious, confusion, score_points, summarise_points
from c2p.evaluation.scene_segments import FLOOR, Choice, Clustering, covering, segment
from c2p.evaluation.scenes import Scene

DRAWS = 20
"""Times that names are drawn at random."""


@dataclass(frozen=True)
class CutScene:
    """A made scene and its segments."""

    scene: Scene
    numbers: np.ndarray
    """(S,) int64, as c2p.evaluation.scene_segments.segment gives them."""

    @property
    def segments(self) -> int:
        """M."""
        return max(int(self.numbers.max(initial=FLOOR)), FLOOR)


@dataclass(frozen=True)
class Reading:
    """How segments are read and compared with texts."""

    points: int
    """P, that the encoders read."""
    turns: int
    text: np.ndarray
    """(K, C) float32 of length one: the classes' prompts."""
    scale: float
    """The CLIP's, by which cosines become logits."""


@dataclass(frozen=True)
class Heard:
    """What one encoder made of the scenes."""

    features: tuple[np.ndarray, ...]
    """(M, T, C) of every scene's segments."""
    named: tuple[Named, ...]
    score: SceneScore
    oracle: SceneScore
    """The same encoder on the true masks."""
    ious: np.ndarray
    """(K + 1,) of the classes and the floor, NaN for what neither occurs nor is said."""
    by_scene: tuple[SceneScore, ...]


def cut_scenes(scenes: Sequence[Scene], clustering: Clustering, *, seed: int) -> list[CutScene]:
    """Segments of scenes."""
    return [CutScene(scene, segment(scene.points, clustering, seed=seed)) for scene in scenes]


def hear(cuts: Sequence[CutScene], reading: Reading, encode: Encode) -> Heard:
    """Name the segments and, beside them, the true masks, by one encoder."""
    features = _features([cut.numbers for cut in cuts], cuts, reading, encode)
    named = tuple(name_segments(each, reading.text, scale=reading.scale) for each in features)
    counts = [_counts(cut.scene, cut.numbers, each.best) for cut, each in zip(cuts, named, strict=True)]
    masks = [cut.scene.instances for cut in cuts]
    true = [name_segments(f, reading.text, scale=reading.scale) for f in _features(masks, cuts, reading, encode)]
    oracle = [_counts(cut.scene, cut.scene.instances, each.best) for cut, each in zip(cuts, true, strict=True)]
    whole = _sum(counts)
    return Heard(
        features,
        named,
        score_points(whole),
        score_points(_sum(oracle)),
        class_ious(whole),
        tuple(map(score_points, counts)),
    )


def metrics_of(
    cuts: Sequence[CutScene], heard: Mapping[int, Heard], choice: Choice, settings: Cg3dScenes, dataset: str
) -> dict[str, Any]:
    """Everything that was measured, percent but for the coverings; heard: by the encoders' seeds."""
    scenes = [cut.scene for cut in cuts]
    objects = [scene.labels[scene.instances == n + 1][0] for scene in scenes for n in range(len(scene.keys))]
    classes = scenes[0].classes
    chance = summarise_points(random_names(cuts, seed=settings.seed))
    return {
        "dataset": dataset,
        "scenes": len(cuts),
        "objects": len(objects),
        "classes": len(np.unique(objects)),
        "names": len(classes),
        "points": sum(len(scene.points) for scene in scenes),
        "clustering": asdict(choice.clustering) | {"tuning_covering": round(choice.covering, DIGITS)},
        "segments": sum(cut.segments for cut in cuts),
        "covering": round(float(np.mean([covering(cut.scene.instances, cut.numbers) for cut in cuts])), DIGITS),
        "named": summarise_points({seed: each.score for seed, each in heard.items()}),
        "true_masks": summarise_points({seed: each.oracle for seed, each in heard.items()}),
        "right_names": summarise_points(right_names(cuts)),
        "random_names": {name: value for name, value in chance.items() if name != "seeds"},
        "ious": _class_table([each.ious for each in heard.values()], classes),
        "by_scene": {
            str(number + 1): round(float(np.mean([each.by_scene[number].miou for each in heard.values()])), DIGITS)
            for number in range(len(cuts))
        },
    }


def right_names(cuts: Sequence[CutScene]) -> SceneScore:
    """What no encoder can beat on these segments: each has the class that most of its objects' points have."""
    counts = []
    for cut in cuts:
        objects = cut.scene.instances > FLOOR
        best = [
            int(np.bincount(cut.scene.labels[objects & (cut.numbers == n + 1)], minlength=1).argmax())
            for n in range(cut.segments)
        ]
        counts.append(_counts(cut.scene, cut.numbers, np.array(best, dtype=np.int64)))
    return score_points(_sum(counts))


def random_names(cuts: Sequence[CutScene], *, seed: int) -> dict[int, SceneScore]:
    """Chance on these segments: names drawn evenly, so many times as DRAWS says."""
    scores = {}
    for draw in range(DRAWS):
        rng = np.random.default_rng([seed, 2, draw])
        counts = [_counts(c.scene, c.numbers, rng.integers(0, len(c.scene.classes), c.segments)) for c in cuts]
        scores[draw] = score_points(_sum(counts))
    return scores


def _features(
    numbers: Sequence[np.ndarray], cuts: Sequence[CutScene], reading: Reading, encode: Encode
) -> tuple[np.ndarray, ...]:
    """Features of every scene's segments, encoded together."""
    pairs = zip(cuts, numbers, strict=True)
    clouds = [segment_clouds(cut.scene.points, own, reading.points) for cut, own in pairs]
    every = np.concatenate(clouds)
    if not len(every):
        return tuple(np.zeros((0, reading.turns, reading.text.shape[1]), np.float32) for _ in cuts)
    features = segment_features(every, encode, turns=reading.turns)
    return tuple(np.split(features, np.cumsum([len(each) for each in clouds])[:-1]))


def _counts(scene: Scene, numbers: np.ndarray, best: np.ndarray) -> np.ndarray:
    said = point_labels(numbers, best, floor=scene.floor_label)
    return confusion(scene.labels, said, len(scene.classes))


def _sum(counts: Sequence[np.ndarray]) -> np.ndarray:
    total: np.ndarray = np.sum(counts, axis=0)
    return total


def _class_table(ious: Sequence[np.ndarray], classes: Sequence[str]) -> dict[str, float]:
    """IoU of every class that occurs or is said by some encoder, percent, the mean over those."""
    values = np.array(ious)[:, :-1]
    return {
        name: round(100 * float(np.nanmean(values[:, k])), DIGITS)
        for k, name in enumerate(classes)
        if not np.isnan(values[:, k]).all()
    }
