"""The data stages on small collections: the same bytes on any map, bad meshes, and what the user gets wrong."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml

from c2p.data import toy
from c2p.data.archive import ArchiveError
from c2p.data.benchmarks import draw_counts, read_benchmark, read_draw
from c2p.data.clouds import farthest_clouds
from c2p.data.manifest import read_manifest, read_points, verify
from c2p.data.resampling import cloud_draws, mesh_draws
from c2p.data.scanobjectnn import VARIANTS
from c2p.data.sources import Source, list_source, write_sources
from c2p.data.toy.shapenet_archive import model_files
from c2p.geometry.meshes import MeshError
from c2p.params import load
from tasks.shard_map import Map, WorkerPool, serial
from tasks.stage import Call, exit_code, run_stage

ROOT = Path(__file__).resolve().parents[2]
SCANS, SCANS_PERTURBED = 581, 2882
"""Test objects of ScanObjectNN's official files."""
STAGES = ("download", "render", "sample", "shards", "benchmarks")
SMALL = {
    "render": {"size": 16, "supersample": 1, "cloud_points": 128, "part_size": 4, "max_faces": 10_000},
    "sample": {"points": 32},
    "depth": {"size": 16},
    "shards": {"samples_per_shard": 5, "validation_share": 0.3},
}
BAD = {
    "no_faces": b"OFF\n3 0 0\n0 0 0\n1 0 0\n0 1 0\n",
    "nan": b"OFF\n3 1 0\n0 0 nan\n1 0 0\n0 1 0\n3 0 1 2\n",
    "out_of_range": b"OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 7\n",
    "broken_member": b"OFF THAT BREAKS\n",
}


def box(width: float, height: float, depth: float) -> bytes:
    corners = [(x * width, y * height, z * depth) for x in (0, 1) for y in (0, 1) for z in (0, 1)]
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    lines = ["OFF", "8 6 0", *(" ".join(map(str, c)) for c in corners), *(f"4 {a} {b} {c} {d}" for a, b, c, d in quads)]
    return "\n".join(lines).encode() + b"\n"


def good_members() -> dict[str, bytes]:
    """Three classes of boxes; one name holds a dot and a blank."""
    members = {}
    for number, label in enumerate(("flat_box", "cube", "rod")):
        for split, count in (("train", 5), ("test", 2)):
            for index in range(count):
                name = f"{label}.{index} x"
                members[f"{label}/{split}/{name}.off"] = box(1 + number, 1 + 0.1 * index, 1 + number * number)
    return members


