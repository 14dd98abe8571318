"""Shapes by their addresses: files, members of archives, parts of files; and addresses that lead nowhere."""

import tarfile
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import trimesh

from c2p.data.shapes import Shape, ShapeError, content_digest, open_shape, shape_files, standard_cloud
from c2p.params import Render, load

ROOT = Path(__file__).resolve().parents[2]
OFF = "OFF\n4 4 0\n0 0 0\n1 0 0\n0 1 0\n0 0 1\n3 0 1 2\n3 0 1 3\n3 0 2 3\n3 1 2 3\n"


@pytest.fixture(scope="module")
def settings() -> Render:
    return load(ROOT / "profiles/demo.yaml").render


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    generator = np.random.default_rng(3)
    place = tmp_path / "shapes"
    (place / "inner").mkdir(parents=True)
    (place / "a.off").write_text(OFF)
    np.save(place / "b.npy", generator.normal(size=(30, 3)))
    np.savez(place / "c.npz", points=generator.normal(size=(2, 30, 3)), label=np.arange(2))
    with h5py.File(place / "inner/d.h5", "w") as file:
        file["data"] = generator.normal(size=(3, 30, 3))
    trimesh.PointCloud(generator.normal(size=(30, 3))).export(place / "inner/points.ply")
    trimesh.creation.box().export(place / "inner/box.ply")
    (place / "notes.md").write_text("no shape")
    (place / ".hidden.off").write_text(OFF)
    return place


@pytest.fixture
def archive(folder: Path, tmp_path: Path) -> Path:
    with zipfile.ZipFile(tmp_path / "shapes.zip", "w") as file:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                file.write(path, path.relative_to(folder))
    return tmp_path / "shapes.zip"


PARTS = ["a.off", "b.npy", "c.npz:points:1", "inner/d.h5:2", "inner/points.ply", "inner/box.ply"]


@pytest.mark.parametrize("part", PARTS)
def test_a_member_is_read_as_the_file_is(folder: Path, archive: Path, settings: Render, part: str) -> None:
    alone, packed = open_shape(f"{folder}/{part}", settings, up="y"), open_shape(f"{archive}:{part}", settings, up="y")
    assert alone.points.tobytes() == packed.points.tobytes()
    assert (alone.mesh is None) == (packed.mesh is None) == (part not in ("a.off", "inner/box.ply"))
    assert packed.name == f"{archive}:{part}"


def test_up_is_turned_for_meshes_and_clouds(folder: Path, settings: Render) -> None:
    for name in ("b.npy", "a.off"):
        plain, turned = (open_shape(str(folder / name), settings, up=up).points for up in ("y", "z"))
        x, y, z = plain.T
        assert turned == pytest.approx(np.stack([-y, z, -x], -1), abs=1e-6)


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("{folder}", "a folder; name a file in it"),
        ("{folder}/absent.off", "no such file"),
        ("", "'': no such file"),
        ("{folder}/notes.md", "a .md file; allowed: off"),
        ("{folder}/a.off:3", "no part '3': the file holds one mesh"),
        ("{folder}/c.npz", "2 arrays; name one"),
        ("{folder}/c.npz:points", "2 clouds; name one: FILE:points:0"),
        ("{folder}/inner/d.h5", "3 clouds; name one: FILE:0 to FILE:2"),
        ("{archive}", "an archive; name a member"),
        ("{archive}:absent.off", "no member 'absent.off' among 7, e.g. a.off"),
        ("{archive}:../../etc/passwd", "leaves the archive; allowed: a member's name"),
        ("{archive}:/etc/passwd", "leaves the archive"),
        ("{archive}:inner/../../x.off", "leaves the archive"),
        ("{archive}:notes.md", "a .md file; allowed"),
        ("{archive}:inner", "no member 'inner'"),
        ("broken.off", "broken.off: "),
        ("broken.zip:a.off", "not a readable zip or tar"),
    ],
)
def test_addresses_that_lead_nowhere(
    folder: Path, archive: Path, settings: Render, address: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder.parent)
    Path("broken.off").write_text("OFF\n1 1 0\n0 0 0\n3 0 1 2\n")
    Path("broken.zip").write_bytes(archive.read_bytes()[:300])
    with pytest.raises(ShapeError) as caught:
        open_shape(address.format(folder=folder, archive=archive), settings, up="y")
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_a_folder_and_its_archive_list_the_same_shapes(folder: Path, archive: Path) -> None:
    names = ["a.off", "b.npy", "c.npz", "inner/box.ply", "inner/d.h5", "inner/points.ply"]
    assert shape_files(folder) == [str(folder / name) for name in names]
    assert shape_files(archive) == [f"{archive}:{name}" for name in names]


def test_collections_without_shapes(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with zipfile.ZipFile(tmp_path / "none.zip", "w") as file:
        file.write(folder / "notes.md", "notes.md")
    for name, said in (("empty", "no shape in it"), ("none.zip", "no shape in it"), ("absent", "no such folder")):
        with pytest.raises(ShapeError, match=said):
            shape_files(tmp_path / name)


def test_a_digest_is_of_the_content(folder: Path, archive: Path, tmp_path: Path) -> None:
    (folder / "copy.off").write_text(OFF)
    assert content_digest(str(folder / "copy.off")) == content_digest(str(folder / "a.off"))
    with tarfile.open(tmp_path / "shapes.tar", "w") as file:
        file.add(folder / "a.off", "x/y.off")
        file.add(folder / "b.npy", "b.npy")
    digests = {content_digest(f"{tmp_path / 'shapes.tar'}:x/y.off"), content_digest(f"{archive}:a.off")}
    assert len(digests) == 1, "a zip and a tar say the same"
    (folder / "copy.off").write_text(OFF.replace("0 0 1\n", "0 0 2\n"))
    assert content_digest(str(folder / "copy.off")) != content_digest(str(folder / "a.off"))
    (folder / "a.xyz").write_text(OFF)
    assert content_digest(str(folder / "a.xyz")) != content_digest(str(folder / "a.off")), "its kind counts"
    with pytest.raises(ShapeError, match=r"gone\.off"):
        content_digest(str(folder / "gone.off"))


def test_points_in_any_unit_come_to_the_unit_sphere() -> None:
    cloud = np.random.default_rng(4).normal(size=(300, 3))
    expected = standard_cloud(cloud, 50)
    assert expected.dtype == np.float32 and expected.shape == (50, 3)
    for scale in (1e-30, 1e-200, 1e30, 1e200):
        assert standard_cloud(cloud * scale, 50) == pytest.approx(expected, abs=1e-6)
    single = (cloud * 1e25).astype(np.float32)  # its squares are more than float32 holds
    assert standard_cloud(single, 50) == pytest.approx(expected, abs=1e-5)


def test_real_meshes(shared_data: Path, settings: Render) -> None:
    members = shape_files(shared_data / "household.zip")
    assert len(members) == 8
    shape: Shape = open_shape(members[0], settings, up="y")
    assert shape.mesh is not None and any(material.texture is not None for material in shape.mesh.materials)
