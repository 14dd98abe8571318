"""Shards: what is in them, the same bytes always, and what WebDataset and tarfile read from them."""

import io
import json
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import webdataset
from PIL import Image

from c2p.data.clouds import sample_part
from c2p.data.shards import write_shard
from c2p.data.tars import decode_npy, encode_npy, index_tar, read_range
from c2p.geometry.depth import depth_images, depth_maps
from c2p.geometry.views import view_set

VIEWS = 10
FIELDS = {"json", "points.npy", *(f"{kind}.{view:02d}.png" for kind in ("rgb", "depth") for view in range(VIEWS))}


@pytest.fixture
def shard(made_parts, tmp_path: Path) -> Path:
    write_shard(tmp_path / "s.tar", made_parts.samples, made_parts.params.depth, made_parts.params.render)
    return tmp_path / "s.tar"


def by_tarfile(path: Path) -> dict[str, dict[str, bytes]]:
    """Members by key and field, read by the standard library alone."""
    samples: dict[str, dict[str, bytes]] = {}
    with tarfile.open(path) as file:
        for member in file.getmembers():
            key, field = member.name.split(".", 1)
            samples.setdefault(key, {})[field] = file.extractfile(member).read()
    return samples


def by_webdataset(*paths: Path) -> dict[str, dict[str, bytes]]:
    """The same by WebDataset's own streaming reader."""
    stream = webdataset.WebDataset([str(path) for path in paths], shardshuffle=False)
    return {s["__key__"]: {k: v for k, v in s.items() if not k.startswith("__")} for s in stream}


def test_every_sample_is_whole(made_parts, shard: Path) -> None:
    samples = by_tarfile(shard)
    assert list(samples) == [s.key for s in made_parts.samples], "in the order given"
    assert all(set(fields) == FIELDS for fields in samples.values())
    assert not any("." in key for key in samples)
    for sample in made_parts.samples:
        fields = samples[sample.key]
        assert json.loads(fields["json"]) == sample.meta
        with tarfile.open(sample.rgb) as part:
            for view in range(VIEWS):
                name = f"rgb.{view:02d}.png"
                assert fields[name] == part.extractfile(f"{sample.key}.{name}").read(), "views pass through untouched"


def test_points_are_the_farthest_of_the_cloud(made_parts, shard: Path) -> None:
    for key, fields in by_tarfile(shard).items():
        points = np.load(io.BytesIO(fields["points.npy"]))
        cloud = np.reshape(made_parts.rows[key]["points"], (-1, 3)).astype(np.float64)
        cloud -= cloud.mean(0)
        cloud /= np.sqrt((cloud**2).sum(1)).max()
        distances = np.sqrt(((points[:, None].astype(np.float64) - cloud[None]) ** 2).sum(-1))
        assert points.shape == (64, 3) and points.dtype == np.float32
        assert distances.min(1).max() < 1e-5, "points of the cloud, in the unit sphere"
        assert len(set(distances.argmin(1))) == 64, "each once"
        gaps = np.sqrt(((points[:, None] - points[None]) ** 2).sum(-1)) + 9 * np.eye(64)
        assert distances.min(0).max() <= gaps.min() + 1e-5, "no point left out is farther than the chosen are apart"


def test_depth_maps_are_those_of_the_points(made_parts, shard: Path) -> None:
    """All models at once give what one after the other gave; a map is nearest where a point lies, white elsewhere."""
    samples = by_tarfile(shard)
    points = np.stack([np.load(io.BytesIO(fields["points.npy"])) for fields in samples.values()])
    rotations = torch.as_tensor(view_set("ten").rotations, dtype=torch.float32)
    images = depth_images(depth_maps(torch.from_numpy(points), rotations, made_parts.params.depth))
    for fields, expected in zip(samples.values(), images.numpy(), strict=True):
        for view in range(VIEWS):
            with Image.open(io.BytesIO(fields[f"depth.{view:02d}.png"])) as picture:
                assert (picture.mode, picture.size) == ("L", (16, 16))
                grey = np.asarray(picture)
            assert np.abs(grey / 255 - expected[view, 0]).max() <= 0.5 / 255 + 1e-6
            assert (grey == 255).any() and (grey < 255).any()


def test_same_samples_same_bytes(made_parts, shard: Path, tmp_path: Path) -> None:
    settings = made_parts.params.depth, made_parts.params.render
    threads = torch.get_num_threads()
    torch.set_num_threads(1 if threads > 1 else 2)
    try:
        write_shard(tmp_path / "again.tar", made_parts.samples, *settings)
    finally:
        torch.set_num_threads(threads)
    assert (tmp_path / "again.tar").read_bytes() == shard.read_bytes()
    with tarfile.open(shard) as file:
        assert {m.mtime for m in file.getmembers()} == {0}
    pieces = by_tarfile(shard)
    write_shard(tmp_path / "one.tar", made_parts.samples[3:4], *settings)
    assert by_tarfile(tmp_path / "one.tar") == {made_parts.samples[3].key: pieces[made_parts.samples[3].key]}


