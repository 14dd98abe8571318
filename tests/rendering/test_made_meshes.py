"""The benchmarks' meshes are what they say, and the renderers' times are taken of them."""

import numpy as np
import pytest
import trimesh

from benchmarks import renderers
from benchmarks.meshes import FLIPPED, MeshFiles, made_mesh
from c2p.geometry.meshes import Mesh, load_mesh


def loaded(made: MeshFiles) -> Mesh:
    return load_mesh(made.files[made.name], "obj", read=made.files.get, max_faces=10**6)


@pytest.mark.parametrize(("faces", "textured", "seed"), [(500, True, 0), (2_000, False, 1), (20_000, True, 2)])
def test_made_meshes_are_what_they_say(faces: int, textured: bool, seed: int) -> None:
    made = made_mesh(faces, textured=textured, seed=seed)
    assert made.files == made_mesh(faces, textured=textured, seed=seed).files
    assert made.files[made.name] != made_mesh(faces, textured=textured, seed=seed + 10).files[made.name]
    assert abs(made.faces - faces) <= 0.02 * faces
    mesh = loaded(made)
    assert len(mesh.faces) == made.faces and len(mesh.materials) == 6
    assert all((material.texture is not None) == textured for material in mesh.materials)
    closed = neighbours = disagreeing = 0
    for index in range(6):
        part = trimesh.Trimesh(mesh.vertices, mesh.faces[mesh.face_material == index], process=False)
        edges = np.unique(np.sort(part.edges, axis=1), axis=0, return_counts=True)[1]
        assert edges.max() == 2
        closed += edges.min() == 2
        neighbours += len(part.face_adjacency)
        disagreeing += len(part.face_adjacency) - consistent(part)
    assert closed == 3
    assert disagreeing / neighbours == pytest.approx(2 * FLIPPED * (1 - FLIPPED), abs=0.08)


def consistent(part: trimesh.Trimesh) -> int:
    """Neighbouring faces that run along their common edge in opposite directions."""
    directed = {(a, b) for face in part.faces.tolist() for a, b in zip(face, face[1:] + face[:1], strict=True)}
    return sum((a, b) in directed and (b, a) in directed for a, b in part.face_adjacency_edges.tolist())


def test_too_few_faces_are_one_line() -> None:
    with pytest.raises(ValueError, match=r"^faces: got 12; allowed: at least 100$"):
        made_mesh(12, textured=False, seed=0)


def test_times_are_those_of_renderers_that_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("C2P_DEVICE", "cpu")
    result = renderers.measure(repeats=1, pytorch3d=False, sizes=((2_000, False), (2_000, True)))
    assert list(result["meshes"]) == ["2k", "2k textured"]
    assert result["absent"]["pytorch3d"] == "not asked for" and result["render_ratio_to_pytorch3d"] is None
    for row in result["meshes"].values():
        assert abs(row["faces"] - 2_000) <= 40
        for samples in ("1x1", "2x2"):
            assert set(row[samples]) | set(result["absent"]) == {*renderers.BACKENDS, "pytorch3d"}
            for figure in row[samples].values():
                assert figure["ms"] > 0 and figure["views_per_s"] == pytest.approx(1e4 / figure["ms"], rel=0.01)
    assert renderers.os.environ["C2P_DEVICE"] == "cpu"
