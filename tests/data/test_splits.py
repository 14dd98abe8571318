"""Splits, orders and seeds: properties, on many made key sets."""

import random
from collections import Counter

import pytest

from c2p.data.splits import chunks, hold_out, scatter, seed_of


def made_labels(seed: int) -> dict[str, str]:
    source = random.Random(seed)
    return {f"k{seed}-{i}": f"class {source.randrange(6)}" for i in range(source.randrange(1, 200))}


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("share", [0.05, 0.2, 0.5, 0.95])
def test_every_class_is_held_out_by_its_share_and_keeps_one(seed: int, share: float) -> None:
    labels = made_labels(seed)
    held = hold_out(labels, share)
    assert held <= set(labels)
    counts, taken = Counter(labels.values()), Counter(labels[key] for key in held)
    for label, count in counts.items():
        if count == 1:
            assert taken[label] == 0, "a class of one stays in training"
        else:
            assert 1 <= taken[label] <= count - 1
            assert abs(taken[label] - share * count) <= 1


def test_hold_out_depends_on_keys_only() -> None:
    labels = made_labels(3)
    mixed = list(labels.items())
    random.Random(0).shuffle(mixed)
    assert hold_out(dict(mixed), 0.2) == hold_out(labels, 0.2)
    assert hold_out({}, 0.2) == set()


def test_one_more_model_moves_few_others() -> None:
    labels = {f"key-{i}": "chair" for i in range(500)}
    before = hold_out(labels, 0.2)
    after = hold_out(labels | {"another": "chair", "lamp-0": "lamp", "lamp-1": "lamp"}, 0.2)
    assert len(before ^ {key for key in after if key.startswith("key")}) <= 1


def test_scatter_is_an_order_that_mixes() -> None:
    keys = [f"{label}-{i}" for label in ("airplane", "bag", "chair") for i in range(200)]
    order = scatter(keys)
    assert sorted(order) == sorted(keys)
    assert scatter(reversed(keys)) == order
    for start in range(0, 600, 100):
        share = Counter(key.split("-")[0] for key in order[start : start + 100])
        assert all(15 <= share[label] <= 55 for label in ("airplane", "bag", "chair"))
    part = set(keys[::7])
    assert scatter(part) == [key for key in order if key in part], "leaving some out keeps the order of the others"


def test_the_order_never_changes() -> None:
    assert scatter(["a", "b", "c", "d", "e"]) == ["d", "c", "b", "e", "a"]
    assert seed_of("03001627-aa", 0) == 0xCA876CEDC7C491F7


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_chunks_cover_everything_in_order(size: int) -> None:
    items = list(range(20))
    pieces = chunks(items, size)
    assert [item for piece in pieces for item in piece] == items
    assert all(len(piece) == size for piece in pieces[:-1]) and 1 <= len(pieces[-1]) <= size
    assert chunks([], size) == []


def test_seeds_differ_and_fit() -> None:
    seeds = {seed_of(f"key-{i}", seed) for i in range(1000) for seed in (0, 1)}
    assert len(seeds) == 2000
    assert all(0 <= seed < 2**64 for seed in seeds)
    assert seed_of("a", 1) != seed_of("1:a", 0)
