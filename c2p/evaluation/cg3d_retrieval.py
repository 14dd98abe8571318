"""Retrieval by 3D encoders: text -> shape, image -> shape, shape -> shape, by cosine of the features.

The shapes are the test objects of a benchmark file, sorted by name. Of the tasks, `text_object` is the one that says
most of text -> shape: its chance is small whatever the number of classes, while a random order of 200 shapes holds one
of ten relevant ones among its first five in 23 % of all cases, and no method reaches five times that. It was chosen
before any number was there.

Legend: N shape, V view, Q query, C feature width.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from c2p import params
from c2p.data.files import write_atomic
from c2p.evaluation.bank import Source
from c2p.evaluation.cg3d_features import Speakers, class_features, text_features
from c2p.evaluation.cg3d_zeroshot import inputs_digest
from c2p.evaluation.ranking import MEASURES, Queries, Ranking, rank_shapes, summarise_rankings
from c2p.models.templates import templates_of

TASKS = ("text_object", "text_class", "image_object", "image_class", "shape_class")
"""What is asked, and what is relevant. text_object: each caption of the validation models, the shapes that have it;
text_class: the prompt of each class, its shapes; image_object: each RGB view of the validation models, the model that
it shows; image_class: the same views, the shapes of that model's class; shape_class: each shape, the others of its
class.
"""
SCHEMA = pa.schema(
    [
        ("dataset", pa.string()),
        ("task", pa.string()),
        ("seed", pa.int64()),
        ("query", pa.string()),
        ("view", pa.int64()),
        ("keys", pa.list_(pa.string())),
        ("cosines", pa.list_(pa.float32())),
        ("relevant", pa.list_(pa.bool_())),
    ]
)
"""query: a text, or the key of a shape; view: which of its RGB views, null where it is none; keys: the nearest ones."""


@dataclass(frozen=True)
class Shapes:
    """What can be found in one set."""

    dataset: str
    source: Source
    keys: tuple[str, ...]
    """(N,) sorted."""
    labels: np.ndarray
    """(N,) int64."""
    classes: tuple[str, ...]
    features: Mapping[int, np.ndarray]
    """(N, C) of length one, by seed."""


@dataclass(frozen=True)
class Asked:
    """One task's queries as features."""

    task: str
    queries: Queries
    features: Mapping[int, np.ndarray]
    """(Q, C) of length one, by seed."""
    views: np.ndarray | None = None
    """(Q,) int64 number of the RGB view; None: queries are none."""


def sorted_shapes(dataset: str, source: Source, features: Mapping[int, np.ndarray]) -> Shapes:
    """The test objects of a benchmark file by name, so that ties don't depend on the order in the file."""
    bench = source.read()
    order = np.array(sorted(range(len(bench.test)), key=bench.test.keys.__getitem__))
    keys = tuple(bench.test.keys[place] for place in order)
    by_seed = {seed: found[order] for seed, found in features.items()}
    return Shapes(dataset, source, keys, bench.test.labels[order], bench.classes, by_seed)


def run_retrieval(
    settings: params.Params,
    speakers: Speakers,
    sets: Sequence[Shapes],
    *,
    captions: Mapping[str, Sequence[str]],
    views: Callable[[Sequence[str]], Mapping[int, np.ndarray]] | None,
    pictured: str,
) -> tuple[dict[str, dict[str, Any]], list[dict[str, Any]]]:
    """Every task that each set allows.

    Args:
        captions: texts of the models of the set `pictured`, by key; those without any are asked for by none.
        views: keys of that set to the features of their RGB views, (N, V, C) of length one by seed; None: it has none.
        pictured: name of the set whose models have captions and RGB views.
    Returns:
        Metrics, dataset -> {set, <task>_<measure>: summary}, and rows of SCHEMA.
    """
    metrics: dict[str, dict[str, Any]] = {}
    rows: list[dict[str, Any]] = []
    for shapes in sets:
        here = shapes.dataset == pictured
        tasks = [
            _captions(speakers, shapes, captions) if here else None,
            _class_prompts(settings, speakers, shapes),
            *(_images(shapes, views(shapes.keys)) if here and views is not None else []),
            _others(shapes),
        ]
        found = metrics[shapes.dataset] = {"set": {"shapes": len(shapes.keys), "classes": len(shapes.classes)}}
        for asked in (task for task in tasks if task is not None and task.queries.names):
            rankings = {
                seed: rank_shapes(asked.features[seed], shapes.features[seed], asked.queries)
                for seed in shapes.features
            }
            summary = summarise_rankings(rankings, asked.queries, shapes=len(shapes.keys))
            digest = {"inputs": inputs_digest(shapes.source, speakers)}
            found |= {f"{asked.task}_{measure}": summary[measure] | digest for measure in MEASURES}
            rows += _rows(shapes, asked, rankings)
    return metrics, rows


