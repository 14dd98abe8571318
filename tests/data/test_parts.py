"""Parts: views and clouds of models, what becomes of bad meshes, and models of real archives."""

import bz2
import hashlib
import io
import os
import tarfile
import zipfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import trimesh
from PIL import Image

from c2p.data import meshfolder, shapenet, toy
from c2p.data.archive import Archive, ArchiveError, MemberError, open_archive
from c2p.data.models import Model, fingerprint, read_mesh
from c2p.data.parts import CLOUD_SCHEMA, render_model, render_part
from c2p.data.toy.shapenet_archive import model_files
from c2p.geometry.points import normalise_points
from c2p.geometry.views import view_set
from c2p.params import Render, load

ROOT = Path(__file__).resolve().parents[2]
CHAIR = "03001627"
OFF = b"OFF\n4 4 0\n0 0 0\n1 0 0\n0 1 0\n0 0 1\n3 0 1 2\n3 0 1 3\n3 0 2 3\n3 1 2 3\n"


@pytest.fixture(scope="module")
def settings() -> Render:
    small = {"size": 24, "supersample": 1, "cloud_points": 300, "part_size": 4, "max_faces": 100_000}
    return replace(load(ROOT / "params.yaml").render, **small)


def write_zip(path: Path, members: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as file:
        for name, data in members.items():
            file.writestr(name, data)
    return path


def write_tar(path: Path, members: dict[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as file:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
    return path


def shapenet_models(folder: Path, count: int) -> list[Model]:
    """Made chairs in an archive of ShapeNet's layout."""
    members = {
        f"{CHAIR}/m{index}/{name}": data
        for index in range(count)
        for name, data in model_files(toy.make_shape("chair", index))
    }
    write_zip(folder / f"{CHAIR}.zip", members)
    (folder / "train.txt").write_text("".join(f"{CHAIR}-m{i}.npy\n" for i in range(count)))
    (folder / "val.txt").write_text("")
    return shapenet.list_models(folder)[0]


def off_model(path: Path, member: str) -> Model:
    key = member.rsplit("/", 1)[-1].removesuffix(".off")
    return Model(key, "cup", "train", str(path), member, member.rsplit("/", 1)[0], "y")


def test_a_part_holds_every_view_and_a_row_a_model(settings: Render, tmp_path: Path) -> None:
    models = shapenet_models(tmp_path / "raw", 3)
    render_part(models, settings, tmp_path / "p.tar", tmp_path / "p.parquet")
    with tarfile.open(tmp_path / "p.tar") as file:
        members = file.getmembers()
        pictures = [Image.open(io.BytesIO(file.extractfile(m).read())) for m in members]
    assert [m.name for m in members] == [f"{m.key}.rgb.{view:02d}.png" for m in models for view in range(10)]
    assert {(m.mtime, m.uid, m.gid, m.uname, m.gname, m.mode) for m in members} == {(0, 0, 0, "", "", 0o644)}
    assert {(p.mode, p.size) for p in pictures} == {("RGB", (24, 24))}
    table = pq.read_table(tmp_path / "p.parquet")
    assert table.schema.equals(CLOUD_SCHEMA)
    for model, row in zip(models, table.to_pylist(), strict=True):
        with zipfile.ZipFile(model.archive) as archive:
            data = archive.read(model.member)
        assert (row["key"], row["label"], row["split"], row["reason"]) == (model.key, "chair", "train", "")
        assert row["source"] == f"{CHAIR}.zip:{model.member}"
        assert row["sha256"] == hashlib.sha256(data).hexdigest()
        points = np.reshape(row["points"], (300, 3))
        assert np.sqrt((points**2).sum(1)).max() <= 1 + 1e-6
        mesh = trimesh.load(io.BytesIO(data), file_type="obj", force="mesh", skip_materials=True)
        original = points * row["scale"] + row["centre"]
        distance = trimesh.proximity.closest_point_naive(mesh, original[::20])[1]
        assert distance.max() < 1e-5 * row["scale"], "centre and scale lead back to the file's surface"


def test_mesh_and_cloud_share_centre_and_scale_where_asked(settings: Render, tmp_path: Path) -> None:
    """The same points of the file's mesh, in the frame in which depth maps are drawn of them."""
    model = shapenet_models(tmp_path, 1)[0]
    rotations = view_set(settings.views).rotations
    frames = {}
    for centre in ("vertices", "surface"):
        row = render_model(model, replace(settings, centre=centre), rotations).row
        frames[centre] = np.asarray(row["points"]).reshape(-1, 3)
        frames[f"{centre} in the file"] = frames[centre] * row["scale"] + row["centre"]
    np.testing.assert_allclose(frames["surface"].mean(0), 0, atol=1e-6)
    assert np.linalg.norm(frames["surface"], axis=1).max() == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(frames["surface"], normalise_points(frames["vertices"]), atol=1e-6)
    np.testing.assert_allclose(frames["surface in the file"], frames["vertices in the file"], atol=1e-5)
    assert np.abs(frames["vertices"].mean(0)).max() > 0.01  # they differ, so that the parameter says something
    views = [render_model(model, replace(settings, centre=c), rotations).views for c in ("vertices", "surface")]
    assert views[0] != views[1]


def test_same_models_same_bytes_in_any_folder(settings: Render, tmp_path: Path) -> None:
    written = []
    for name in ("one", "two"):
        models = shapenet_models(tmp_path / name / "raw", 2)
        render_part(models, settings, tmp_path / name / "p.tar", tmp_path / name / "p.parquet")
        written.append([(tmp_path / name / file).read_bytes() for file in ("p.tar", "p.parquet")])
    assert written[0] == written[1]


def test_a_model_is_the_same_alone_and_in_company(settings: Render, tmp_path: Path) -> None:
    models = shapenet_models(tmp_path / "raw", 3)
    rotations = view_set(settings.views).rotations
    render_part(models, settings, tmp_path / "p.tar", tmp_path / "p.parquet")
    alone = render_model(models[2], settings, rotations)
    together = pq.read_table(tmp_path / "p.parquet").to_pylist()[2]
    assert np.array_equal(np.float32(together["points"]), alone.row["points"])
    with tarfile.open(tmp_path / "p.tar") as file:
        views = [file.extractfile(f"{models[2].key}.rgb.{v:02d}.png").read() for v in range(10)]
    assert views == list(alone.views)


BAD = {
    "no-faces": (b"OFF\n3 0 0\n0 0 0\n1 0 0\n0 1 0\n", "no faces"),
    "nan": (OFF.replace(b"1 0 0", b"nan 0 0"), "non-finite vertices"),
    "out-of-range": (OFF.replace(b"3 1 2 3", b"3 1 2 9"), "index out of range"),
    "flat": (b"OFF\n3 1 0\n0 0 0\n1 0 0\n2 0 0\n3 0 1 2\n", "all faces degenerate"),
    "garbage": (b"\x00\x01 this is no mesh", "unreadable"),
    "empty": (b"", "unreadable"),
    "huge": (OFF.replace(b"4 4 0", b"4 400000 0"), "more than 100000 faces"),
    "broken-member": (b"OFF BROKEN\n", "can't be read"),
}


def test_bad_meshes_become_rows_with_a_reason_and_the_others_stay(settings: Render, tmp_path: Path) -> None:
    members = {f"cup/train/{name}.off": data for name, (data, _) in BAD.items()}
    members |= {"cup/train/a-good.off": OFF, "cup/train/z-good.off": OFF}
    path = write_zip(tmp_path / "m.zip", members)
    data = bytearray(path.read_bytes())
    data[data.index(b"OFF BROKEN")] ^= 0xFF
    path.write_bytes(data)
    models = [off_model(path, name) for name in sorted(members)]
    render_part(models, settings, tmp_path / "p.tar", tmp_path / "p.parquet")
    rows = {row["key"]: row for row in pq.read_table(tmp_path / "p.parquet").to_pylist()}
    assert list(rows) == [m.key for m in models], "every model has its row, in order"
    for name, (_, reason) in BAD.items():
        assert reason in rows[name]["reason"], name
        assert "\n" not in rows[name]["reason"] and str(tmp_path) not in rows[name]["reason"]
        assert (rows[name]["points"], rows[name]["faces"]) == ([], None)
    with tarfile.open(tmp_path / "p.tar") as file:
        views = Counter(name.split(".")[0] for name in file.getnames())
    assert views == {"a-good": 10, "z-good": 10}
    assert rows["a-good"]["reason"] == rows["z-good"]["reason"] == ""
    assert rows["a-good"]["faces"] == 4 and len(rows["a-good"]["points"]) == 900


def test_a_part_of_bad_meshes_only(settings: Render, tmp_path: Path) -> None:
    path = write_zip(tmp_path / "m.zip", {"cup/train/a.off": b""})
    render_part([off_model(path, "cup/train/a.off")], settings, tmp_path / "p.tar", tmp_path / "p.parquet")
    with tarfile.open(tmp_path / "p.tar") as file:
        assert file.getnames() == []
    assert pq.read_table(tmp_path / "p.parquet")["reason"].to_pylist() == ["unreadable"]


@pytest.mark.parametrize("fault", ["absent", "not an archive"])
def test_an_archive_that_fails_is_no_fault_of_its_meshes(settings: Render, tmp_path: Path, fault: str) -> None:
    """Else a disk that stumbles once would leave good meshes out for ever: finished parts are kept."""
    path = write_zip(tmp_path / "m.zip", {"cup/train/a.off": OFF})
    model = off_model(path, "cup/train/a.off")
    rotations = view_set(settings.views).rotations
    assert render_model(model, settings, rotations).row["reason"] == ""
    path.unlink()
    if fault != "absent":
        path.write_bytes(b"something else")
    with pytest.raises(ArchiveError) as error:
        render_model(model, settings, rotations)
    assert not isinstance(error.value, MemberError)


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_tars_of_a_folder_keep_their_materials(tmp_path: Path, mode: str) -> None:
    """`tar cf x.tar .` writes names that begin with `./`."""
    files = dict(model_files(toy.make_shape("chair", 2)))
    tar = write_tar(tmp_path / "m.tar", {f"./chair/train/{name}": data for name, data in files.items()}, mode)
    member = "chair/train/models/model_normalized.obj"
    assert member in open_archive(tar).names
    read = [
        read_mesh(Model("a", "chair", "train", str(path), member, "chair/train", "y"), max_faces=100_000)
        for path in (tar, write_zip(tmp_path / "m.zip", {f"chair/train/{n}": d for n, d in files.items()}))
    ]
    colours = [sorted(tuple(m.diffuse) for m in mesh.materials) for mesh in read]
    assert colours[0] == colours[1] and len(colours[0]) > 1
    textures = [sum(m.texture is not None for m in mesh.materials) for mesh in read]
    assert textures[0] == textures[1] == sum(name.startswith("images/") for name in files)


def test_names_with_backslashes_are_paths(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "m.zip", {"cup@train@a.off": OFF, "cup@test@b.off": OFF})
    path.write_bytes(path.read_bytes().replace(b"@", b"\\"))  # as old Windows programs write them
    models, classes = meshfolder.list_models(path, up="y")
    assert classes == ("cup",) and [m.split for m in models] == ["test", "train"]
    assert all(len(read_mesh(m, max_faces=10).faces) == 4 for m in models)


@pytest.mark.parametrize("make", [write_zip, write_tar])
def test_fingerprints_follow_content_even_of_equal_size_and_time(tmp_path: Path, make) -> None:
    """A tar written reproducibly has the same time on every member."""
    prints = []
    for name, mesh in (("1", OFF), ("2", OFF.replace(b"1 0 0", b"2 0 0")), ("3", OFF)):
        path = make(tmp_path / f"{name}.bin", {"cup/train/a.off": mesh, "cup/train/b.off": OFF})
        prints.append(fingerprint(off_model(path, "cup/train/a.off")))
    assert prints[0] == prints[2] != prints[1]


def test_an_archive_that_was_replaced_is_opened_anew(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "m.zip", {"a.off": b"one"})
    assert open_archive(path) is open_archive(path)
    write_zip(tmp_path / "new.zip", {"a.off": b"two", "b.off": b""})
    os.replace(tmp_path / "new.zip", path)
    assert open_archive(path).read("a.off") == b"two"
    assert open_archive(path).names == ["a.off", "b.off"]


def test_archives_nobody_holds_are_closed(tmp_path: Path) -> None:
    files = [write_zip(tmp_path / "m.zip", {"a": b"1"}), write_tar(tmp_path / "m.tar", {"a": b"1"})]
    before = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").is_dir() else pytest.skip("needs /proc")
    for _ in range(20):
        assert [Archive(path).read("a") for path in files] == [b"1", b"1"]
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_corrupt_compressed_member_is_the_members_fault(tmp_path: Path) -> None:
    path = tmp_path / "m.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_BZIP2) as file:
        file.writestr("a.off", OFF)
    data = bytearray(path.read_bytes())
    data[data.index(bz2.compress(OFF)[:4])] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(MemberError, match=r"a\.off can't be read"):
        Archive(path).read("a.off")


def test_real_shapenet_models_show_their_textures(shared_data: Path, settings: Render, tmp_path: Path) -> None:
    folder = shared_data / "shapenetcore_v2"
    archives = sorted(folder.glob("*.zip"))
    places = [(a, name.split("/")) for a in archives for name in Archive(a).names if name.endswith(".obj")]
    for archive in archives:
        (tmp_path / archive.name).symlink_to(archive)
    (tmp_path / "train.txt").write_text("".join(f"{a.stem}-{parts[1]}.npy\n" for a, parts in places))
    (tmp_path / "val.txt").write_text("")
    models, classes = shapenet.list_models(tmp_path)
    assert classes == ("bed", "chair") and Counter(m.label for m in models) == {"bed": 2, "chair": 2}
    assert all("." not in m.key for m in models)
    settings = replace(settings, size=64, supersample=2)
    render_part(models, settings, tmp_path / "p.tar", tmp_path / "p.parquet")
    assert pq.read_table(tmp_path / "p.parquet")["reason"].to_pylist() == [""] * 4
    rotations = view_set("ten").rotations
    with tarfile.open(tmp_path / "p.tar") as file:
        pictures = [np.asarray(Image.open(io.BytesIO(file.extractfile(m).read()))) for m in file.getmembers()]
    for model, shown in zip(models, np.reshape(pictures, (4, 10, 64, 64, 3)), strict=True):
        bare = replace(model, root=f"{model.root}/models")  # its textures lie outside
        plain = [np.asarray(Image.open(io.BytesIO(v))) for v in render_model(bare, settings, rotations).views]
        colours, without = (len(np.unique(np.reshape(p, (-1, 3)), axis=0)) for p in (shown, plain))
        assert colours > 500 and colours > 1.25 * without, (model.key, colours, without)
        assert (shown != plain).any(-1).mean() > 0.01


def test_the_princeton_meshes_are_listed(shared_data: Path) -> None:
    models, classes = meshfolder.list_models(shared_data / "psb25.zip", up="y")
    assert len(classes) == 25 and len(models) == 602
    assert len({m.key for m in models}) == 602 and all("." not in m.key for m in models)
    assert {(m.label, m.split) for m in models} == {(c, s) for c in classes for s in ("train", "test")}
    some = models[::60]
    faces = [len(read_mesh(m, max_faces=10**6).faces) for m in some]
    assert min(faces) >= 16
