"""Archives read in place from an S3 server: the bytes of a run that has them here, and what a change of them does."""

import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest
from test_data_stages import STAGES, box, contents, good_members, make_project, run, set_params, write_zip

from c2p.data import places, toy
from c2p.data.catalogue import COLLECTIONS
from c2p.data.elsewhere import describe
from c2p.data.official import MODELNET_UP, OFFICIAL, Official
from c2p.data.sources import Source, list_source, write_sources
from c2p.data.toy.shapenet_archive import model_files
from c2p.data.vocabulary import MODELNET40

MODELNET = "modelnet40_manually_aligned.zip"
assert MODELNET in [file.name for file in COLLECTIONS["modelnet40"].instead]


def modelnet(path: Path) -> Path:
    """All forty classes, one mesh a split, as an archive of the catalogue's name."""
    members = {
        f"modelnet40/{label}/{split}/{label}_{index:04d}.off": box(1, 1 + number / 40, 1 + index)
        for number, label in enumerate(MODELNET40)
        for index, split in enumerate(("train", "test"))
    }
    return write_zip(path, members)


def project_with_modelnet(folder: Path, meshes: str = "") -> Path:
    project = make_project(folder)
    set_params(project, download={"benchmarks": ["meshes", "modelnet40"]})
    if meshes:
        set_params(project, download={"meshes": meshes})
    return project


def sources(project: Path) -> dict[str, Any]:
    return dict(json.loads((project / "data/raw/sources.json").read_text()))


def test_a_run_on_archives_elsewhere(tmp_path: Path, s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(OFFICIAL, "modelnet40", Official({"train": 40, "test": 40}, MODELNET_UP))
    here = project_with_modelnet(tmp_path / "here")
    modelnet(here / ".c2p/downloads/modelnet40" / MODELNET)
    run(here, *STAGES)

    archive = modelnet(tmp_path / MODELNET)
    places.upload(archive, f"{s3}/archives/modelnet40/{MODELNET}", ".tmp")
    for path, data in good_members().items():
        (tmp_path / "member").write_bytes(data)
        places.upload(tmp_path / "member", f"{s3}/mine/{path}", ".tmp")
    there = project_with_modelnet(tmp_path / "there", f"{s3}/mine")
    monkeypatch.setenv("C2P_ARCHIVES", f"{s3}/archives")
    run(there, *STAGES)

    made = contents(there)
    assert not [name for name in made if name.startswith("data/raw/modelnet40")], "neither fetched nor copied"
    known = sources(there)["elsewhere"]
    assert known == {f"modelnet40/{MODELNET}": describe(archive)}
    assert s3 not in json.dumps(sources(there)), "no machine's names"
    raw = [name for name in made if name.startswith("data/raw")]
    assert raw == ["data/raw/meshes/mine.zip", "data/raw/sources.json"]
    with zipfile.ZipFile(there / raw[0]) as packed:
        assert {name: packed.read(name) for name in packed.namelist()} == good_members()
    expected = {name: data for name, data in contents(here).items() if not name.startswith("data/raw")}
    assert {name: data for name, data in made.items() if name not in raw} == expected

    write_zip(tmp_path / MODELNET, {"modelnet40/chair/train/chair_0001.off": box(3, 3, 3)})
    places.upload(tmp_path / MODELNET, f"{s3}/archives/modelnet40/{MODELNET}", ".tmp")
    monkeypatch.setattr(places, "_FRESH_S", 1e-9)  # what was known of the old one a moment ago counts no longer
    with pytest.raises(ValueError, match=r"not the archive that the download stage found; run `dvc repro -f download`"):
        run(there, "benchmarks")
    before = (there / "data/raw/sources.json").read_bytes()
    run(there, "download")
    assert (there / "data/raw/sources.json").read_bytes() != before, "DVC sees that its output differs"
    monkeypatch.delenv("C2P_ARCHIVES")
    with pytest.raises(ValueError, match=r"not below C2P_ARCHIVES \(which is not set\)"):
        run(there, "benchmarks")


def test_shapenet_is_read_where_it_lies_and_lists_are_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base, raw = tmp_path / "archives", tmp_path / "raw"
    for synset, label in (("02691156", "airplane"), ("03001627", "chair")):
        members = {
            f"{synset}/{index}/{name}": data
            for index in range(2)
            for name, data in model_files(toy.make_shape(label, index))
        }
        write_zip(base / f"shapenet/{synset}.zip", members)
    (raw / "shapenet").mkdir(parents=True)
    (raw / "shapenet/train.txt").write_text("02691156-0\n03001627-0\n")
    (raw / "shapenet/val.txt").write_text("02691156-1\n03001627-1\n")
    shutil.move(base / "shapenet/02691156.zip", raw / "shapenet")  # one here, one there
    known = {"shapenet/03001627.zip": describe(base / "shapenet/03001627.zip")}
    write_sources(raw, [Source("shapenet", "shapenet", "y", False)], known)
    monkeypatch.setenv("C2P_ARCHIVES", f"file://{base}")
    models, classes = list_source(raw, "shapenet")
    assert classes == ("airplane", "chair")
    assert [(m.key, m.archive) for m in models] == [
        ("02691156-0", str(raw / "shapenet/02691156.zip")),
        ("02691156-1", str(raw / "shapenet/02691156.zip")),
        ("03001627-0", str(base / "shapenet/03001627.zip")),
        ("03001627-1", str(base / "shapenet/03001627.zip")),
    ]


@pytest.mark.parametrize(
    ("meshes", "said"),
    [
        ("s3://no-such-bucket-of-ours/mine.zip", "s3://no-such-bucket-of-ours/mine.zip: nothing lies there"),
        ("http://127.0.0.1:1/mine.zip", "http://127.0.0.1:1/mine.zip: Cannot connect"),
        ("quux://x/mine.zip", "quux://x/mine.zip: Protocol not known"),
    ],
)
def test_meshes_behind_a_wrong_url_are_one_line(tmp_path: Path, s3: str, meshes: str, said: str) -> None:
    project = make_project(tmp_path)
    set_params(project, download={"meshes": meshes})
    with pytest.raises(OSError) as error:
        run(project, "download")
    assert str(error.value).startswith(said) and "\n" not in str(error.value)


def test_meshes_behind_a_url_that_is_no_archive(tmp_path: Path, s3: str) -> None:
    (tmp_path / "mine.zip").write_bytes(b"<html>not found</html>")
    places.upload(tmp_path / "mine.zip", f"{s3}/mine.zip", ".tmp")
    project = make_project(tmp_path / "p")
    set_params(project, download={"meshes": f"{s3}/mine.zip"})
    with pytest.raises(ValueError, match=r"mine\.zip: not a readable zip or tar"):
        run(project, "download")
