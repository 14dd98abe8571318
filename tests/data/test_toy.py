"""Made shapes: geometry, variation and captions."""

import itertools

import numpy as np
import pytest

from c2p.data.toy import (
    FAMILIES,
    TOY_MODELNET10,
    TOY_MODELNET40,
    TOY_SCANOBJECTNN,
    TOY_SHAPENET,
    ToyShape,
    make_shape,
)
from c2p.data.toy.design import article, counted
from c2p.data.toy.families import NOUNS
from c2p.data.toy.finishes import SUBSTANCES, finish
from c2p.data.vocabulary import MODELNET10, MODELNET40, SCANOBJECTNN, SHAPENET

SEEDS = range(6)


@pytest.fixture(scope="module")
def shapes() -> dict[str, list[ToyShape]]:
    return {category: [make_shape(category, seed) for seed in SEEDS] for category in FAMILIES}


def same(one: ToyShape, other: ToyShape) -> bool:
    pairs = ((one.vertices, other.vertices), (one.faces, other.faces), (one.uv, other.uv))
    return one.captions == other.captions and all(np.array_equal(a, b) for a, b in pairs)


def test_enough_classes_in_label_order() -> None:
    assert len(FAMILIES) >= 20
    for table, official, least in (
        (TOY_MODELNET10, MODELNET10, 7),
        (TOY_MODELNET40, MODELNET40, 16),
        (TOY_SCANOBJECTNN, SCANOBJECTNN, 8),
        (TOY_SHAPENET, SHAPENET, 20),
    ):
        positions = [official.index(name) for name in table]
        assert positions == sorted(positions)
        assert len(table) >= least
        assert set(table.values()) <= set(FAMILIES)


@pytest.mark.parametrize("category", FAMILIES)
def test_meshes_are_sound(shapes: dict[str, list[ToyShape]], category: str) -> None:
    for shape in shapes[category]:
        count = len(shape.faces)
        assert (shape.vertices.dtype, shape.uv.dtype) == (np.float32, np.float32)
        assert shape.vertices.shape[1:] == (3,) and shape.uv.shape == (count, 3, 2)
        assert 30 <= count <= 5000
        assert np.isfinite(shape.vertices).all() and np.isfinite(shape.uv).all()
        assert set(np.unique(shape.faces)) == set(range(len(shape.vertices)))
        assert set(np.unique(shape.face_material)) == set(range(len(shape.materials)))
        low, high = shape.vertices.min(0), shape.vertices.max(0)
        assert np.abs(low + high).max() < 1e-6
        assert np.linalg.norm(high - low) == pytest.approx(1, abs=1e-5)
        for a, b, c in shape.vertices[shape.faces[:: max(1, count // 50)]].astype(float):
            assert np.linalg.norm(np.cross(b - a, c - a)) > 0


@pytest.mark.parametrize("category", FAMILIES)
def test_shapes_depend_on_the_seed_and_on_nothing_else(shapes: dict[str, list[ToyShape]], category: str) -> None:
    np.random.seed(1)
    assert all(same(shape, make_shape(category, seed)) for seed, shape in zip(SEEDS, shapes[category], strict=True))
    assert not any(same(a, b) for a, b in itertools.combinations(shapes[category], 2))


def test_large_seeds_differ() -> None:
    assert not same(make_shape("chair", 2**128 - 1), make_shape("chair", 2**96 - 1))


def test_captions_name_the_category(shapes: dict[str, list[ToyShape]]) -> None:
    for category, made in shapes.items():
        said = " ".join(caption for shape in made for caption in shape.captions)
        assert all(noun in said for noun in NOUNS[category])
        for shape in made:
            assert 3 <= len(shape.captions) <= 6
            assert len(set(shape.captions)) == len(shape.captions)
            assert all(any(noun in caption for noun in NOUNS[category]) for caption in shape.captions)


def test_every_official_name_is_spoken() -> None:
    for table in (TOY_MODELNET10, TOY_MODELNET40, TOY_SCANOBJECTNN, TOY_SHAPENET):
        assert all(name in NOUNS[category] for name, category in table.items())


def test_categories_differ_more_than_their_members(shapes: dict[str, list[ToyShape]]) -> None:
    """The nearest shape by a coarse grid of the surface is mostly of the same category: depth maps can tell."""
    grids, labels = [], []
    for category, made in shapes.items():
        for shape in made:
            rng = np.random.default_rng(0)
            corners = shape.vertices[shape.faces]
            area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
            face = rng.choice(len(area), 4000, p=area / area.sum())
            points = np.einsum("pk,pkd->pd", rng.dirichlet((1, 1, 1), 4000), corners[face])
            points = points - points.mean(0)
            points /= np.linalg.norm(points, axis=1).max()
            grid = np.histogramdd(points, bins=8, range=[(-1, 1)] * 3)[0].ravel() ** 0.5
            grids.append(grid / np.linalg.norm(grid))
            labels.append(category)
    alike = np.stack(grids) @ np.stack(grids).T
    np.fill_diagonal(alike, -1)
    names = np.array(labels)
    assert (names[alike.argmax(1)] == names).mean() > 0.75


def test_bad_requests_are_one_line() -> None:
    with pytest.raises(ValueError, match=r"no made shapes of category 'whale'; allowed: airplane, .*") as error:
        make_shape("whale", 0)
    assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match="got -1; allowed: 0 or more"):
        make_shape("chair", -1)


@pytest.mark.parametrize("substance", SUBSTANCES)
def test_finishes_have_small_textures_or_a_colour(substance: str) -> None:
    for seed in range(8):
        drawn = finish(np.random.default_rng(seed), substance)
        assert substance in drawn.look and drawn.colour in drawn.look
        texture = drawn.material.texture
        if texture is None:
            assert all(0 <= channel <= 1 for channel in drawn.material.diffuse)
        else:
            assert texture.dtype == np.uint8 and texture.shape[2] == 3 and max(texture.shape[:2]) <= 64
            assert drawn.material.diffuse == (1.0, 1.0, 1.0)


def test_words() -> None:
    assert (counted(1, "leg"), counted(4, "leg"), counted(3, "shelf", "shelves")) == (
        "one leg",
        "four legs",
        "three shelves",
    )
    assert (article("airplane"), article("red chair")) == ("an airplane", "a red chair")
