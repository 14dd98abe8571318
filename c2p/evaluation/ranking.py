"""How well a ranking finds what is relevant: R@K and mean average precision, beside what a random ranking gives.

Legend: Q query, N shape that can be found, C feature width, S seed, U unit of queries that belong together.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import comb
from typing import Any

import numpy as np

from c2p.evaluation.scores import BOOTSTRAP_SEED, DIGITS, LEVEL, RESAMPLES

RECALLS = (1, 5, 10)
"""K of R@K."""
MEASURES = (*(f"r{k}" for k in RECALLS), "map")
EQUAL = 9
"""Decimals after which two cosines are equal: a matrix product rounds the same sum differently by its place."""
ENTRIES = 4_000_000
"""Cosines that are ranked at a time: 32 MB."""
DRAWS = 250
"""Bootstrap draws at a time."""


@dataclass(frozen=True)
class Queries:
    """What is asked, and what would be right."""

    names: tuple[str, ...]
    """(Q,) for people."""
    relevant: tuple[np.ndarray, ...]
    """(Q,) places of the relevant shapes, each int64, none empty, without the query's own."""
    own: np.ndarray | None = None
    """(Q,) int64 place of the query itself among the shapes, which it may not find; None: queries are no shapes."""
    units: np.ndarray | None = None
    """(Q,) int64: queries of one unit belong together, as the views of an object do; None: each is one."""


@dataclass(frozen=True)
class Ranking:
    """How one encoder ranked the shapes for each query; shares are in [0, 1]."""

    measures: dict[str, np.ndarray]
    """(Q,) float64 by name of MEASURES: for R@K 1 where one of the first K is relevant, else 0; for `map` the average
    precision."""
    top: np.ndarray
    """(Q, up to 10) int64 places of the nearest shapes, the nearest first."""
    cosines: np.ndarray
    """(Q, up to 10) float64."""


def rank_shapes(features: np.ndarray, shapes: np.ndarray, queries: Queries) -> Ranking:
    """Rank all shapes by their cosine with each query; of equals, the first comes first.

    The average precision of a query is the mean, over its relevant shapes, of the share of relevant ones among all
    shapes up to it.

    Args:
        features: (Q, C) float, of length one.
        shapes: (N, C) float, of length one.
    """
    parts = [_rank(*block) for block in _blocks(features, shapes, queries)]
    merged = [np.concatenate(columns) for columns in zip(*parts, strict=True)]
    return Ranking(dict(zip(MEASURES, merged[:-2], strict=True)), merged[-2], merged[-1])


def chances(queries: Queries, shapes: int) -> dict[str, float]:
    """What a random order of the N shapes gives, in percent, exactly: the mean over the queries of its expectation.

    R@K: one of K shapes drawn without replacement is among m relevant ones (hypergeometric), 1 - C(N-m, K) / C(N, K).
    Average precision: H/N + (m-1)/(N-1) (1 - H/N), H the N-th harmonic number: the shape at rank k is relevant with
    probability m/N, and then each of the k-1 before it with (m-1)/(N-1). A query that is a shape itself has N-1.
    """
    count = shapes if queries.own is None else shapes - 1
    sizes, times = np.unique([len(found) for found in queries.relevant], return_counts=True)
    harmonic = float((1 / np.arange(1, count + 1)).sum()) / count

    def mean(expected: Sequence[float]) -> float:
        return 100 * float(np.average(expected, weights=times))

    found = {f"r{k}": mean([_hit(count, int(m), min(k, count)) for m in sizes]) for k in RECALLS}
    precision = [harmonic + (m - 1) / max(1, count - 1) * (1 - harmonic) for m in sizes.tolist()]
    return found | {"map": mean(precision)}


