"""Retrieval measures against loops and fractions, and chance against every order there is."""

from fractions import Fraction
from itertools import permutations

import numpy as np
import pytest

from c2p.evaluation import ranking
from c2p.evaluation.ranking import MEASURES, RECALLS, Queries, chances, rank_shapes, summarise_rankings, unit_interval


def unit(values: np.ndarray) -> np.ndarray:
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def slow_measures(order: list[int], relevant: set[int]) -> dict[str, Fraction]:
    """R@K and average precision of one order of shapes, by counting."""
    found = {f"r{k}": Fraction(any(place in relevant for place in order[:k])) for k in RECALLS}
    total, right = Fraction(0), 0
    for rank, place in enumerate(order, 1):
        if place in relevant:
            right += 1
            total += Fraction(right, rank)
    return found | {"map": total / len(relevant)}


def slow_order(query: np.ndarray, shapes: np.ndarray, own: int | None) -> list[int]:
    """Places by falling cosine, of equals the first, without the query itself."""
    cosines = [sum(float(a) * float(b) for a, b in zip(query, shape, strict=True)) for shape in shapes]
    return sorted((n for n in range(len(shapes)) if n != own), key=lambda n: (-round(cosines[n], 9), n))


def made(seed: int, *, own: bool) -> tuple[np.ndarray, np.ndarray, Queries]:
    """Shapes of three classes, some of them alike, and queries."""
    generator = np.random.default_rng(seed)
    shapes = unit(generator.normal(size=(23, 5)))
    shapes[7] = shapes[3]
    shapes[15:18] = shapes[14]
    labels = np.arange(23) % 3
    asking = np.array([0, 3, 7, 14, 16, 22])
    features = shapes[asking] if own else unit(generator.normal(size=(6, 5)))
    relevant = tuple(np.flatnonzero((labels == labels[n]) & ((np.arange(23) != n) | (not own))) for n in asking)
    return features, shapes, Queries(tuple(map(str, asking)), relevant, own=asking if own else None)


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("entries", [1, 60, ranking.ENTRIES])
def test_measures_equal_those_of_loops(monkeypatch: pytest.MonkeyPatch, own: bool, entries: int) -> None:
    monkeypatch.setattr(ranking, "ENTRIES", entries)
    for seed in range(5):
        features, shapes, queries = made(seed, own=own)
        got = rank_shapes(features, shapes, queries)
        for n, relevant in enumerate(queries.relevant):
            order = slow_order(features[n], shapes, int(queries.own[n]) if queries.own is not None else None)
            wanted = slow_measures(order, set(relevant.tolist()))
            assert {name: values[n] for name, values in got.measures.items()} == pytest.approx(
                {name: float(value) for name, value in wanted.items()}, abs=1e-12
            )
            assert got.top[n].tolist() == order[:10]
            assert got.cosines[n] == pytest.approx([features[n] @ shapes[place] for place in order[:10]], abs=1e-8)


def test_equal_shapes_come_in_their_order_wherever_the_product_rounds() -> None:
    generator = np.random.default_rng(0)
    shape = unit(generator.normal(size=(1, 131)))
    shapes = np.repeat(shape, 37, axis=0)
    query = unit(generator.normal(size=(3, 131)))
    got = rank_shapes(query, shapes, Queries(("a", "b", "c"), (np.array([4]),) * 3))
    assert got.top.tolist() == [list(range(10))] * 3
    assert got.measures["r5"].tolist() == [1, 1, 1] and got.measures["r1"].tolist() == [0, 0, 0]
    assert got.measures["map"] == pytest.approx([1 / 5] * 3)


@pytest.mark.parametrize("own", [False, True])
def test_chance_is_the_mean_over_every_order(own: bool) -> None:
    count = 6
    relevant = (np.array([1]), np.array([1, 2, 4]), np.array([1, 2, 3, 4, 5]))
    queries = Queries(("a", "b", "c"), relevant, own=np.array([0, 0, 0]) if own else None)
    places = range(1, count) if own else range(count)
    orders = list(permutations(places))
    expected = {
        name: sum(
            (slow_measures(list(order), set(found.tolist()))[name] for order in orders for found in relevant),
            Fraction(0),
        )
        / (len(orders) * len(relevant))
        for name in MEASURES
    }
    assert chances(queries, count) == pytest.approx({n: 100 * float(v) for n, v in expected.items()}, rel=1e-12)


def test_chance_of_many_shapes_is_finite_and_small() -> None:
    found = chances(Queries(("a",), (np.arange(3),)), 50_000)
    assert found["r10"] == pytest.approx(100 * 30 / 50_000, rel=1e-3)
    assert chances(Queries(("a",), (np.arange(3),)), 3) == {"r1": 100, "r5": 100, "r10": 100, "map": pytest.approx(100)}


def test_summary_is_over_seeds_and_says_chance() -> None:
    rankings = {}
    for seed in (0, 4):
        features, shapes, queries = made(seed, own=False)
        rankings[seed] = rank_shapes(features, shapes, queries)
    found = summarise_rankings(rankings, queries, shapes=23)
    assert list(found) == list(MEASURES)
    means = [100 * rankings[seed].measures["map"].mean() for seed in (0, 4)]
    assert found["map"]["mean"] == pytest.approx(np.mean(means), abs=1e-4)
    assert found["map"]["std"] == pytest.approx(np.std(means, ddof=1), abs=1e-4)
    assert found["map"]["seeds"] == pytest.approx({"0": means[0], "4": means[1]}, abs=1e-4)
    assert found["r5"]["chance"] == pytest.approx(chances(queries, 23)["r5"], abs=1e-4)
    low, high = found["map"]["interval"]
    assert low < found["map"]["mean"] < high and found["map"]["queries"] == 6
    assert "std" not in summarise_rankings({0: rankings[0]}, queries, shapes=23)["r1"]


def test_interval_draws_units_with_all_their_queries() -> None:
    """Ten copies of a query say no more than one, and units count by their queries."""
    generator = np.random.default_rng(3)
    values = generator.uniform(size=(1, 12))
    units = np.repeat(np.arange(12), 10)
    once, copied = unit_interval(values, None), unit_interval(np.repeat(values, 10, axis=1), units)
    assert copied == pytest.approx(once, abs=1e-9)
    alone = unit_interval(np.repeat(values, 10, axis=1), None)
    assert alone[1] - alone[0] < 0.5 * (once[1] - once[0])
    assert unit_interval(np.ones((2, 5)), np.array([0, 0, 1, 1, 1])) == (100, 100)
    slow = np.random.default_rng(ranking.BOOTSTRAP_SEED)
    draws = slow.choice(12, size=(4000, 12))
    expected = np.percentile(100 * values[0][draws].mean(axis=1), [2.5, 97.5])
    assert once == pytest.approx(expected, abs=1.5)
