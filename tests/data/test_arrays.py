"""Arrays of all samples at once: as reading one after the other gives them, and what is wrong is said."""

import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from c2p.data.arrays import read_arrays
from c2p.data.manifest import read_manifest, read_points, shard_rows, write_manifest
from c2p.data.tars import add_member, decode_npy, encode_npy, index_tar, read_range


def _shard(path: Path, arrays: list[np.ndarray]) -> list[tuple[int, int]]:
    with tarfile.open(path, "w") as file:
        for number, array in enumerate(arrays):
            add_member(file, f"s{number}.points.npy", encode_npy(array))
    return [(offset, size) for members in index_tar(path).values() for _, offset, size in members]


def _cloud(number: int, shape: tuple[int, ...] = (5, 3)) -> np.ndarray:
    return np.random.default_rng(number).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("form", [np.ascontiguousarray, np.asfortranarray])
def test_arrays_of_two_shards_are_those_read_one_by_one(form: Callable, tmp_path: Path) -> None:
    paths, places = [], []
    for shard in range(2):
        path = tmp_path / f"{shard}.tar"
        found = _shard(path, [form(_cloud(10 * shard + number)) for number in range(3)])
        paths += [path] * 3
        places += found
    stacked = read_arrays(paths, *zip(*places, strict=True))
    slow = [decode_npy(read_range(path, *place)) for path, place in zip(paths, places, strict=True)]
    assert stacked.dtype == np.float32 and np.array_equal(stacked, np.stack(slow))


def test_a_member_written_otherwise_is_read_too(tmp_path: Path) -> None:
    arrays = [_cloud(0), np.asfortranarray(_cloud(1)), _cloud(2)]
    places = _shard(tmp_path / "a.tar", arrays)
    stacked = read_arrays([tmp_path / "a.tar"] * 3, *zip(*places, strict=True))
    assert np.array_equal(stacked, np.stack(arrays))


@pytest.mark.parametrize(
    "other", [_cloud(1, (4, 3)), _cloud(1, (3, 5)), _cloud(1).astype(np.float64), _cloud(1).view(np.int32)]
)
def test_other_shapes_and_types_are_named(other: np.ndarray, tmp_path: Path) -> None:
    places = _shard(tmp_path / "a.tar", [_cloud(0), other])
    with pytest.raises(ValueError, match=r"a\.tar: arrays that differ in shape or type"):
        read_arrays([tmp_path / "a.tar"] * 2, *zip(*places, strict=True))


def test_a_file_that_ends_within_a_member_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    places = _shard(path, [_cloud(number) for number in range(3)])
    path.write_bytes(path.read_bytes()[: places[2][0] + 150])
    with pytest.raises(ValueError, match=r"a\.tar: ends within a member"):
        read_arrays([path] * 3, *zip(*places, strict=True))
    with pytest.raises(ValueError, match="got none"):
        read_arrays([], [], [])


def test_a_sample_without_its_points_is_named(tmp_path: Path) -> None:
    _shard(tmp_path / "train-000000.tar", [_cloud(0), _cloud(1)])
    rows = [
        {"key": key, "label": "box", "split": "train", "shard": "train-000000.tar", **place}
        for key, place in shard_rows(tmp_path / "train-000000.tar").items()
    ]
    write_manifest(tmp_path, ("box",), rows)
    assert np.array_equal(read_points(read_manifest(tmp_path), "train").points, np.stack([_cloud(0), _cloud(1)]))
    rows[1]["members"] = []
    write_manifest(tmp_path, ("box",), rows)
    with pytest.raises(ValueError, match=r"sample s1 has not one points\.npy"):
        read_points(read_manifest(tmp_path), "train")