def summarise_rankings(rankings: Mapping[int, Ranking], queries: Queries, *, shapes: int) -> dict[str, dict[str, Any]]:
    """Metrics of each of MEASURES, percent: mean, seeds, std (from two seeds on), interval, chance; and the queries."""
    expected = chances(queries, shapes)
    found = {}
    for measure in MEASURES:
        values = {seed: ranking.measures[measure] for seed, ranking in rankings.items()}
        means = [100 * float(row.mean()) for row in values.values()]
        ends = unit_interval(np.stack(list(values.values())), queries.units)
        found[measure] = {
            "mean": round(float(np.mean(means)), DIGITS),
            "seeds": {str(seed): round(mean, DIGITS) for seed, mean in zip(values, means, strict=True)},
            "interval": [round(end, DIGITS) for end in ends],
            "chance": round(expected[measure], DIGITS),
            "queries": len(queries.names),
        }
        if len(means) > 1:
            found[measure]["std"] = round(float(np.std(means, ddof=1)), DIGITS)
    return found


def unit_interval(values: np.ndarray, units: np.ndarray | None) -> tuple[float, float]:
    """Bootstrap interval of the mean over queries and seeds, percent: units of queries and seeds are drawn.

    As c2p.evaluation.scores.interval, but what is drawn are units with all their queries: the views of one object are
    no independent questions.

    Args:
        values: (S, Q) float in [0, 1].
        units: (Q,) int64; None: each query is one.
    """
    seeds, count = values.shape
    members, places = np.unique(np.arange(count) if units is None else units, return_inverse=True)
    sums = np.stack([np.bincount(places, weights=row, minlength=len(members)) for row in values], axis=1)
    sizes = np.bincount(places, minlength=len(members))
    generator = np.random.default_rng(BOOTSTRAP_SEED)
    share = np.full(len(members), 1 / len(members))
    means = []
    for start in range(0, RESAMPLES, DRAWS):
        drawn = generator.multinomial(len(members), share, size=min(DRAWS, RESAMPLES - start))
        found = 100 * (drawn @ sums) / (drawn @ sizes)[:, None]
        means.append(
            np.take_along_axis(found, generator.integers(seeds, size=(len(drawn), seeds)), axis=1).mean(axis=1)
        )
    low, high = np.percentile(np.concatenate(means), [(100 - LEVEL) / 2, (100 + LEVEL) / 2])
    return float(low), float(high)


def _hit(count: int, relevant: int, drawn: int) -> float:
    """Probability that one of so many drawn of `count` is relevant; integers of any size, one division."""
    return 1 - comb(count - relevant, drawn) / comb(count, drawn)


def _blocks(features: np.ndarray, shapes: np.ndarray, queries: Queries) -> Iterator[tuple[np.ndarray, np.ndarray, int]]:
    """Of some queries at a time: cosines (q, N), which shapes are relevant (q, N), and how many can be found."""
    wide = shapes.astype(np.float64).T
    step = max(1, ENTRIES // len(shapes))
    for start in range(0, len(features), step):
        cosines = np.round(features[start : start + step].astype(np.float64) @ wide, EQUAL)
        rows = np.arange(len(cosines))
        if queries.own is not None:
            cosines[rows, queries.own[start : start + step]] = -np.inf  # comes last, and is not relevant
        wanted = np.zeros(cosines.shape, bool)
        for row, places in zip(rows, queries.relevant[start : start + step], strict=True):
            wanted[row, places] = True
        yield cosines, wanted, len(shapes) - (queries.own is not None)


def _rank(cosines: np.ndarray, wanted: np.ndarray, count: int) -> list[np.ndarray]:
    """R@K for each K, average precision, the nearest shapes and their cosines, of each query."""
    order = np.argsort(-cosines, axis=1, kind="stable")
    hits = np.take_along_axis(wanted, order, axis=1)
    precision = hits.cumsum(axis=1) / np.arange(1, hits.shape[1] + 1)
    average = (precision * hits).sum(axis=1) / hits.sum(axis=1)
    top = order[:, : min(max(RECALLS), count)]
    recalls = [hits[:, :k].any(axis=1).astype(np.float64) for k in RECALLS]
    return [*recalls, average, top, np.take_along_axis(cosines, top, axis=1)]
