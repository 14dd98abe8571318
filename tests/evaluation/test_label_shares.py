"""Subsets of labels for fine-tuning, against loops over the classes."""

import hashlib
import itertools
from decimal import ROUND_HALF_UP, Decimal

import numpy as np
import pytest

from c2p.evaluation.subsets import share_rows

SHARES = (0.01, 0.1, 0.25, 0.5, 1.0)


def _objects(seed: int = 0) -> tuple[list[str], np.ndarray]:
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(4), (1, 3, 17, 30)))
    return [f"object {number}" for number in range(len(labels))], labels


def _twin(keys: list[str], labels: np.ndarray, share: float, seed: int) -> set[int]:
    taken: set[int] = set()
    for label in range(4):
        rows = [row for row in range(len(keys)) if labels[row] == label]
        rows.sort(key=lambda row: hashlib.sha256(f"{seed}:{keys[row]}".encode()).hexdigest())
        count = int((Decimal(str(share)) * len(rows)).to_integral_value(ROUND_HALF_UP))
        taken |= set(rows[: max(1, count)])
    return taken


@pytest.mark.parametrize("share", SHARES)
def test_a_share_takes_so_much_of_every_class_and_at_least_one(share: float) -> None:
    keys, labels = _objects()
    for seed in range(3):
        rows = share_rows(keys, labels, share=share, seed=seed)
        assert len(set(rows.tolist())) == len(rows) and set(rows.tolist()) == _twin(keys, labels, share, seed)
        assert set(labels[rows]) == {0, 1, 2, 3}


def test_smaller_shares_lie_in_larger_ones_in_the_same_order() -> None:
    keys, labels = _objects()
    drawn = [share_rows(keys, labels, share=share, seed=5).tolist() for share in SHARES]
    for small, large in itertools.pairwise(drawn):
        assert small == [row for row in large if row in small] and len(small) < len(large)
    assert sorted(drawn[-1]) == list(range(len(keys)))


def test_subsets_depend_on_keys_and_seed_and_on_no_order() -> None:
    keys, labels = _objects()
    order = np.random.default_rng(1).permutation(len(keys))
    rows = share_rows(keys, labels, share=0.25, seed=0)
    mixed = share_rows([keys[row] for row in order], labels[order], share=0.25, seed=0)
    assert [keys[row] for row in rows] == [keys[order[row]] for row in mixed]
    assert set(rows.tolist()) != set(share_rows(keys, labels, share=0.25, seed=1).tolist())
