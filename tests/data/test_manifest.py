"""The manifest: its places are the tars', damage of any kind is found, and splits are read by offset."""

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from c2p.data.manifest import (
    FILE,
    read_manifest,
    read_pictures,
    read_points,
    read_rgb,
    summary,
    verify,
    write_manifest,
)

Make = Callable[[Path], Path]


@pytest.fixture
def shards(make_shards: Make, tmp_path: Path) -> Path:
    return make_shards(tmp_path / "shards")


def test_places_are_those_of_the_tar(shards: Path) -> None:
    manifest = read_manifest(shards)
    assert manifest.classes == ("chair", "mug")
    for row in manifest.split("train") + manifest.split("val"):
        with tarfile.open(shards / row["shard"]) as file:
            own = [m for m in file.getmembers() if m.name.split(".")[0] == row["key"]]
            assert [(m["name"], m["offset"], m["size"]) for m in manifest.members(row)] == [
                (m.name.split(".", 1)[1], m.offset_data, m.size) for m in own
            ]
    assert len(manifest.members(manifest.split("val")[0])) == 22


def test_rows_by_split_and_the_rejected(shards: Path) -> None:
    manifest = read_manifest(shards)
    assert [row["key"] for row in manifest.split("train")] == ["m-0", "m-1", "m-2", "m-3", "m-4"]
    assert [row["key"] for row in manifest.split("val")] == ["m-6"]
    (rejected,) = manifest.rejected
    assert (rejected["key"], rejected["reason"]) == ("m-5", "no faces") and manifest.members(rejected) == []
    assert manifest.split("train")[0]["captions"] == ["a m-0"]
    assert summary(manifest) == {
        "train_samples": 5,
        "val_samples": 1,
        "classes": 2,
        "rejected": 1,
        "reject_rate": round(1 / 7, 6),
    }


def test_same_shards_same_manifest(make_shards: Make, tmp_path: Path) -> None:
    one, two = (make_shards(tmp_path / name) for name in ("one", "two"))
    assert {p.name: p.read_bytes() for p in one.iterdir()} == {p.name: p.read_bytes() for p in two.iterdir()}


def test_points_and_pictures_are_read_by_offset(shards: Path) -> None:
    manifest = read_manifest(shards)
    train = read_points(manifest, "train")
    assert train.keys == ("m-0", "m-1", "m-2", "m-3", "m-4") and train.labels.tolist() == [0, 1, 0, 1, 0]
    views = list(read_rgb(manifest, manifest.split("train")))
    with tarfile.open(shards / "train-000000.tar") as file:
        for index, key in enumerate(train.keys):
            expected = np.load(io.BytesIO(file.extractfile(f"{key}.points.npy").read()))
            assert np.array_equal(train.points[index], expected)
            pictures = [Image.open(io.BytesIO(file.extractfile(f"{key}.rgb.{v:02d}.png").read())) for v in range(10)]
            assert np.array_equal(views[index], np.stack([np.asarray(p) for p in pictures]))
    depth = read_pictures(manifest, manifest.split("val")[0], "depth")
    assert depth.shape == (10, 16, 16, 3) and (depth[..., 0] == depth[..., 2]).all()
    none = read_points(manifest, "test")
    assert len(none) == 0 and none.points.shape[-1] == 3


def test_sound_shards_verify(shards: Path) -> None:
    assert verify(read_manifest(shards)) == []


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9])
def test_a_shard_cut_short_is_found(shards: Path, share: float) -> None:
    manifest = read_manifest(shards)
    tar = shards / "train-000000.tar"
    data = tar.read_bytes()
    length = int(len(data) * share)
    tar.write_bytes(data[:length])
    wrong = verify(manifest)
    lost = sum(any(m["offset"] + m["size"] > length for m in manifest.members(r)) for r in manifest.split("train"))
    assert "cut short or damaged" in wrong[0] and "train-000000.tar" in wrong[0]
    assert sum("differs from the manifest" in line for line in wrong) == lost
    assert not any("m-6" in line or "\n" in line for line in wrong)
    if lost == 5:
        with pytest.raises(ValueError, match="ends within a member"):
            read_points(manifest, "train")


def test_a_shard_without_its_end_marks_is_found(shards: Path) -> None:
    tar = shards / "val-000000.tar"
    manifest = read_manifest(shards)
    last = manifest.members(manifest.split("val")[0])[-1]
    tar.write_bytes(tar.read_bytes()[: -(-(last["offset"] + last["size"]) // 512) * 512])
    (line,) = verify(manifest)
    assert "val-000000.tar: cut short" in line


@pytest.mark.parametrize("place", ["rgb.03.png", "points.npy", "json", "header"])
def test_a_flipped_bit_is_found(shards: Path, place: str) -> None:
    manifest = read_manifest(shards)
    row = manifest.split("train")[2]
    members = {m["name"]: m for m in manifest.members(row)}
    tar = shards / "train-000000.tar"
    data = bytearray(tar.read_bytes())
    data[members["json"]["offset"] - 500 if place == "header" else members[place]["offset"]] ^= 1
    tar.write_bytes(data)
    wrong = verify(manifest)
    assert wrong and all("train-000000.tar" in line for line in wrong)
    if place != "header":
        assert wrong == ["train-000000.tar: sample m-2 differs from the manifest"]


def test_missing_foreign_and_swapped_shards_are_found(shards: Path) -> None:
    manifest = read_manifest(shards)
    val, train = (shards / f"{split}-000000.tar" for split in ("val", "train"))
    (shards / "val-000001.tar").write_bytes(val.read_bytes())
    assert verify(manifest) == ["val-000001.tar: not in the manifest"]
    (shards / "val-000001.tar").unlink()
    val.write_bytes(train.read_bytes())
    wrong = verify(manifest)
    assert wrong[0] == "val-000000.tar: sample m-6 differs from the manifest"
    assert wrong[1:] == [f"val-000000.tar: sample m-{i} is not in the manifest" for i in range(5)]
    val.unlink()
    assert verify(manifest) == ["val-000000.tar: missing, 1 samples lost"]


def test_files_that_are_no_manifest(shards: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no such manifest; build the shards"):
        read_manifest(tmp_path)
    (shards / FILE).write_bytes(b"something else")
    with pytest.raises(ValueError, match="not a Parquet file"):
        read_manifest(shards)
    pq.write_table(pa.table({"key": ["a"]}), shards / FILE)
    with pytest.raises(ValueError, match="not a manifest of this version"):
        read_manifest(shards)


def test_a_manifest_of_rejected_models_only(tmp_path: Path) -> None:
    row = {"key": "a", "label": "chair", "split": "train", "shard": "", "reason": "no faces"}
    manifest = read_manifest(write_manifest(tmp_path, ["chair"], [row]).parent)
    assert manifest.split("train") == [] and len(manifest.rejected) == 1 and verify(manifest) == []
