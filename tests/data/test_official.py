"""Official sizes and axes, and that every collection ends up in one frame."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from c2p.data import modelnet, toy
from c2p.data.clouds import upright_mesh
from c2p.data.models import Model
from c2p.data.official import MODELNET_UP, OFFICIAL, check_sizes
from c2p.data.toy.packing import model_id
from c2p.geometry.meshes import normalise, rotate_up

PAPER = {"modelnet10": (3991, 908), "modelnet40": (9843, 2468)}


def test_sizes_are_the_papers() -> None:
    for name, (train, test) in PAPER.items():
        check_sizes(name, {"train": train, "test": test}, Path("a.zip"))
    for name, test in zip(list(OFFICIAL)[2:], (581, 581, 2882), strict=True):
        check_sizes(name, {"train": 1, "test": test}, Path("a"))
    assert list(OFFICIAL)[2:] == ["scanobjectnn_obj_only", "scanobjectnn_obj_bg", "scanobjectnn_pb_t50_rs"]


@pytest.mark.parametrize(
    ("name", "found", "said"),
    [
        ("modelnet40", {"train": 9840, "test": 2468}, "modelnet40 has 9,840 train objects; expected: 9,843"),
        ("modelnet40", {"train": 9843, "test": 2467}, "modelnet40 has 2,467 test objects; expected: 2,468"),
        ("modelnet10", {"test": 908}, "modelnet10 has 0 train objects; expected: 3,991"),
        ("scanobjectnn_pb_t50_rs", {"train": 5, "test": 581}, "has 581 test objects; expected: 2,882"),
    ],
)
def test_another_number_is_one_line(name: str, found: dict, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)) as error:
        check_sizes(name, found, Path("a.zip"))
    assert "\n" not in str(error.value) and "a.zip" in str(error.value) and "fetch" in str(error.value)


def test_the_turn_of_modelnet_is_the_published_one() -> None:
    x, y, z = 2.0, 3.0, 5.0
    assert rotate_up(np.array([[x, y, z]]), MODELNET_UP).tolist() == [[-y, z, -x]]
    turn = rotate_up(np.eye(3), MODELNET_UP)
    assert np.linalg.det(turn) == pytest.approx(1), "a rotation, no mirror image"


def test_made_modelnet_ends_up_in_the_frame_of_the_shapes(tmp_path: Path) -> None:
    """What is read from the archive's turned files is the shape as it was made: y up, front to +z."""
    toy.write_modelnet(tmp_path / "m.zip", name="ModelNet10", seed=3, train=1, test=1)
    models, _ = modelnet.list_models(tmp_path / "m.zip", name="modelnet10", complete=False)
    assert {m.up for m in models} == {MODELNET_UP}
    categories = {label.replace("_", " "): category for label, category in toy.TOY_MODELNET10.items()}
    for model in models:
        category, index = categories[model.label], ("train", "test").index(model.split)
        seed = model_id(3, collection="ModelNet10", category=category, split=model.split, index=index)
        shape = toy.make_shape(category, int(seed, 16))
        made = corners(shape.vertices, shape.faces)
        assert np.allclose(corners_of(model), made, atol=1e-3)
        assert not np.allclose(corners_of(replace(model, up="y")), made, atol=0.1)


def corners_of(model: Model) -> np.ndarray:
    mesh = upright_mesh(model, max_faces=10**6)
    return corners(mesh.vertices, mesh.faces)


def corners(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Corners of all faces, which a reader keeps where it joins vertices; centred and of norm 1 at most."""
    return normalise(vertices.astype(float)[faces].reshape(-1, 3))[0]
