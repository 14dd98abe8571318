"""Library versions: in the keys of pieces, and in a sample as they were when its pictures were taken."""

import json
import tarfile
from pathlib import Path

import pytest
from test_data_stages import make_project, pieces, run

from c2p.data import scene


def told(folder: Path) -> list[dict[str, str]]:
    """Versions in every sample."""
    found = []
    for shard in sorted((folder / "data/shards").glob("*.tar")):
        with tarfile.open(shard) as file:
            names = [name for name in file.getnames() if name.endswith(".json")]
            found += [json.load(file.extractfile(name))["scene"]["versions"] for name in names]
    return found


def test_a_sample_tells_what_it_was_rendered_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project, installed = make_project(tmp_path), scene._version
    monkeypatch.setattr(scene, "_version", lambda name: "1.2.3" if name == "trimesh" else installed(name))
    run(project, "download", "render", "sample")
    made = pieces(project)
    monkeypatch.undo()  # since then trimesh has been replaced
    run(project, "shards")
    versions = told(project)
    assert len(versions) == 15
    for sample in versions:
        assert sample == {name: "1.2.3" if name == "trimesh" else installed(name) for name in scene.LIBRARIES}
    assert set(pieces(project)) > set(made)

    run(project, "render", "sample", "shards")
    assert {sample["trimesh"] for sample in told(project)} == {installed("trimesh")}, "another version, another key"


def test_a_changed_version_makes_the_pieces_that_depend_on_it_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project, installed = make_project(tmp_path), scene._version
    run(project, "download", "render", "sample")
    before = pieces(project)
    monkeypatch.setattr(scene, "_version", lambda name: "0.0.1" if name == "torch" else installed(name))
    run(project, "render", "sample")
    assert pieces(project) == before, "torch decides no byte of views and points"
    monkeypatch.setattr(scene, "_version", lambda name: "0.0.1" if name == "numpy" else installed(name))
    run(project, "sample")
    assert len(pieces(project)) > len(before)
