"""Single clouds from every kind of file, and files that hold none."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import trimesh

from c2p.data.cloudformats import CloudError, load_cloud

CLOUD = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
MANY = np.random.default_rng(1).normal(size=(4, 20, 3)).astype(np.float32)


def npy(values: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, values)
    return file.getvalue()


def npz(**arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def hdf5(**arrays: object) -> bytes:
    file = io.BytesIO()
    with h5py.File(file, "w") as opened:
        for name, values in arrays.items():
            opened[name] = values
    return file.getvalue()


def text(values: np.ndarray, between: str = " ", before: str = "") -> bytes:
    return (before + "\n".join(between.join(f"{x:.9g}" for x in row) for row in values) + "\n").encode()


def ply(values: np.ndarray, encoding: str = "binary") -> bytes:
    data: bytes = trimesh.PointCloud(values).export(file_type="ply", encoding=encoding)
    return data


@pytest.mark.parametrize(
    ("data", "extension", "part"),
    [
        (npy(CLOUD), "npy", ""),
        (npy(CLOUD), ".NPY", ""),
        (npy(np.stack([CLOUD, -CLOUD])), "npy", "0"),
        (npy(np.hstack([CLOUD, -CLOUD])), "npy", ""),
        (npy(np.asfortranarray(CLOUD)), "npy", ""),
        (npz(points=CLOUD), "npz", ""),
        (npz(points=CLOUD, normals=-CLOUD), "npz", "points"),
        (npz(points=np.stack([MANY[0], CLOUD]), label=np.arange(2)), "npz", "points:1"),
        (hdf5(data=np.stack([MANY[0], CLOUD]), label=[0, 1]), "h5", "1"),
        (hdf5(points=CLOUD), "hdf5", "points"),
        (hdf5(points=np.stack([MANY[0], CLOUD])), "h5", "points:1"),
        (text(CLOUD), "xyz", ""),
        (text(CLOUD, ","), "txt", ""),
        (text(np.hstack([CLOUD, CLOUD]), " ; ", "# x y z\n\n"), "txt", ""),
        (text(CLOUD, "\t", "20\n"), "pts", ""),
        (text(CLOUD).replace(b"\n", b"\r\n"), "xyz", ""),
        (b"\xef\xbb\xbf" + text(CLOUD), "xyz", ""),
        (ply(CLOUD), "ply", ""),
        (ply(CLOUD, "ascii"), "ply", ""),
    ],
)
def test_every_kind_gives_the_same_cloud(data: bytes, extension: str, part: str) -> None:
    got = load_cloud(data, extension, part=part)
    assert got.shape == (20, 3) and got.astype(np.float32) == pytest.approx(CLOUD, abs=1e-6)


def test_numbers_keep_their_precision() -> None:
    far = CLOUD.astype(np.float64) + 5e8
    assert load_cloud(npy(far), "npy").tobytes() == far.tobytes()
    assert load_cloud(npy(CLOUD.astype(np.float16)), "npy").dtype == np.float32
    assert load_cloud(npy((100 * CLOUD).astype(np.int16)), "npy").dtype == np.float64


def bomb() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("points.npy", npy(np.zeros((1 << 20, 3))))
    return file.getvalue()


def linked() -> bytes:
    file = io.BytesIO()
    with h5py.File(file, "w") as opened:
        opened["data"] = h5py.ExternalLink("/etc/passwd", "x")
    return file.getvalue()


@pytest.mark.parametrize(
    ("make", "extension", "part", "said"),
    [
        (lambda: npy(MANY), "npy", "", "4 clouds; name one: FILE:0 to FILE:3"),
        (lambda: npy(MANY), "npy", "4", "no cloud 4; allowed: 0 to 3"),
        (lambda: npy(CLOUD), "npy", "0", "not (N, P, 3)"),
        (lambda: npy(CLOUD), "npy", "points", "no part 'points'"),
        (lambda: npy(CLOUD.T), "npy", "", "shape (3, 20)"),
        (lambda: npy(CLOUD[0]), "npy", "", "shape (3,)"),
        (lambda: npy(CLOUD[:0]), "npy", "", "0 points"),
        (lambda: npy(CLOUD * np.nan), "npy", "", "20 of 20 points are not finite; remove them"),
        (lambda: npy(np.where(CLOUD > 2, np.inf, CLOUD) + [[np.inf, 0, 0]] * 20), "npy", "", "not finite"),
        (lambda: npy(CLOUD * 0), "npy", "", "all 20 points lie in one place"),
        (lambda: npy(CLOUD.astype(str)), "npy", "", "whole numbers and floats"),
        (lambda: npy(CLOUD > 0), "npy", "", "holds bool"),
        (lambda: npy(CLOUD)[:-9], "npy", "", "not an .npy file"),
        (lambda: npy(CLOUD).replace(b"(20, 3)", b"(9999999, 9999999)"), "npy", "", "cut short"),
        (lambda: npy(np.array([{}, 3], dtype=object)), "npy", "", "holds object"),
        (lambda: b"", "npy", "", "npy"),
        (lambda: b"\x93NUMPY", "npy", "", "npy"),
        (lambda: npz(points=CLOUD, normals=CLOUD), "npz", "", "2 arrays; name one: FILE:normals"),
        (lambda: npz(points=CLOUD), "npz", "data", "no array 'data'; found: points"),
        (lambda: npz(), "npz", "", "0 arrays"),
        (lambda: npz(points=CLOUD)[:-30], "npz", "", "not an .npz file"),
        (lambda: hdf5(points=CLOUD), "h5", "", "no dataset 'data'; found: points; name one: FILE:NAME"),
        (lambda: hdf5(), "h5", "", "found: none"),
        (lambda: hdf5(data=MANY), "h5", "", "4 clouds; name one"),
        (lambda: hdf5(data=MANY), "h5", "7", "no cloud 7; allowed: 0 to 3"),
        (lambda: hdf5(data="text"), "h5", "0", "allowed"),
        (linked, "h5", "0", "link to elsewhere"),
        (lambda: hdf5(data=MANY)[:900], "h5", "0", "not a readable HDF5 file"),
        (lambda: b"1 2 3\n4 5\n", "xyz", "", "not a text of numbers"),
        (lambda: b"C 1 2 3\n", "xyz", "", "not a text of numbers"),
        (lambda: b"", "xyz", "", "allowed"),
        (lambda: b"\xff\xfe\x00", "txt", "", "not a text of numbers"),
        (lambda: b"3\n1 2 3\n4 5 6\n", "pts", "", "2 points, where the first line announces 3"),
        (lambda: b"1 2\n3 4\n", "txt", "", "shape (2, 2)"),
        (lambda: ply(CLOUD)[:60], "ply", "", "PLY"),
        (lambda: trimesh.creation.box().export(file_type="ply"), "ply", "", "a mesh, no cloud"),
        (lambda: b"", "stp", "", "allowed: npy, npz"),
    ],
)
def test_what_is_no_cloud_is_told_in_a_few_words(
    make: Callable[[], bytes], extension: str, part: str, said: str
) -> None:
    with pytest.raises(CloudError) as caught:
        load_cloud(make(), extension, part=part)
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_what_is_too_large_is_not_unpacked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("c2p.data.cloudformats.MAX_BYTES", 1 << 20)
    with pytest.raises(CloudError, match="allowed: up to 1048576"):
        load_cloud(bomb(), "npz")
    monkeypatch.setattr("c2p.data.cloudfile.MAX_BYTES", 1000)
    with pytest.raises(CloudError, match="allowed: up to 1000"):
        load_cloud(hdf5(data=np.zeros((50, 3))), "h5")
    assert len(load_cloud(hdf5(data=MANY), "h5", part="2")) == 20, "one cloud of many is read alone"
    monkeypatch.setattr("c2p.data.cloudformats.MAX_POINTS", 19)
    with pytest.raises(CloudError, match="20 points; allowed: 1 to 19"):
        load_cloud(npy(CLOUD), "npy")
