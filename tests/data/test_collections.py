"""Readers of collections: layouts, official orders, and the mistakes people make with them."""

import hashlib
import io
import tarfile
import zipfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from c2p.data import meshfolder, modelnet, shapenet
from c2p.data.archive import Archive
from c2p.data.catalogue import COLLECTIONS
from c2p.data.meshpack import take_meshes
from c2p.data.models import Model, read_mesh, read_mesh_at, read_within
from c2p.data.parts import render_part
from c2p.data.scanobjectnn import VARIANTS, present_classes, read_split
from c2p.data.sources import Source, list_source, write_sources
from c2p.data.vocabulary import BROKEN_SHAPENET_IDS, MODELNET10, MODELNET40, SCANOBJECTNN, SHAPENET, SHAPENET_SYNSETS
from c2p.params import load

ROOT = Path(__file__).resolve().parents[2]
OFF = b"OFF\n4 4 0\n0 0 0\n1 0 0\n0 1 0\n0 0 1\n3 0 1 2\n3 0 1 3\n3 0 2 3\n3 1 2 3\n"


def write_zip(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        for name, data in members.items():
            file.writestr(name, data)
    return path


def mesh_members(*places: str) -> dict[str, bytes]:
    return {f"root/{place}.off": OFF for place in places}


def test_mesh_folder_lists_classes_sorted_with_spaces(tmp_path: Path) -> None:
    path = write_zip(
        tmp_path / "m.zip", mesh_members("tv_stand/train/a.b", "tv_stand/test/c", "cup/train/d", "cup/test/e")
    )
    models, classes = meshfolder.list_models(path, up="z")
    assert classes == ("cup", "tv stand")
    assert {(m.label, m.split) for m in models} == {(c, s) for c in classes for s in ("train", "test")}
    assert all("." not in m.key and " " not in m.key for m in models)
    assert [m.key for m in models] == sorted(m.key for m in models)


@pytest.mark.parametrize(
    ("places", "said"),
    [
        (["cup/train/a", "cup/test/a", "bowl/train/a"], "'bowl' has no test mesh"),
        (["cup/train/a", "cup/test/a", "bowl/test/a"], "'bowl' has no train mesh"),
        (["cup/valid/a"], "no meshes found"),
        (["cup/train/a.b", "cup/train/a_b", "cup/test/a"], "share the key"),
    ],
)
def test_mesh_folder_mistakes(tmp_path: Path, places: list[str], said: str) -> None:
    with pytest.raises(ValueError, match=said) as error:
        meshfolder.list_models(write_zip(tmp_path / "m.zip", mesh_members(*places)), up="y")
    assert "\n" not in str(error.value)


def test_modelnet_keeps_official_order_and_names(tmp_path: Path) -> None:
    places = [f"{c}/{s}/{c}_0001" for c in reversed(MODELNET10) for s in ("train", "test")]
    models, classes = modelnet.list_models(
        write_zip(tmp_path / "m.zip", mesh_members(*places)), name="modelnet10", complete=True
    )
    assert classes == MODELNET10 and "night_stand" in classes
    assert {m.label for m in models} == {c.replace("_", " ") for c in MODELNET10}
    assert all(m.up == "z" for m in models)


@pytest.mark.parametrize("root", ["ModelNet10/", "", "./modelnet40_manually_aligned/"])
@pytest.mark.parametrize("form", ["zip", "tar", "tar.gz"])
def test_modelnet_in_either_layout_and_any_packing(tmp_path: Path, root: str, form: str) -> None:
    places = [f"{c}/{s}/{c}_0001" for c in MODELNET10 for s in ("train", "test")]
    members = {f"{root}{place}.off": OFF for place in places}
    members |= {f"{root}bed/train/bed_0001.off.annot": b"0", f"{root}bed/train/bed_0001_annot.off": b"0"}
    path = tmp_path / f"ModelNet10.{form}"
    if form == "zip":
        write_zip(path, members)
    else:
        with tarfile.open(path, "w:gz" if form == "tar.gz" else "w") as file:
            for name, data in members.items():
                info = tarfile.TarInfo(name)
                info.size = len(data)
                file.addfile(info, io.BytesIO(data))
    models, classes = modelnet.list_models(path, name="modelnet10", complete=True)
    assert classes == MODELNET10 and len(models) == 20
    assert len(read_mesh(models[0], max_faces=10).faces) == 4


def test_modelnet_has_to_be_complete_unless_made(tmp_path: Path) -> None:
    path = write_zip(
        tmp_path / "m.zip", mesh_members("chair/train/a", "chair/test/b", "airplane/train/a", "airplane/test/b")
    )
    assert modelnet.list_models(path, name="modelnet40", complete=False)[1] == ("airplane", "chair")
    with pytest.raises(ValueError, match="'bathtub' is missing"):
        modelnet.list_models(path, name="modelnet40", complete=True)


def test_modelnet_refuses_foreign_classes(tmp_path: Path) -> None:
    path = write_zip(
        tmp_path / "m.zip", mesh_members("dragon/train/a", "dragon/test/b", "chair/train/a", "chair/test/b")
    )
    with pytest.raises(ValueError, match="'dragon' is unknown"):
        modelnet.list_models(path, name="modelnet40", complete=False)


def test_official_vocabularies() -> None:
    sizes = [len(v) for v in (MODELNET40, MODELNET10, SCANOBJECTNN, SHAPENET, SHAPENET_SYNSETS)]
    assert sizes == [40, 10, 15, 55, 55]
    assert list(SHAPENET_SYNSETS) == sorted(SHAPENET_SYNSETS)


def shapenet_folder(folder: Path, models: dict[str, list[str]], lists: dict[str, list[str]]) -> Path:
    folder.mkdir()
    for synset, names in models.items():
        write_zip(folder / f"{synset}.zip", {f"{synset}/{n}/models/model_normalized.obj": OFF for n in names})
    for name, keys in lists.items():
        (folder / f"{name}.txt").write_text("".join(f"{key}.npy\n" for key in keys))
    return folder


def test_shapenet_follows_its_lists(tmp_path: Path) -> None:
    chairs, beds = "03001627", "02818832"
    folder = shapenet_folder(
        tmp_path / "s",
        {chairs: ["aa", "bb", "unlisted", "udf068a6b-x"], beds: ["cc"]},
        {"train": [f"{chairs}-aa", f"{beds}-cc", f"{chairs}-udf068a6b-x", f"{chairs}-absent"], "val": [f"{chairs}-bb"]},
    )
    models, classes = shapenet.list_models(folder)
    assert classes == ("bed", "chair"), "synset order"
    assert {(m.key, m.split, m.label) for m in models} == {
        (f"{chairs}-aa", "train", "chair"),
        (f"{chairs}-bb", "val", "chair"),
        (f"{beds}-cc", "train", "bed"),
    }


@pytest.mark.parametrize(
    ("models", "lists", "said"),
    [
        ({}, {"train": [], "val": []}, "no synset archives"),
        ({"03001627": ["a"]}, {"train": ["03001627-a"]}, "no such split list"),
        ({"99999999": ["a"]}, {"train": [], "val": []}, "not a ShapeNetCore synset"),
        ({"03001627": ["a"]}, {"train": [], "val": ["03001627-a"]}, "chair has no training model"),
    ],
)
def test_shapenet_mistakes(tmp_path: Path, models: dict, lists: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        shapenet.list_models(shapenet_folder(tmp_path / "s", models, lists))


def listed_archives(raw: Path, lists: Path) -> Path:
    """Made archives of every synset with all 52,470 listed models (names and a few bytes), and the lists themselves."""
    folder = raw / "shapenet"
    folder.mkdir(parents=True)
    names: dict[str, list[str]] = {}
    for split, file in (("train", "train"), ("val", "test")):
        text = (lists / f"{file}.txt").read_text()
        (folder / f"{split}.txt").write_text(text)
        for line in text.split():
            synset, model = line.removesuffix(".npy").split("-", 1)
            names.setdefault(synset, []).append(f"{synset}/{model}/models/model_normalized.obj")
    for synset, members in names.items():
        write_zip(folder / f"{synset}.zip", dict.fromkeys(members, b"v 0 0 0\n"))
    write_sources(raw, [Source("shapenet", "shapenet", "y", False)])
    return folder


def test_the_papers_split_comes_out_of_its_lists(shared_data: Path, tmp_path: Path) -> None:
    """41,952 + 10,518 are listed, ten are dropped by the published code as broken: 41,943 + 10,517 remain."""
    folder = listed_archives(tmp_path, shared_data / "splits/ShapeNet-55")
    models, classes = list_source(tmp_path, "shapenet")
    assert Counter(m.split for m in models) == {"train": 41_943, "val": 10_517} and len(models) == 52_460
    assert classes == SHAPENET and {m.label for m in models} == set(SHAPENET)
    keys = {m.key for m in models}
    assert len(keys) == len(models)
    listed = {
        line.removesuffix(".npy"): split
        for split in ("train", "val")
        for line in (folder / f"{split}.txt").open().read().split()
    }
    dropped = set(listed) - keys
    assert len(listed) == 52_470 and len(dropped) == 10
    assert {"-".join(key.split("-")[:2]) for key in dropped} == set(BROKEN_SHAPENET_IDS)
    assert all(listed[m.key] == m.split for m in models)


def test_the_lists_are_those_of_the_catalogue(shared_data: Path) -> None:
    files = {file.name: file for file in COLLECTIONS["shapenet"].files}
    for name, given in (("train.txt", "train.txt"), ("val.txt", "test.txt")):
        data = (shared_data / "splits/ShapeNet-55" / given).read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (files[name].size, files[name].sha256)


def test_real_archives_of_shapenet(shared_data: Path, tmp_path: Path) -> None:
    """The hub's own layout: two beds and two chairs, in the split that the real lists give them."""
    for path in (shared_data / "shapenetcore_v2").glob("*.zip"):
        (tmp_path / path.name).symlink_to(path)
    lists = shared_data / "splits/ShapeNet-55"
    texts = {"train": (lists / "train.txt").read_text(), "val": (lists / "test.txt").read_text()}
    inside = {
        "-".join(name.split("/")[:2])
        for path in tmp_path.glob("*.zip")
        for name in zipfile.ZipFile(path).namelist()
        if name.endswith("model_normalized.obj")
    }
    for split, text in texts.items():  # a class without training models is an error: all four are put there
        (tmp_path / f"{split}.txt").write_text(text if split == "val" else "\n".join(sorted(inside)))
    models, classes = shapenet.list_models(tmp_path)
    assert {m.key for m in models} == inside and len(inside) == 4 and classes == ("bed", "chair")
    assert all(key + ".npy" in texts["train"] + texts["val"] for key in inside), "the lists know these models"
    for model in models:
        assert len(read_mesh(model, max_faces=1_000_000).faces) > 100


def test_points_and_pictures_of_real_models_share_a_frame(shared_data: Path, tmp_path: Path) -> None:
    """Surface points, seen by cameras worked out anew, fall on the model in the pictures of its views."""
    path = shared_data / "shapenetcore_v2" / "03001627.zip"
    members = [n for n in Archive(path).names if n.endswith("model_normalized.obj")]
    models = [
        Model(f"k{i}", "chair", "train", str(path), m, m.rsplit("/models/", 1)[0], "y") for i, m in enumerate(members)
    ]
    settings = replace(load(ROOT / "params.yaml").render, size=96, supersample=1, cloud_points=500, max_faces=10**6)
    render_part(models, settings, tmp_path / "p.tar", tmp_path / "p.parquet")
    angles = {0: (0, 0), 2: (180, 0), 4: (225, -45), 5: (225, 45), 6: (315, -45), 7: (315, 45), 8: (0, -90), 9: (0, 90)}
    met, turned = [], []
    with tarfile.open(tmp_path / "p.tar") as tar:
        for row in pq.read_table(tmp_path / "p.parquet").to_pylist():
            points = np.reshape(row["points"], (-1, 3)).astype(float)
            for view, (elevation, azimuth) in angles.items():
                picture = np.asarray(Image.open(tar.extractfile(f"{row['key']}.rgb.{view:02d}.png")))
                e, a = np.radians(elevation), np.radians(azimuth)
                eye = settings.distance * np.array([np.cos(e) * np.sin(a), np.sin(e), np.cos(e) * np.cos(a)])
                met.append(share_on_model(points, picture, eye, settings.fov))
                turned.append(share_on_model(points[:, [0, 2, 1]], picture, eye, settings.fov))
    assert min(met) > 0.9, "all but the points in a white highlight"
    assert np.mean(turned) < 0.8, "another up axis would have been noticed"


def share_on_model(points: np.ndarray, picture: np.ndarray, eye: np.ndarray, fov: float) -> float:
    """Share of points (N, 3) that fall on or beside a pixel that is not white, seen from `eye` towards the origin."""
    half = len(picture) / 2
    shown = np.pad((picture < 250).any(-1), 100)
    ahead = -eye / np.linalg.norm(eye)
    right = np.cross(ahead, [0, 1, 0]) / np.linalg.norm(np.cross(ahead, [0, 1, 0]))
    x, y, z = np.stack([right, np.cross(right, ahead), ahead]) @ (points - eye).T
    focal = half / np.tan(np.radians(fov / 2))
    hits = [
        shown[int(v) + 99 : int(v) + 102, int(u) + 99 : int(u) + 102].any()
        for u, v in zip(half + focal * x / z, half - focal * y / z, strict=True)
    ]
    return float(np.mean(hits))


def test_files_of_a_model_come_from_its_own_folder_only(tmp_path: Path) -> None:
    path = write_zip(
        tmp_path / "x.zip",
        {"s/m/models/a.obj": b"1", "s/m/images/t.jpg": b"2", "s/other/t.jpg": b"3", "s/m2/t.jpg": b"4"},
    )
    archive = Archive(path)
    read = [
        read_within(archive, "s/m/models", "s/m", name)
        for name in (
            "../images/t.jpg",
            "..\\images\\t.jpg",
            "../../other/t.jpg",
            "../../m2/t.jpg",
            "/s/other/t.jpg",
            "absent.jpg",
        )
    ]
    assert read == [b"2", b"2", None, None, None, None]


def test_a_mesh_is_read_from_archive_and_file(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "x.zip", {"c/train/a.off": OFF})
    (tmp_path / "a.off").write_bytes(OFF)
    model = Model("c-a", "c", "train", str(path), "c/train/a.off", "c/train", "y")
    meshes = [
        read_mesh(model, max_faces=10),
        read_mesh_at(str(tmp_path / "a.off"), max_faces=10),
        read_mesh_at(f"{path}:c/train/a.off", max_faces=10),
    ]
    assert all(len(m.faces) == 4 and len(m.vertices) == 4 for m in meshes)


def test_taking_meshes_packs_a_folder_the_same_twice(tmp_path: Path) -> None:
    source = tmp_path / "mine"
    for place in ("cup/train/a.off", "cup/test/b.off"):
        (source / place).parent.mkdir(parents=True, exist_ok=True)
        (source / place).write_bytes(OFF)
    (source / "leak").symlink_to("/etc/hostname")
    first, second = (take_meshes(source, tmp_path / n) for n in ("1", "2"))
    assert first.read_bytes() == second.read_bytes() and first.name == "mine.zip"
    assert Archive(first).names == ["cup/test/b.off", "cup/train/a.off"]
    assert take_meshes(first, tmp_path / "3").read_bytes() == first.read_bytes()


@pytest.mark.parametrize("content", [None, b"", b"something else"])
def test_taking_what_is_no_archive(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "meshes.zip"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=r"meshes\.zip"):
        take_meshes(path, tmp_path / "out")
    assert not (tmp_path / "out" / "meshes.zip").exists()


def scan(folder: Path, variant: str, split: str, **datasets: np.ndarray) -> None:
    path = folder / VARIANTS[variant].format(split)
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for name, values in datasets.items():
            file[name] = values


def test_scans_are_read_as_published(tmp_path: Path) -> None:
    points = np.random.default_rng(0).normal(size=(4, 2048, 3)).astype(np.float32)
    scan(tmp_path, "scanobjectnn_obj_bg", "training", data=points, label=np.array([[0], [14], [3], [3]], np.int32))
    clouds, labels = read_split(tmp_path, "scanobjectnn_obj_bg", "train")
    assert np.array_equal(clouds, points) and labels.tolist() == [0, 14, 3, 3] and labels.dtype == np.int64
    assert present_classes(labels, complete=False, path=tmp_path) == (0, 3, 14)
    with pytest.raises(ValueError, match="'bin' has no object"):
        present_classes(labels, complete=True, path=tmp_path)


@pytest.mark.parametrize(
    ("datasets", "said"),
    [
        ({"data": np.zeros((2, 5, 3))}, "no dataset 'label'"),
        ({"label": np.zeros(2)}, "no dataset 'data'"),
        ({"data": np.zeros((2, 5, 3)), "label": np.zeros(3)}, r"\(N, P, 3\)"),
        ({"data": np.zeros((2, 5)), "label": np.zeros(2)}, r"\(N, P, 3\)"),
        ({"data": np.zeros((0, 5, 3)), "label": np.zeros(0)}, "N > 0"),
        ({"data": np.zeros((2, 5, 3)), "label": np.array([0, 15])}, "labels 0 to 15; allowed: 0 to 14"),
        ({"data": np.zeros((2, 5, 3)), "label": np.array([-1, 3])}, "labels -1 to 3"),
        ({"data": np.full((1, 5, 3), np.nan), "label": np.zeros(1)}, "not finite"),
    ],
)
def test_scan_files_with_faults(tmp_path: Path, datasets: dict, said: str) -> None:
    scan(tmp_path, "scanobjectnn_obj_only", "test", **datasets)
    with pytest.raises(ValueError, match=said) as error:
        read_split(tmp_path, "scanobjectnn_obj_only", "test")
    assert "\n" not in str(error.value)


def test_absent_and_broken_scan_files(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="run the download stage"):
        read_split(tmp_path, "scanobjectnn_obj_only", "test")
    path = tmp_path / VARIANTS["scanobjectnn_obj_only"].format("test")
    path.parent.mkdir(parents=True)
    path.write_bytes(b"no hdf5")
    with pytest.raises(ValueError, match="not a readable HDF5"):
        read_split(tmp_path, "scanobjectnn_obj_only", "test")
