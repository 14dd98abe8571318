"""Labelled clouds of one's own in h5 and npz: what is read, and what is wrong with a file in one line."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from c2p.data.cloudfile import MAX_BYTES, read_arrays
from c2p.data.cloudpack import take_clouds
from c2p.data.cloudset import read_cloud_set, title_of

POINTS = np.random.default_rng(0).normal(size=(4, 8, 3)).astype(np.float32)
NAMES = ["mug", "big chair"]
TRAIN: dict[str, Any] = {"data": POINTS, "label": np.array([0, 1, 1, 0]), "label_names": NAMES}
TEST: dict[str, Any] = {"data": POINTS[:2] + 1, "label": np.array([1, 0]), "label_names": NAMES}
BOTH: dict[str, Any] = TRAIN | {"split": ["train", "test", "train", "test"]}

Write = Callable[[Path, dict[str, Any]], Path]


def write_h5(path: Path, arrays: dict[str, Any]) -> Path:
    with h5py.File(path.with_suffix(".h5"), "w") as file:
        for name, values in arrays.items():
            file[name] = values
    return path.with_suffix(".h5")


def write_npz(path: Path, arrays: dict[str, Any]) -> Path:
    np.savez_compressed(path.with_suffix(".npz"), **{name: np.asarray(values) for name, values in arrays.items()})
    return path.with_suffix(".npz")


@pytest.fixture(params=[write_h5, write_npz], ids=["h5", "npz"])
def write(request: pytest.FixtureRequest) -> Write:
    return request.param


def taken(tmp_path: Path, write: Write, *files: dict[str, Any]) -> Path:
    names = ("mine_train", "mine_test") if len(files) == 2 else ("mine",)
    return take_clouds([write(tmp_path / n, f) for n, f in zip(names, files, strict=True)], tmp_path / "clouds")


def refused(folder: Path, said: str, classes: tuple[str, ...] = ()) -> None:
    with pytest.raises(ValueError, match=said) as error:
        read_cloud_set(folder, classes)
    assert "\n" not in str(error.value) and "clouds" in str(error.value)


def test_two_files(tmp_path: Path, write: Write) -> None:
    folder = taken(tmp_path, write, TRAIN, TEST)
    classes, splits = read_cloud_set(folder, ())
    assert classes == ("mug", "big chair") and title_of(folder) == "mine"
    assert np.array_equal(splits["train"].points, POINTS) and splits["train"].labels.tolist() == [0, 1, 1, 0]
    assert np.array_equal(splits["test"].points, POINTS[:2] + 1) and splits["test"].labels.dtype == np.int64
    assert splits["test"].keys == ("test-00000", "test-00001")
    assert read_cloud_set(folder, ("a", "b"))[0] == ("a", "b"), "parameters come before the files' names"


def test_one_file_with_a_split(tmp_path: Path, write: Write) -> None:
    folder = taken(tmp_path, write, BOTH | {"key": ["k", "l", "m", "n"], "label": np.array([[0.0], [0], [1], [1]])})
    _, splits = read_cloud_set(folder, ())
    assert title_of(folder) == "mine" and splits["train"].keys == ("k", "m") and splits["test"].keys == ("l", "n")
    assert np.array_equal(splits["test"].points, POINTS[[1, 3]]) and splits["test"].labels.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("train", "test", "said"),
    [
        ({"label": None}, {}, "no dataset 'label'; found: data, label_names"),
        ({"data": None}, {}, "no dataset 'data'"),
        ({"data": POINTS[:3]}, {}, r"data \(3, 8, 3\) and label \(4,\); allowed: \(N, P, 3\)"),
        ({"data": POINTS[..., :2]}, {}, r"data \(4, 8, 2\)"),
        ({"data": np.where(POINTS > 2, np.nan, POINTS) * np.inf}, {}, "not finite"),
        ({"data": POINTS.astype(float) * 1e39}, {}, "not finite"),
        ({"data": ["a"] * 4}, {}, "allowed: whole numbers and floats"),
        ({"label": np.array([0, 1, 1, 2])}, {}, "labels 0 to 2; allowed: 0 to 1, the 2 class names"),
        ({"label": np.array([0, 1, 1, -1])}, {}, "labels -1 to 1"),
        ({"label": np.array([0, 1, 1, 0.5])}, {}, "not whole numbers"),
        ({}, {"label": np.array([1, 1])}, r"class 'mug' \(label 0\) has no test object"),
        ({"label": np.array([1, 1, 1, 1])}, {}, r"class 'mug' \(label 0\) has no train object"),
        ({"data": POINTS[:0], "label": np.array([], int)}, {}, "N > 0"),
        ({}, {"label_names": ["mug", "table"]}, "other label_names than mine_train"),
        ({"label_names": None}, {"label_names": None}, "no dataset 'label_names'; name the classes"),
        ({"label_names": ["mug", "mug"]}, {"label_names": None}, "allowed: names that differ"),
        ({"label_names": np.array([1, 2])}, {}, "allowed: a list of texts"),
        ({"key": ["a", "b", "c"]}, {}, "3 keys for 4 objects"),
        ({"key": ["a", "b", "c", "b"]}, {}, "two objects share the key 'b'"),
        ({"key": ["a", "b", "c", "test-00001"]}, {}, "two objects share the key 'test-00001'"),
    ],
)
def test_files_with_faults(tmp_path: Path, write: Write, train: dict, test: dict, said: str) -> None:
    files = [
        {name: values for name, values in (of | changed).items() if values is not None}
        for of, changed in ((TRAIN, train), (TEST, test))
    ]
    refused(taken(tmp_path, write, *files), said)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"split": ["train", "test", "train", "val"]}, r"among them \['val'\]; allowed: one entry an object"),
        ({"split": ["train"] * 3}, "split of 3 entries for 4 objects"),
        ({"split": ["train"] * 4}, "no object in the test split"),
        ({"split": np.array([0, 1, 0, 1])}, "allowed: a list of texts"),
        ({"split": ["train", "test", "test", "train"]}, "class 'big chair' .* has no train object"),
    ],
)
def test_splits_with_faults(tmp_path: Path, write: Write, changed: dict, said: str) -> None:
    refused(taken(tmp_path, write, BOTH | {"label": np.array([0, 1, 1, 0])} | changed), said)


def test_one_file_without_a_split(tmp_path: Path, write: Write) -> None:
    refused(taken(tmp_path, write, TRAIN), "no dataset 'split'; allowed: one file with `split`")


def test_more_class_names_than_labels(tmp_path: Path, write: Write) -> None:
    refused(taken(tmp_path, write, TRAIN, TEST), r"class 'c' \(label 2\) has no train object", ("a", "b", "c"))


def test_absent_files(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"download\.clouds: got .*absent\.h5'; no such file; set it with"):
        take_clouds([tmp_path / "absent.h5"], tmp_path / "clouds")
    refused(tmp_path / "clouds", "no files of clouds; run the download stage")


def test_files_that_are_none(tmp_path: Path, write: Write) -> None:
    whole = write(tmp_path / "a", TRAIN)
    data = whole.read_bytes()
    for number, broken in enumerate((b"", b"neither", data[: len(data) // 2])):
        path = whole.with_name(f"{number}{whole.suffix}")
        path.write_bytes(broken)
        with pytest.raises(ValueError, match=f"{number}{whole.suffix}: not a readable") as error:
            read_arrays(path)
        assert "\n" not in str(error.value)
    other = whole.with_suffix(".csv")
    other.write_bytes(data)
    with pytest.raises(ValueError, match=r"clouds in a \.csv file; allowed: \.h5, \.hdf5, \.npz"):
        read_arrays(other)


def npz_of(path: Path, data: bytes) -> Path:
    label = io.BytesIO()
    np.save(label, np.array([0]))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("data.npy", data)
        archive.writestr("label.npy", label.getvalue())
    return path


def test_pickles_are_not_opened(tmp_path: Path) -> None:
    pickled = io.BytesIO()
    np.save(pickled, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match=r"'data' holds object of shape .* allowed: whole numbers and floats"):
        read_arrays(npz_of(tmp_path / "a.npz", pickled.getvalue()))


def test_an_array_that_swells_is_not_read(tmp_path: Path) -> None:
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "<f4", "fortran_order": False, "shape": (10**9, 2048, 3)})
    path = npz_of(tmp_path / "a.npz", head.getvalue() + bytes(10_000_000))
    assert path.stat().st_size < 100_000
    with pytest.raises(ValueError, match=f"has 24576000000000 bytes; allowed: up to {MAX_BYTES}"):
        read_arrays(path)


@pytest.mark.parametrize("data", [b"", b"no array", b"\x93NUMPY\x09\x00", b"\x93NUMPY\x01\x00\xff\xff{'a'"])
def test_members_that_are_no_arrays(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(ValueError, match="'data' is no array") as error:
        read_arrays(npz_of(tmp_path / "a.npz", data))
    assert "\n" not in str(error.value)


def test_an_array_cut_short(tmp_path: Path) -> None:
    whole = io.BytesIO()
    np.save(whole, POINTS)
    with pytest.raises(ValueError, match="'data' can't be read"):
        read_arrays(npz_of(tmp_path / "a.npz", whole.getvalue()[:-7]))