def write_zip(path: Path, members: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as file:
        for name, data in sorted(members.items()):
            file.writestr(zipfile.ZipInfo(name), data)
    data = bytearray(path.read_bytes())
    place = data.find(b"OFF THAT BREAKS")
    if place >= 0:
        data[place + 5] ^= 0xFF
        path.write_bytes(data)
    return path


def set_params(folder: Path, **sections: dict[str, Any]) -> None:
    params = yaml.safe_load((folder / "params.yaml").read_text())
    for section, values in sections.items():
        assert set(values) <= set(params[section])
        params[section] |= values
    (folder / "params.yaml").write_text(yaml.safe_dump(params))


def make_project(folder: Path, members: dict[str, bytes] | None = None) -> Path:
    """A folder with tiny parameters of the profile `meshes` and an archive of meshes beside it."""
    archive = write_zip(folder / "given" / "mine.zip", good_members() if members is None else members)
    shutil.copyfile(ROOT / "profiles" / "meshes.yaml", folder / "params.yaml")
    set_params(folder, download={"meshes": str(archive)}, **SMALL)
    return folder


def run(folder: Path, *stages: str, map_: Map = serial) -> None:
    for stage in stages:
        run_stage(Call(stage), root=folder, map_=map_)


def contents(folder: Path) -> dict[str, bytes]:
    files = [p for top in ("data", "metrics") for p in sorted((folder / top).rglob("*")) if p.is_file()]
    return {str(p.relative_to(folder)): p.read_bytes() for p in files}


def pieces(folder: Path) -> dict[str, int]:
    """When each piece of the store was made."""
    store = folder / ".c2p" / "store"
    return {str(p.relative_to(store)): p.stat().st_mtime_ns for p in store.rglob("*") if p.is_file()}


def cloud_rows(folder: Path) -> list[dict[str, Any]]:
    paths = sorted((folder / "data/clouds").glob("*.parquet"))
    return [row for path in paths for row in pq.read_table(path).to_pylist()]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sound project after all data stages."""
    folder = make_project(tmp_path_factory.mktemp("done"))
    run(folder, *STAGES)
    return folder


@pytest.fixture
def project(done: Path, tmp_path: Path) -> Path:
    """A copy of `done` to spoil."""
    shutil.copytree(done, tmp_path / "p")
    set_params(tmp_path / "p", download={"meshes": str(tmp_path / "p/given/mine.zip")})
    return tmp_path / "p"


def test_workers_and_a_single_process_leave_the_same_bytes(done: Path, tmp_path: Path) -> None:
    other = make_project(tmp_path / "a longer name of another folder")
    with WorkerPool(2) as pool:
        run(other, *STAGES, map_=pool.map)
    assert contents(other) == contents(done)


def test_no_file_names_the_machine(done: Path) -> None:
    found = [name for name, data in contents(done).items() if str(done).encode() in data]
    assert found == []


def test_a_second_run_makes_nothing_new(project: Path) -> None:
    before, made = contents(project), pieces(project)
    run(project, *STAGES)
    assert contents(project) == before and pieces(project) == made


def test_every_training_mesh_is_a_sample(done: Path) -> None:
    manifest = read_manifest(done / "data/shards")
    assert verify(manifest) == [] and manifest.classes == ("cube", "flat box", "rod")
    keys = {split: [row["key"] for row in manifest.split(split)] for split in ("train", "val")}
    assert len(keys["train"]) == 9 and len(keys["val"]) == 6
    expected = {f"{c}-train-{c}_{i}_x" for c in ("cube", "flat_box", "rod") for i in range(5)}
    assert set(keys["train"]) | set(keys["val"]) == expected, "keys hold no dot and no blank"
    shards = sorted(p.name for p in (done / "data/shards").glob("*.tar"))
    assert shards == ["train-000000.tar", "train-000001.tar", "val-000000.tar", "val-000001.tar"]
    assert json.loads((done / "metrics/shards.json").read_text())["train_samples"] == 9
    assert json.loads((done / "metrics/render.json").read_text()) == {"models": 15, "rejected": 0, "reject_rate": 0}


def test_a_sample_says_where_it_comes_from(done: Path) -> None:
    with tarfile.open(done / "data/shards/train-000000.tar") as file:
        name = next(n for n in file.getnames() if n.endswith(".json"))
        meta = json.load(file.extractfile(name))
    archive, member = meta["source"].split(":")
    with zipfile.ZipFile(done / "data/raw/meshes" / archive) as raw:
        data = raw.read(member)
    assert meta["sha256"] == hashlib.sha256(data).hexdigest() and meta["faces"] == 12
    vertices = np.array([line.split() for line in data.decode().splitlines()[2:10]], dtype=float)
    assert np.allclose(meta["normalisation"]["centre"], vertices.mean(0))
    assert np.isclose(meta["normalisation"]["scale"], np.linalg.norm(vertices - vertices.mean(0), axis=1).max())
    assert meta["scene"]["renderer"]["name"] == "raster" and meta["scene"]["renderer"]["version"] != "unknown"


def test_benchmarks_hold_every_object(done: Path) -> None:
    benchmark = read_benchmark(done / "data/benchmarks/meshes.parquet")
    assert benchmark.name == "mine" and benchmark.classes == ("cube", "flat box", "rod")
    assert np.bincount(benchmark.train.labels).tolist() == [5] * 3
    assert np.bincount(benchmark.test.labels).tolist() == [2] * 3
    names = [benchmark.classes[label].replace(" ", "_") for label in benchmark.test.labels]
    assert [key.split("-")[0] for key in benchmark.test.keys] == names
    validation = read_benchmark(done / "data/benchmarks/validation.parquet")
    points = read_points(read_manifest(done / "data/shards"), "val")
    assert validation.test.keys == points.keys and np.array_equal(validation.test.points, points.points)


def test_changed_points_reach_shards_within_one_process(project: Path) -> None:
    set_params(project, sample={"points": 16})
    run(project, "sample", "shards")
    assert read_points(read_manifest(project / "data/shards"), "train").points.shape == (9, 16, 3)
    set_params(project, sample={"points": 32})
    run(project, "sample", "shards")
    assert read_points(read_manifest(project / "data/shards"), "train").points.shape == (9, 32, 3)


def test_a_replaced_archive_is_read_anew_within_one_process(project: Path) -> None:
    members = good_members() | {"cube/train/another.off": box(1, 2, 3)}
    write_zip(project / "given/mine.zip", members)
    run(project, "download", "render")
    assert len(cloud_rows(project)) == 16


def test_fewer_parts_leave_no_old_ones(project: Path) -> None:
    set_params(project, render={"part_size": 100}, shards={"samples_per_shard": 100})
    run(project, "render", "sample", "shards")
    for folder in ("rgb", "clouds", "points"):
        assert len(list((project / "data" / folder).iterdir())) == 1
    assert sorted(p.name for p in (project / "data/shards").iterdir()) == [
        "manifest.parquet",
        "train-000000.tar",
        "val-000000.tar",
    ]


@pytest.fixture(scope="module")
def spoilt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with four bad training meshes of nineteen, after all data stages."""
    members = good_members() | {f"cube/train/{name}.off": data for name, data in BAD.items()}
    folder = make_project(tmp_path_factory.mktemp("spoilt"), members)
    set_params(folder, render={"max_reject_rate": 0.25})
    run(folder, *STAGES)
    return folder


def test_bad_meshes_are_rows_with_reasons_and_the_others_are_kept(spoilt: Path, done: Path) -> None:
    reasons = {row["key"]: row["reason"] for row in cloud_rows(spoilt) if row["reason"]}
    assert set(reasons) == {f"cube-train-{name}" for name in BAD}
    said = {"no_faces": "no faces", "nan": "non-finite", "out_of_range": "out of range", "broken_member": "Bad CRC-32"}
    assert all(text in reasons[f"cube-train-{name}"] for name, text in said.items())
    metrics = json.loads((spoilt / "metrics/render.json").read_text())
    assert metrics == {"models": 19, "rejected": 4, "reject_rate": round(4 / 19, 6)}
    manifest = read_manifest(spoilt / "data/shards")
    assert {row["key"]: row["reason"] for row in manifest.rejected} == reasons
    sound = read_manifest(done / "data/shards")
    for split in ("train", "val"):
        assert {row["key"] for row in manifest.split(split)} == {row["key"] for row in sound.split(split)}
    hashes = [{row["key"]: row["sha256"] for row in m.rows if row["shard"]} for m in (manifest, sound)]
    assert hashes[0] == hashes[1], "the good samples are the same bytes as without the bad ones"
    assert not [name for name, data in contents(spoilt).items() if str(spoilt).encode() in data]


def test_rejected_training_meshes_are_left_out_of_the_benchmark_too(spoilt: Path, done: Path) -> None:
    names = ("benchmarks/meshes.parquet", "benchmarks/validation.parquet")
    assert [(spoilt / "data" / n).read_bytes() for n in names] == [(done / "data" / n).read_bytes() for n in names]


def test_a_bad_test_mesh_stops_the_benchmark_and_is_named(project: Path) -> None:
    write_zip(project / "given/mine.zip", good_members() | {"rod/test/bad.off": BAD["no_faces"]})
    run(project, "download", "render", "sample", "shards")
    with pytest.raises(MeshError, match=r"rod/test/bad\.off: no faces; mend the mesh or remove it") as error:
        run(project, "benchmarks")
    assert exit_code(error.value) == 2 and "\n" not in str(error.value)


def command(folder: Path, stage: str) -> tuple[int, str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "C2P_WORKERS": "1", "C2P_LOG": "info"}
    done = subprocess.run(
        [sys.executable, "-m", "tasks", stage], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.stdout == ""
    return done.returncode, done.stderr


def test_too_many_bad_meshes_stop_the_stage_with_one_line(tmp_path: Path) -> None:
    members = good_members() | {f"cube/train/{name}.off": data for name, data in BAD.items()}
    members |= {f"rod/train/empty{i}.off": BAD["no_faces"] for i in range(3)}
    folder = make_project(tmp_path, members)
    run(folder, "download")
    code, said = command(folder, "render")
    assert code == 2 and said.count("\n") == 1 and "Traceback" not in said
    assert "7 of 22 meshes can't be used (4 no faces, " in said and "allowed share: 0.02" in said
    assert "mine.zip:cube/train/broken_member.off" in said and "render.max_reject_rate" in said
    assert not (folder / "metrics/render.json").exists()
    made = pieces(folder)
    set_params(folder, render={"max_reject_rate": 0.5})
    run(folder, "render")
    assert pieces(folder) == made, "what was rendered is kept: raising the limit takes no second rendering"


def test_a_file_where_a_folder_should_be(project: Path) -> None:
    before = contents(project)
    for stage, name in (("render", "rgb"), ("sample", "points"), ("shards", "shards"), ("benchmarks", "benchmarks")):
        shutil.move(project / "data" / name, project / "moved")
        (project / "data" / name).write_text("in the way")
        with pytest.raises(OSError) as error:
            run(project, stage)
        assert exit_code(error.value) == 2 and name in str(error.value)
        assert (project / "data" / name).read_text() == "in the way"
        (project / "data" / name).unlink()
        shutil.move(project / "moved", project / "data" / name)
        assert contents(project) == before, "nothing is lost"


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_one_may_not_write_to(project: Path) -> None:
    (project / "data/clouds").chmod(0o555)
    try:
        with pytest.raises(PermissionError):
            run(project, "render")
    finally:
        (project / "data/clouds").chmod(0o755)


def test_missing_pieces_say_what_to_run(tmp_path: Path, project: Path) -> None:
    fresh = make_project(tmp_path / "fresh")
    with pytest.raises(ValueError, match=r"dvc repro download"):
        run(fresh, "render")
    for stage, missing in (("sample", "render"), ("benchmarks", "shards")):
        with pytest.raises(ValueError, match=f"dvc repro {missing}"):
            run(fresh, stage)
    (project / "data/raw/meshes/mine.zip").unlink()
    for stage in ("render", "benchmarks"):
        with pytest.raises(ArchiveError, match=r"mine\.zip: no such archive; run the download stage") as error:
            run(project, stage)
        assert exit_code(error.value) == 2
    (project / "data/raw/meshes/mine.zip").write_bytes(b"PK\x03\x04 cut short")
    with pytest.raises(ArchiveError, match="not a readable zip or tar"):
        run(project, "render")
    (project / "data/raw/sources.json").write_text("{")
    with pytest.raises(ValueError, match=r"sources\.json: not JSON"):
        run(project, "render")
    shutil.move(project / "data/clouds", project / "moved")
    write_zip(project / "data/raw/meshes/mine.zip", good_members())
    write_sources(project / "data/raw", [Source("meshes", "meshes/mine.zip", "y", False)])
    with pytest.raises(ValueError, match=r"dvc repro render"):
        run(project, "shards")


def test_empty_classes(tmp_path: Path) -> None:
    members = good_members()
    no_test = {name: data for name, data in members.items() if not name.startswith("rod/test")}
    folder = make_project(tmp_path / "a", no_test)
    run(folder, "download")
    with pytest.raises(ValueError, match="class 'rod' has no test mesh"):
        run(folder, "render")
    all_bad = {name: BAD["no_faces"] if name.startswith("rod/train") else data for name, data in members.items()}
    folder = make_project(tmp_path / "b", all_bad)
    set_params(folder, render={"max_reject_rate": 1.0})
    run(folder, "download", "render", "sample")
    with pytest.raises(ValueError, match="class 'rod' has no usable training model"):
        run(folder, "shards")
    lone = {f"{c}/{s}/a.off": box(1, 2, 3) for c in ("cube", "rod") for s in ("train", "test")}
    folder = make_project(tmp_path / "c", lone)
    run(folder, "download", "render", "sample")
    with pytest.raises(ValueError, match="no validation model"):
        run(folder, "shards")


def test_more_points_than_the_cloud_has(project: Path) -> None:
    set_params(project, sample={"points": 129})
    with pytest.raises(ValueError, match=r"sample\.points: got 129; allowed: up to 128") as error:
        run(project, "sample")
    assert exit_code(error.value) == 2


def test_a_damaged_piece_is_removed_and_made_again(project: Path) -> None:
    before = contents(project)
    whole = before["data/shards/val-000000.tar"]
    piece = next(p for p in (project / ".c2p/store").rglob("*.tar") if p.read_bytes() == whole)
    piece.unlink()
    piece.write_bytes(whole[:2000])
    with pytest.raises(ValueError, match=r"val-000000\.tar was damaged .* run again"):
        run(project, "shards")
    run(project, "shards")
    assert contents(project) == before


def shapenet_project(folder: Path, captions: str) -> Path:
    """Four made chairs in ShapeNet's layout, as if they had been downloaded."""
    raw = folder / "data/raw/shapenet"
    members = {
        f"03001627/{index}/{name}": data
        for index in range(4)
        for name, data in model_files(toy.make_shape("chair", index))
    }
    write_zip(raw / "03001627.zip", members)
    (raw / "train.txt").write_text("03001627-0\n03001627-1\n03001627-2\n")
    (raw / "val.txt").write_text("03001627-3\n")
    (raw / "captions.csv").write_text(captions, encoding="utf-8")
    source = {"name": "shapenet", "path": "shapenet", "up": "y", "made": True}
    (raw.parent / "sources.json").write_text(json.dumps({"sources": [source], "sha256": {}}))
    shutil.copyfile(ROOT / "profiles" / "demo.yaml", folder / "params.yaml")
    set_params(folder, **SMALL)
    return folder


def test_captions_come_from_their_table(tmp_path: Path) -> None:
    table = 'key,caption\n03001627-0,a red chair\n03001627-0,"a chair, red"\n03001627-9,nobody\n'
    folder = shapenet_project(tmp_path, "\ufeff" + table)  # as spreadsheets save it
    run(folder, "render", "sample", "shards")
    captions = {row["key"]: row["captions"] for row in read_manifest(folder / "data/shards").rows}
    assert captions.pop("03001627-0") == ["a red chair", "a chair, red"]
    assert set(captions) == {"03001627-1", "03001627-2", "03001627-3"} and not any(captions.values())
    (folder / "data/raw/shapenet/captions.csv").write_text("model,text\n1,2\n")
    with pytest.raises(ValueError, match=r"captions\.csv: header 'model,text'; allowed: key,caption"):
        run(folder, "shards")


def test_random_draws_lie_beside_the_farthest_points(project: Path) -> None:
    path = project / "data/benchmarks/meshes.parquet"
    plain = read_benchmark(path)
    set_params(project, benchmarks={"train_draws": 2, "test_draws": 1})
    run(project, "benchmarks")
    assert draw_counts(path) == {"train": 2, "test": 1}
    drawn = read_benchmark(path)
    for split in ("train", "test"):
        assert np.array_equal(getattr(drawn, split).points, getattr(plain, split).points)
        first = read_draw(path, split, 0)
        assert first.shape == getattr(plain, split).points.shape and not np.array_equal(first, drawn.train.points)
    models, _ = list_source(project / "data/raw", "meshes")
    settings = load(project / "params.yaml").render
    for number in (0, 1):
        for model, points in zip(
            (m for m in models if m.split == "train"), read_draw(path, "train", number), strict=True
        ):
            assert np.array_equal(points, mesh_draws([model], settings, 32, 2)[0, number])
    with pytest.raises(ValueError, match="no draw 1 of the test split, it has 1"):
        read_draw(path, "test", 1)
    set_params(project, benchmarks={"train_draws": 0, "test_draws": 0})
    run(project, "benchmarks")
    assert draw_counts(path) == {"train": 0, "test": 0}


def test_labelled_clouds_of_ones_own(project: Path) -> None:
    """Files of z-up clouds become a set of the profile, turned as meshes are, with draws of their own points."""
    points = np.random.default_rng(0).normal(size=(6, 64, 3)).astype(np.float32)
    labels = np.array([0, 1, 0, 1, 0, 1])
    np.savez(project / "given/scans_train.npz", data=points, label=labels)
    np.savez(project / "given/scans_test.npz", data=points[:2], label=labels[:2])
    files = [str(project / f"given/scans_{split}.npz") for split in ("train", "test")]
    clouds = {"clouds": files, "clouds_up": "z", "clouds_classes": ["mug", "cup"], "benchmarks": ["meshes", "clouds"]}
    set_params(project, download=clouds, benchmarks={"train_draws": 2})
    run(project, "download", "benchmarks")
    path = project / "data/benchmarks/clouds.parquet"
    benchmark = read_benchmark(path)
    assert (benchmark.name, benchmark.classes) == ("scans", ("mug", "cup"))
    assert benchmark.train.labels.tolist() == labels.tolist() and benchmark.test.points.shape == (2, 32, 3)
    turned = np.stack([-points[..., 1], points[..., 2], -points[..., 0]], -1)
    assert np.array_equal(benchmark.train.points, farthest_clouds(turned, 32))
    assert np.array_equal(read_draw(path, "train", 1), cloud_draws(turned, benchmark.train.keys, 0, 32, 2)[:, 1])
    set_params(project, sample={"points": 65})
    with pytest.raises(ValueError, match=r"data/raw/clouds: train clouds of 64 points; sample\.points is 65"):
        run(project, "benchmarks")
    set_params(project, download={"clouds": files[:1]}, sample={"points": 32})
    run(project, "download")
    with pytest.raises(ValueError, match=r"scans_train\.npz: no dataset 'split'"):
        run(project, "benchmarks")


def scans(folder: Path, labels: dict[str, list[int]]) -> None:
    """The six files of ScanObjectNN, small; the labels of PB_T50_RS's test objects are those given, again and again."""
    for pattern in VARIANTS.values():
        for split, values in labels.items():
            path = folder / pattern.format(split)
            path.parent.mkdir(parents=True, exist_ok=True)
            with h5py.File(path, "w") as file:
                if split == "test" and len(values) == SCANS and "augmented" in pattern:
                    values = np.resize(values, SCANS_PERTURBED)
                file["data"] = np.random.default_rng(len(values)).normal(size=(len(values), 64, 3)).astype(np.float32)
                file["label"] = np.array(values)


def test_files_placed_by_hand_are_taken_and_taken_again(project: Path) -> None:
    everything = list(range(15))
    tested = np.resize(everything[::-1], SCANS).tolist()
    scans(project / ".c2p/downloads/scanobjectnn", {"training": everything, "test": tested})
    set_params(project, download={"benchmarks": ["meshes", "scanobjectnn"]})
    for _ in range(2):
        run(project, "download")
    run(project, "benchmarks")
    benchmark = read_benchmark(project / "data/benchmarks/scanobjectnn_pb_t50_rs.parquet")
    assert benchmark.test.labels.tolist() == np.resize(tested, SCANS_PERTURBED).tolist()
    assert benchmark.test.points.shape == (SCANS_PERTURBED, 32, 3)
    (project / "data/raw/scanobjectnn/main_split/test_objectdataset.h5").unlink()
    with pytest.raises(ValueError, match=r"test_objectdataset\.h5: no such file"):
        run(project, "benchmarks")


def test_files_of_another_size_than_the_official_ones(project: Path) -> None:
    scans(project / ".c2p/downloads/scanobjectnn", {"training": list(range(15)), "test": list(range(15))})
    set_params(project, download={"benchmarks": ["meshes", "scanobjectnn"]})
    run(project, "download")
    with pytest.raises(ValueError, match="scanobjectnn_obj_only has 15 test objects; expected: 581; fetch") as error:
        run(project, "benchmarks")
    assert exit_code(error.value) == 2 and "\n" not in str(error.value)


def test_scans_of_fewer_points_than_asked(project: Path) -> None:
    scans(project / "data/raw/scanobjectnn", {"training": [0, 3], "test": [0, 3]})
    record = json.loads((project / "data/raw/sources.json").read_text())
    record["sources"].append({"name": "scanobjectnn", "path": "scanobjectnn", "up": "y", "made": True})
    (project / "data/raw/sources.json").write_text(json.dumps(record))
    set_params(project, download={"benchmarks": ["meshes", "scanobjectnn"]}, sample={"points": 65})
    with pytest.raises(ValueError, match=r"train clouds of 64 points; sample\.points is 65: allowed: up to 64"):
        run(project, "benchmarks")


def test_a_class_in_one_split_only(project: Path) -> None:
    """Its label would be another class's otherwise."""
    scans(project / "data/raw/scanobjectnn", {"training": [0, 3, 14], "test": [0, 5, 14]})
    record = json.loads((project / "data/raw/sources.json").read_text())
    record["sources"].append({"name": "scanobjectnn", "path": "scanobjectnn", "up": "y", "made": True})
    (project / "data/raw/sources.json").write_text(json.dumps(record))
    set_params(project, download={"benchmarks": ["meshes", "scanobjectnn"]})
    with pytest.raises(ValueError, match="scanobjectnn_obj_only has class 'cabinet' in one split only"):
        run(project, "benchmarks")
