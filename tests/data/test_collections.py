"""Readers of collections: layouts, official orders, and the mistakes people make with them."""

import zipfile
from collections import Counter
from pathlib import Path

import h5py
import numpy as np
import pytest

from c2p.data import meshfolder, modelnet, shapenet
from c2p.data.archive import Archive
from c2p.data.meshpack import take_meshes
from c2p.data.models import Model, read_mesh, read_mesh_at, read_within
from c2p.data.scanobjectnn import VARIANTS, present_classes, read_split
from c2p.data.vocabulary import MODELNET10, MODELNET40, SCANOBJECTNN, SHAPENET, SHAPENET_SYNSETS, is_broken_shapenet

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


def test_the_papers_split_counts(shared_data: Path) -> None:
    counts = Counter()
    for split in ("train", "test"):
        for key in shapenet.read_list(shared_data / f"splits/ShapeNet-55/{split}.txt"):
            counts[split] += not is_broken_shapenet(key)
    assert counts == {"train": 41_943, "test": 10_517}


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
    with pytest.raises(ValueError, match="place it there"):
        read_split(tmp_path, "scanobjectnn_obj_only", "test")
    path = tmp_path / VARIANTS["scanobjectnn_obj_only"].format("test")
    path.parent.mkdir(parents=True)
    path.write_bytes(b"no hdf5")
    with pytest.raises(ValueError, match="not a readable HDF5"):
        read_split(tmp_path, "scanobjectnn_obj_only", "test")