def test_points_are_read_anew_when_their_file_changed(made_parts, tmp_path: Path) -> None:
    points = tmp_path / "points.parquet"
    samples = [replace(s, points=str(points)) for s in made_parts.samples[:4]]
    counts = []
    for count in (8, 16):
        sample_part(made_parts.folder / "0.clouds.parquet", count, points)
        write_shard(tmp_path / "s.tar", samples, made_parts.params.depth, made_parts.params.render)
        counts.append({len(decode_npy(f["points.npy"])) for f in by_tarfile(tmp_path / "s.tar").values()})
    assert counts == [{8}, {16}]


def test_webdataset_streams_the_same_samples(make_shards: Callable[[Path], Path], tmp_path: Path) -> None:
    shards = sorted(make_shards(tmp_path / "shards").glob("*.tar"))
    streamed = by_webdataset(*shards)
    expected = {key: fields for shard in shards for key, fields in by_tarfile(shard).items()}
    assert list(streamed) == list(expected) and streamed == expected
    decoded = next(iter(webdataset.WebDataset([str(shards[0])], shardshuffle=False).decode("rgb8")))
    assert decoded["points.npy"].shape == (64, 3) and decoded["rgb.00.png"].shape == (16, 16, 3)
    assert decoded["json"]["label"] == "chair"


def test_the_index_is_what_tarfile_says(shard: Path) -> None:
    data = shard.read_bytes()
    samples = by_tarfile(shard)
    index = index_tar(shard)
    assert list(index) == list(samples)
    for key, members in index.items():
        assert {field: data[offset : offset + size] for field, offset, size in members} == samples[key]
        assert all(read_range(shard, offset, size) == samples[key][field] for field, offset, size in members)


def test_long_keys_and_empty_tars(tmp_path: Path) -> None:
    key = "k" * 140
    for number, format_ in enumerate((tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)):
        with tarfile.open(tmp_path / f"{number}.tar", "w", format=format_) as file:
            info = tarfile.TarInfo(f"{key}.json")
            info.size = 2
            file.addfile(info, io.BytesIO(b"{}"))
        ((field, offset, size),) = index_tar(tmp_path / f"{number}.tar")[key]
        assert field == "json" and read_range(tmp_path / f"{number}.tar", offset, size) == b"{}"
    tarfile.open(tmp_path / "empty.tar", "w").close()
    assert index_tar(tmp_path / "empty.tar") == {}


def test_a_tar_cut_anywhere_is_an_error(shard: Path, tmp_path: Path) -> None:
    """Cut between two members, WebDataset takes it for a shorter one."""
    data = shard.read_bytes()
    members = [m for members in index_tar(shard).values() for m in members]
    after_second = -(-(members[1][1] + members[1][2]) // 512) * 512
    cuts = [0, 100, 512, members[1][1] - 300, members[1][1] + 5, after_second, len(data) // 2, len(data) - 10240]
    cut = tmp_path / "cut.tar"
    for length in cuts:
        cut.write_bytes(data[:length])
        with pytest.raises(ValueError, match="cut short or damaged") as error:
            index_tar(cut)
        assert "\n" not in str(error.value)
    third_sample = members[2 * len(FIELDS)]
    cut.write_bytes(data[: third_sample[1] - 512])
    assert list(by_webdataset(cut)) == list(by_tarfile(shard))[:2], "why it has to be checked"


def test_a_damaged_header_is_an_error(shard: Path, tmp_path: Path) -> None:
    data = bytearray(shard.read_bytes())
    third = index_tar(shard)[next(iter(index_tar(shard)))][2]
    data[third[1] - 512] ^= 0xFF
    (tmp_path / "bad.tar").write_bytes(data)
    with pytest.raises(ValueError, match="cut short or damaged"):
        index_tar(tmp_path / "bad.tar")


def test_reading_past_the_end(shard: Path) -> None:
    with pytest.raises(ValueError, match="ends within a member"):
        read_range(shard, shard.stat().st_size - 10, 20)


def test_arrays_as_bytes() -> None:
    array = np.arange(12, dtype=np.float32).reshape(4, 3)
    assert np.array_equal(decode_npy(encode_npy(array)), array) and encode_npy(array) == encode_npy(array.copy())
    with pytest.raises(ValueError, match="allow_pickle"):
        decode_npy(encode_npy(np.array([{}], dtype=object)))


def test_sampling_leaves_out_unusable_rows(made_parts, tmp_path: Path) -> None:
    sample_part(made_parts.folder / "1.clouds.parquet", 32, tmp_path / "p.parquet")
    rows = pq.read_table(tmp_path / "p.parquet").to_pylist()
    assert [row["key"] for row in rows] == ["m-4", "m-6"]
    assert {len(row["points"]) for row in rows} == {96}
    with pytest.raises(ValueError, match=r"sample\.points: got 201; allowed: up to 200"):
        sample_part(made_parts.folder / "1.clouds.parquet", 201, tmp_path / "p.parquet")
