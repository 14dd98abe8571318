"""Made archives: layouts, exact bytes, axes, quirks, and the scans' statistics."""

import csv
import io
import re
import zipfile
from collections import Counter
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

from c2p.data.toy import (
    TOY_MODELNET10,
    TOY_SCANOBJECTNN,
    TOY_SHAPENET,
    make_shape,
    write_modelnet,
    write_scanobjectnn,
    write_shapenet,
)
from c2p.data.toy.packing import model_id, rows, write_zip
from c2p.data.vocabulary import SCANOBJECTNN, SHAPENET, SHAPENET_SYNSETS
from c2p.geometry.meshes import load_mesh


@pytest.fixture(scope="module")
def shapenet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shapenet")
    write_shapenet(folder, seed=3, train=2, validation=1)
    return folder


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scanobjectnn")
    write_scanobjectnn(folder, seed=3, train=2, test=1)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def off_file(text: str) -> tuple[np.ndarray, np.ndarray]:
    """A plain OFF parser, for the glued header too."""
    words = text.removeprefix("OFF").split()
    vertices, faces = int(words[0]), int(words[1])
    numbers = np.array(words[3:], float)
    return numbers[: 3 * vertices].reshape(-1, 3), numbers[3 * vertices :].reshape(faces, 4)[:, 1:].astype(int)


def test_zip_bytes_do_not_depend_on_the_order_of_members(tmp_path: Path) -> None:
    members = [("b.txt", b"2" * 99), ("a/x.png", b"1" * 99)]
    one, other = write_zip(tmp_path / "1.zip", members), write_zip(tmp_path / "2.zip", members[::-1])
    assert one.read_bytes() == other.read_bytes()
    with zipfile.ZipFile(one) as archive:
        assert [(e.filename, e.date_time[0], e.compress_type) for e in archive.infolist()] == [
            ("a/x.png", 2020, zipfile.ZIP_STORED),
            ("b.txt", 2020, zipfile.ZIP_DEFLATED),
        ]


def test_rows_of_text() -> None:
    assert rows("v %.2f %.2f\n", np.array([[1, 2], [-0.004, 3.14159]])) == "v 1.00 2.00\nv -0.00 3.14\n"


def test_model_ids_differ_between_collections_splits_and_seeds() -> None:
    made = {
        model_id(seed, collection=collection, category=category, split=split, index=index)
        for seed in (0, 1)
        for collection in ("shapenet", "ModelNet40", "ModelNet10", "scanobjectnn")
        for category in ("chair", "table")
        for split in ("train", "test")
        for index in range(3)
    }
    assert len(made) == 2 * 4 * 2 * 2 * 3
    assert all(re.fullmatch("[0-9a-f]{32}", model) for model in made)


def test_same_seed_same_bytes(shapenet: Path, scans: Path, tmp_path: Path) -> None:
    write_shapenet(tmp_path / "a", seed=3, train=2, validation=1)
    assert contents(tmp_path / "a") == contents(shapenet)
    write_scanobjectnn(tmp_path / "b", seed=3, train=2, test=1)
    assert contents(tmp_path / "b") == contents(scans)
    for name in ("1.zip", "2.zip"):
        write_modelnet(tmp_path / name, name="ModelNet10", seed=3, train=1, test=1)
    assert (tmp_path / "1.zip").read_bytes() == (tmp_path / "2.zip").read_bytes()
    write_modelnet(tmp_path / "3.zip", name="ModelNet10", seed=4, train=1, test=1)
    assert (tmp_path / "1.zip").read_bytes() != (tmp_path / "3.zip").read_bytes()


def test_shapenet_layout(shapenet: Path) -> None:
    synsets = dict(zip(SHAPENET, SHAPENET_SYNSETS, strict=True))
    lists = {split: (shapenet / f"{split}.txt").read_text().splitlines() for split in ("train", "val")}
    assert {split: len(keys) for split, keys in lists.items()} == {
        "train": 2 * len(TOY_SHAPENET),
        "val": len(TOY_SHAPENET),
    }
    assert all(keys == sorted(keys) for keys in lists.values())
    keys = set(lists["train"]) | set(lists["val"])
    assert len(keys) == 3 * len(TOY_SHAPENET)
    found = set()
    for name in TOY_SHAPENET:
        with zipfile.ZipFile(shapenet / f"{synsets[name]}.zip") as archive:
            members = archive.namelist()
        assert members == sorted(members)
        allowed = r"(\d{8})/([0-9a-f]{32})/(models/model_normalized\.(obj|mtl)|images/texture\d+\.(jpg|png))"
        matches = [re.fullmatch(allowed, member) for member in members]
        found |= {f"{match[1]}-{match[2]}" for match in matches if match}
        assert all(matches)
    assert found == keys


