"""Few-shot subsets: sizes, order, and what can't be drawn."""

import numpy as np
import pytest

from c2p.evaluation.subsets import all_rows, check_shots, few_shot_rows


def test_k_shot_takes_k_of_each_class() -> None:
    labels = np.array([0] * 9 + [1] * 5 + [2] * 7)
    keys = [f"object-{n}" for n in range(21)]
    rows = few_shot_rows(keys, labels, shots=4, seed=0)
    assert np.bincount(labels[rows]).tolist() == [4, 4, 4]
    assert len(set(rows.tolist())) == 12
    assert set(rows.tolist()) != set(few_shot_rows(keys, labels, shots=4, seed=1).tolist())


def test_subsets_are_nested() -> None:
    labels = np.random.default_rng(1).integers(4, size=50)
    keys = [f"object-{n}" for n in range(50)]
    smaller: set[int] = set()
    for shots in range(1, 8):
        rows = few_shot_rows(keys, labels, shots=shots, seed=3).tolist()
        assert smaller < set(rows)
        smaller = set(rows)


def test_small_class_gives_all_it_has_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    labels = np.array([0, 0, 0, 1])
    rows = few_shot_rows(list("abcd"), labels, shots=2, seed=0)
    assert np.bincount(labels[rows]).tolist() == [2, 1]
    with caplog.at_level("WARNING"):
        check_shots(labels, 2, dataset="toys")
    assert caplog.messages == [
        "toys, 2 shots: 1 of 2 classes have fewer training objects, the smallest 1; all of theirs are taken"
    ]
    check_shots(labels, 1, dataset="toys")
    assert len(caplog.messages) == 1


def test_more_shots_than_any_class_has_is_another_problem() -> None:
    with pytest.raises(ValueError, match=r"toys: 4 shots; allowed: 1 to 3.*fewshot.shots or fewshot.curve"):
        check_shots(np.array([0, 0, 0, 1]), 4, dataset="toys")


def test_subset_does_not_depend_on_the_order_of_objects_or_classes() -> None:
    generator = np.random.default_rng(0)
    labels = np.repeat(np.arange(5), 8)
    keys = np.array([f"object-{n}" for n in range(40)])
    expected = keys[few_shot_rows(list(keys), labels, shots=3, seed=7)]
    moved = generator.permutation(40)
    rows = few_shot_rows(list(keys[moved]), (labels[moved] + 2) % 5, shots=3, seed=7)
    assert keys[moved][rows].tolist() == expected.tolist(), "same objects in the same order"
    assert sorted(all_rows(list(keys), seed=7).tolist()) == list(range(40))