def write_rankings(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    """Write the nearest shapes of every query; same rows, same bytes."""
    table = pa.Table.from_pylist(rows, schema=SCHEMA)
    return write_atomic(path, lambda temporary: pq.write_table(table, temporary, compression="zstd"))


def _captions(speakers: Speakers, shapes: Shapes, captions: Mapping[str, Sequence[str]]) -> Asked | None:
    """Each text once; relevant are all shapes that have it. Texts belong together by the first shape that has them."""
    owners: dict[str, list[int]] = {}
    for place, key in enumerate(shapes.keys):
        for text in dict.fromkeys(captions.get(key, ())):
            owners.setdefault(text, []).append(place)
    if not owners:
        return None
    texts = tuple(sorted(owners))
    relevant = tuple(np.array(owners[text]) for text in texts)
    queries = Queries(texts, relevant, units=np.array([places[0] for places in relevant]))
    return Asked("text_object", queries, dict.fromkeys(shapes.features, text_features(speakers, texts)))


def _class_prompts(settings: params.Params, speakers: Speakers, shapes: Shapes) -> Asked:
    """Prompts of the classes that have shapes."""
    members = _members(shapes)
    names = [shapes.classes[label] for label in members]
    text = class_features(speakers, names, templates_of(settings.zeroshot))
    queries = Queries(tuple(names), tuple(members.values()))
    return Asked("text_class", queries, dict.fromkeys(shapes.features, text))


def _images(shapes: Shapes, views: Mapping[int, np.ndarray]) -> list[Asked]:
    """Each RGB view asks for its model, and for its model's class; views of one model belong together."""
    models, count, _ = next(iter(views.values())).shape
    units, numbers = np.repeat(np.arange(models), count), np.tile(np.arange(count), models)
    names = tuple(shapes.keys[unit] for unit in units)
    members = _members(shapes)
    flat = {seed: found.reshape(models * count, -1) for seed, found in views.items()}
    wanted = {
        "image_object": tuple(np.array([unit]) for unit in units),
        "image_class": tuple(members[shapes.labels[unit]] for unit in units),
    }
    return [Asked(task, Queries(names, found, units=units), flat, numbers) for task, found in wanted.items()]


def _others(shapes: Shapes) -> Asked:
    """Each shape asks for the others of its class; one that is alone in its class can't."""
    members = _members(shapes)
    asking = np.array([n for n, label in enumerate(shapes.labels) if len(members[label]) > 1], np.int64)
    relevant = tuple((found := members[shapes.labels[n]])[found != n] for n in asking)
    queries = Queries(tuple(shapes.keys[n] for n in asking), relevant, own=asking)
    return Asked("shape_class", queries, {seed: found[asking] for seed, found in shapes.features.items()})


def _members(shapes: Shapes) -> dict[int, np.ndarray]:
    """Places of each class's shapes; classes without any are left out."""
    return {int(label): np.flatnonzero(shapes.labels == label) for label in np.unique(shapes.labels)}


def _rows(shapes: Shapes, asked: Asked, rankings: Mapping[int, Ranking]) -> list[dict[str, Any]]:
    """Rows of SCHEMA of one task."""
    sets = [set(found.tolist()) for found in asked.queries.relevant]
    head = {"dataset": shapes.dataset, "task": asked.task}
    return [
        head
        | {
            "seed": seed,
            "query": name,
            "view": None if asked.views is None else int(asked.views[n]),
            "keys": [shapes.keys[place] for place in ranking.top[n]],
            "cosines": ranking.cosines[n].tolist(),
            "relevant": [place in sets[n] for place in ranking.top[n].tolist()],
        }
        for seed, ranking in rankings.items()
        for n, name in enumerate(asked.queries.names)
    ]