def test_captions_file(shapenet: Path) -> None:
    with (shapenet / "captions.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    keys = (shapenet / "train.txt").read_text().split() + (shapenet / "val.txt").read_text().split()
    counts = Counter(row["key"] for row in table)
    assert set(counts) == set(keys) and set(counts.values()) <= {3, 4, 5, 6}
    chair = next(key for key in keys if key.startswith("03001627"))
    assert (
        tuple(row["caption"] for row in table if row["key"] == chair)
        == make_shape("chair", int(chair[9:], 16)).captions
    )


def test_shapenet_models_read_back_with_their_textures(shapenet: Path) -> None:
    """What the mesh loader finds in the files is the shape that was drawn, up to the digits written."""
    textured = 0
    for synset, category in (("03001627", "chair"), ("04256520", "sofa"), ("02818832", "bed")):
        with zipfile.ZipFile(shapenet / f"{synset}.zip") as archive:
            files = {name: archive.read(name) for name in archive.namelist()}
        for model in sorted({name.split("/")[1] for name in files}):
            root, shape = f"{synset}/{model}", make_shape(category, int(model, 16))

            def read(relative: str, root: str = root, files: dict[str, bytes] = files) -> bytes | None:
                place = f"{root}/{relative[3:]}" if relative.startswith("../") else f"{root}/models/{relative}"
                return files.get(place)

            text = files[f"{root}/models/model_normalized.obj"]
            mesh = load_mesh(text, "obj", read=read, max_faces=10**5)
            assert len(mesh.faces) > 0.9 * len(shape.faces)
            assert np.allclose(
                np.sort(np.ptp(mesh.vertices, axis=0)), np.sort(np.ptp(shape.vertices, axis=0)), atol=1e-5
            )
            wanted = [m.texture for m in shape.materials if m.texture is not None]
            got = [m.texture for m in mesh.materials if m.texture is not None]
            assert len(got) == len(wanted)
            for texture in wanted:
                nearest = min(
                    np.abs(texture - other.astype(float)).mean() for other in got if other.shape == texture.shape
                )
                assert nearest < 16
            textured += len(wanted)
    assert textured > 0


def test_material_files_point_into_the_model_folder(shapenet: Path) -> None:
    for path in sorted(shapenet.glob("*.zip")):
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
            for name in names:
                if name.endswith(".mtl"):
                    text, root = archive.read(name).decode(), name.split("/models/")[0]
                    for relative in re.findall(r"map_Kd \.\./(\S+)", text):
                        picture = Image.open(io.BytesIO(archive.read(f"{root}/{relative}")))
                        assert picture.format == {"jpg": "JPEG", "png": "PNG"}[relative[-3:]]
                        assert max(picture.size) <= 64
                    used = re.findall(r"usemtl (\S+)", archive.read(name.replace(".mtl", ".obj")).decode())
                    assert sorted(used) == sorted(re.findall(r"newmtl (\S+)", text)) and len(set(used)) == len(used)


def test_modelnet_layout_axes_and_glued_headers(tmp_path: Path) -> None:
    path = tmp_path / "ModelNet10.zip"
    write_modelnet(path, name="ModelNet10", seed=5, train=3, test=2)
    glued = 0
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        wanted = {
            f"ModelNet10/{c}/{'train' if i < 4 else 'test'}/{c}_{i:04d}.off"
            for c in TOY_MODELNET10
            for i in range(1, 6)
        }
        assert set(names) == wanted
        for name in names:
            text = archive.read(name).decode()
            glued += not text.startswith("OFF\n")
            label, split, number = name.split("/")[1], name.split("/")[2], int(name[-8:-4]) - 1
            category = TOY_MODELNET10[label]
            model = model_id(5, collection="ModelNet10", category=category, split=split, index=number)
            shape = make_shape(category, int(model, 16))
            x, y, z = off_file(text)[0].T
            world = np.stack([-y, z, -x], -1)
            world = world - (world.min(0) + world.max(0)) / 2
            world /= np.linalg.norm(np.ptp(world, axis=0))
            assert np.allclose(world, shape.vertices, atol=1e-4)
            assert np.array_equal(off_file(text)[1], shape.faces)
    assert 0 < glued < len(names)


def test_modelnet_name_is_checked(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="got 'ModelNet41'; allowed: ModelNet10, ModelNet40"):
        write_modelnet(tmp_path / "x.zip", name="ModelNet41", seed=0, train=1, test=1)  # type: ignore[arg-type]


def test_scan_files(scans: Path) -> None:
    places = {
        "main_split_nobg/{}_objectdataset.h5": 1,
        "main_split/{}_objectdataset.h5": 1,
        "main_split/{}_objectdataset_augmentedrot_scale75.h5": 2,
    }
    official = [SCANOBJECTNN.index(name) for name in TOY_SCANOBJECTNN]
    for place, copies in places.items():
        for split, count in (("training", 2), ("test", 1)):
            with h5py.File(scans / place.format(split)) as file:
                data, label = file["data"][:], file["label"][:]
            assert (data.shape, data.dtype) == ((len(official) * count * copies, 2048, 3), np.float32)
            assert label.dtype == np.int64
            assert label.tolist() == [index for index in official for _ in range(count * copies)]
            assert np.isfinite(data).all()
    assert len(list(scans.rglob("*.h5"))) == 6


def test_scans_are_partial_and_backgrounds_are_added(scans: Path) -> None:
    """A scanned object misses a part of its surface; with its surroundings there are points far from the object."""
    with h5py.File(scans / "main_split_nobg/training_objectdataset.h5") as file:
        only = file["data"][:]
    with h5py.File(scans / "main_split/training_objectdataset.h5") as file:
        surrounded = file["data"][:]
    missing, added = [], []
    for number, (scan, scene) in enumerate(zip(only, surrounded, strict=True)):
        category = list(TOY_SCANOBJECTNN.values())[number // 2]
        model = model_id(3, collection="scanobjectnn", category=category, split="training", index=number % 2)
        shape = make_shape(category, int(model, 16))
        centres = shape.vertices[shape.faces].mean(1)
        area = shape.vertices[shape.faces]
        area = np.linalg.norm(np.cross(area[:, 1] - area[:, 0], area[:, 2] - area[:, 0]), axis=1)
        chosen = np.random.default_rng(0).choice(len(area), 200, p=area / area.sum())
        missing.append((np.linalg.norm(centres[chosen, None] - scan[None], axis=2).min(1) > 0.05).mean())
        added.append((np.linalg.norm(scene[::8, None] - scan[None], axis=2).min(1) > 0.04).mean())
    assert 0.1 < np.mean(missing) < 0.8
    assert np.mean(added) > 0.03
