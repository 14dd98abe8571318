"""ScanObjectNN's files as they are handed out, and as somebody with bad intentions would write them."""

import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from c2p.data.scanobjectnn import ARCHIVE, VARIANTS, read_split

VARIANT = "scanobjectnn_obj_only"
NAME = VARIANTS[VARIANT].format("test")
POINTS = np.random.default_rng(0).normal(size=(3, 8, 3)).astype(np.float32)
LABELS = np.array([0, 14, 3])


def write(path: Path, **datasets: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for name, values in ({"data": POINTS, "label": LABELS} | datasets).items():
            if callable(values):
                values(file)
            else:
                file[name] = values
    return path


def refused(folder: Path, said: str) -> None:
    with pytest.raises(ValueError, match=said) as error:
        read_split(folder, VARIANT, "test")
    assert "\n" not in str(error.value) and "objectdataset.h5" in str(error.value)


@pytest.mark.parametrize("root", ["h5_files/", "", "a/b/"])
def test_the_archive_as_a_whole_is_read_without_unpacking(tmp_path: Path, root: str) -> None:
    other = write(tmp_path / "other.h5", data=POINTS + 1)
    made = write(tmp_path / "made.h5")
    with zipfile.ZipFile(tmp_path / ARCHIVE, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(made, root + NAME)
        archive.write(other, root + NAME.replace("main_split_nobg", "main_split"))
        archive.writestr(root + "main_split_nobg/readme.txt", "about")
    clouds, labels = read_split(tmp_path, VARIANT, "test")
    assert np.array_equal(clouds, POINTS) and labels.tolist() == LABELS.tolist()
    assert np.array_equal(read_split(tmp_path, "scanobjectnn_obj_bg", "test")[0], POINTS + 1)
    assert sorted(p.name for p in tmp_path.iterdir()) == [ARCHIVE, "made.h5", "other.h5"]
    write(tmp_path / NAME, data=POINTS + 2)
    assert np.array_equal(read_split(tmp_path, VARIANT, "test")[0], POINTS + 2), "a file of its own comes first"


def test_an_archive_without_the_file_or_with_two(tmp_path: Path) -> None:
    made = write(tmp_path / "made.h5")
    for names, count in (([], 0), ([f"a/{NAME}", f"b/{NAME}"], 2)):
        with zipfile.ZipFile(tmp_path / ARCHIVE, "w") as archive:
            archive.writestr("other.txt", "")
            for name in names:
                archive.write(made, name)
        with pytest.raises(ValueError, match=f"{count} members end in main_split_nobg"):
            read_split(tmp_path, VARIANT, "test")


def test_broken_archives_are_one_line(tmp_path: Path) -> None:
    (tmp_path / ARCHIVE).write_bytes(b"PK\3\4 no zip")
    with pytest.raises(ValueError, match="not a readable zip") as error:
        read_split(tmp_path, VARIANT, "test")
    assert "\n" not in str(error.value)
    with zipfile.ZipFile(tmp_path / ARCHIVE, "w") as archive:
        archive.writestr(NAME, b"\x89HDF\r\n\x1a\n and nothing more")
    with pytest.raises(ValueError, match="not a readable HDF5"):
        read_split(tmp_path, VARIANT, "test")


def virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((3, 8, 3), "f4")
    layout[:] = h5py.VirtualSource(Path(file.filename).parent.parent / "secret.h5", "data", (3, 8, 3))
    file.create_virtual_dataset("data", layout)


def external(file: h5py.File) -> None:
    place = Path(file.filename).parent.parent / "secret.bin"
    file.create_dataset("data", (3, 8, 3), "f4", external=[(str(place), 0, POINTS.nbytes)])


def vlen(file: h5py.File) -> None:
    dataset = file.create_dataset("data", (3,), h5py.vlen_dtype(np.float32))
    dataset[0] = [1, 2]


def group(file: h5py.File) -> None:
    file.create_group("data")["inner"] = POINTS


def reference(file: h5py.File) -> None:
    file["other"] = POINTS
    file.create_dataset("data", (1,), h5py.ref_dtype)[0] = file["other"].ref


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (h5py.ExternalLink("../secret.h5", "/data"), "link to elsewhere"),
        (h5py.ExternalLink("/absent.h5", "/data"), "link to elsewhere"),
        (h5py.SoftLink("/label"), "link to elsewhere"),
        (h5py.SoftLink("/data"), "link to elsewhere"),
        (virtual, "values in other files"),
        (external, "values in other files"),
        (group, "no dataset of numbers"),
        (h5py.Empty("f4"), "no dataset of numbers"),
        (np.array([b"cos\nsystem\n(S'id'\ntR."] * 3), "allowed: whole numbers and floats"),
        (vlen, "allowed: whole numbers and floats"),
        (reference, "allowed: whole numbers and floats"),
        (np.array(["a", "b"], h5py.string_dtype()), "allowed: whole numbers and floats"),
        (np.zeros(3, [("x", "f4"), ("y", "f4")]), "allowed: whole numbers and floats"),
        (np.zeros((3, 8, 3), complex), "allowed: whole numbers and floats"),
        (np.zeros((3, 8, 3), bool), "allowed: whole numbers and floats"),
    ],
)
def test_only_numbers_of_the_file_itself_are_read(tmp_path: Path, data: Any, said: str) -> None:
    write(tmp_path / "secret.h5")
    (tmp_path / "secret.bin").write_bytes(POINTS.tobytes())
    write(tmp_path / NAME, data=data)
    refused(tmp_path, said)


@pytest.mark.parametrize(
    ("label", "said"),
    [
        (np.array([0.5, 1, 2]), "not whole numbers"),
        (np.array([0, np.nan, 2]), "not whole numbers"),
        (np.array([0, np.inf, 2]), "not whole numbers"),
        (np.array([0, 1, 15]), "labels 0 to 15; allowed: 0 to 14"),
        (np.array([2**63, 1, 2], np.uint64), "labels"),
        (np.array([b"x", b"y", b"z"]), "whole numbers and floats"),
        (h5py.ExternalLink("../secret.h5", "/label"), "link to elsewhere"),
    ],
)
def test_labels_with_faults(tmp_path: Path, label: Any, said: str) -> None:
    write(tmp_path / "secret.h5")
    write(tmp_path / NAME, label=label)
    refused(tmp_path, said)


def test_floats_that_are_whole_do_as_labels(tmp_path: Path) -> None:
    write(tmp_path / NAME, label=LABELS.astype(np.float32)[:, None])
    assert read_split(tmp_path, VARIANT, "test")[1].tolist() == LABELS.tolist()


def test_a_dataset_that_swells_is_not_read(tmp_path: Path) -> None:
    """A chunked dataset of 24 TB that nobody wrote takes a few hundred bytes."""

    def swelling(file: h5py.File) -> None:
        file.create_dataset("data", (10**9, 2048, 3), "f4", chunks=(1, 2048, 3), compression="gzip")

    path = write(tmp_path / NAME, data=swelling)
    assert path.stat().st_size < 100_000
    refused(tmp_path, "has 24576000000000 bytes; allowed")
