"""Hard negatives: the nearest by image features stand together in the order, and nobody is lost or drawn twice."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from trainee import SETTINGS, run

from c2p.training import neighbours
from c2p.training.draws import draw_epoch
from c2p.training.neighbours import grouped, nearest


def _features(samples: int = 23, views: int = 3) -> torch.Tensor:
    return torch.randn(samples, views, 8, generator=torch.Generator().manual_seed(1)).half()


@pytest.mark.parametrize("count", [1, 4, 22, 60])
def test_nearest_are_those_of_a_loop_in_double_precision(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "ROWS", 5)
    features = _features()
    means = []
    for sample in features.double().numpy():
        mean = np.mean([view / np.linalg.norm(view) for view in sample], axis=0)
        means.append(mean / np.linalg.norm(mean))
    found = nearest(features, count)
    assert found.shape == (23, min(count, 22)) and found.dtype == np.int64
    for row, mean in enumerate(means):
        others = sorted((other for other in range(23) if other != row), key=lambda other: -float(mean @ means[other]))
        assert found[row].tolist() == others[:count]


@pytest.mark.parametrize("others", [1, 3, 40])
def test_each_group_is_a_sample_and_its_nearest_free_ones(others: int) -> None:
    candidates = nearest(_features(), 4 * others)
    order = np.random.default_rng(2).permutation(23)
    found = grouped(order, candidates, others, np.random.default_rng(3))
    assert sorted(found.tolist()) == list(range(23))
    free, groups = set(range(23)), []
    for sample in order.tolist():
        if sample in free:
            free.discard(sample)
            group = [sample]
            for other in candidates[sample].tolist():
                if other in free and len(group) <= others:
                    free.discard(other)
                    group.append(other)
            groups.append(group)
    wanted = [groups[number] for number in np.random.default_rng(3).permutation(len(groups))]
    assert found.tolist() == [sample for group in wanted for sample in group]


def test_batches_of_neighbours_are_alike_and_views_and_distances_stay() -> None:
    places = torch.arange(200) % 10  # ten kinds of twenty
    features = torch.nn.functional.one_hot(places, 10).float()[:, None] + 0.01 * torch.randn(
        200, 2, 10, generator=torch.Generator().manual_seed(0)
    )
    plain = draw_epoch(0, 0, samples=200, views=2, jitter=0.1)
    hard = draw_epoch(0, 0, samples=200, views=2, jitter=0.1, candidates=nearest(features, 12), hard=3)

    def alike(order: np.ndarray) -> float:
        kinds = places[torch.from_numpy(order)].reshape(-1, 20)  # batches
        pairs = (kinds[:, :, None] == kinds[:, None]).float().sum((1, 2)) - 20
        return float(pairs.mean()) / (20 * 19)

    assert alike(plain.order) < 0.13 < 0.2 < alike(hard.order)
    np.testing.assert_array_equal(plain.views, hard.views)
    np.testing.assert_array_equal(plain.distances, hard.distances)


def test_training_with_hard_negatives_is_the_same_again_and_another_than_without(tmp_path: Path) -> None:
    hard = dataclasses.replace(SETTINGS, hard_negatives=2)
    one, again, plain = (
        run(tmp_path / name, settings=settings)[1] for name, settings in (("a", hard), ("b", hard), ("c", SETTINGS))
    )
    assert one == again != plain


def test_as_many_as_a_batch_are_refused() -> None:
    with pytest.raises(ValueError, match=r"hard_negatives: got 8; allowed: 0 to less than pretrain.batch \(8\)"):
        dataclasses.replace(SETTINGS, hard_negatives=SETTINGS.batch)
