"""Solids against volumes and areas known in closed form."""

import numpy as np
import pytest

from c2p.data.toy.solids import (
    Solid,
    X,
    Y,
    Z,
    box,
    circle,
    cushion,
    cylinder,
    draped,
    lathe,
    loft,
    moved,
    prism,
    smooth,
    stretched,
    tube,
    turned,
)


def volume(solid: Solid) -> float:
    """Signed volume, by a loop over tetrahedra; positive where faces look outwards."""
    return sum(float(np.dot(a, np.cross(b, c))) / 6 for a, b, c in solid.vertices[solid.faces])


def is_closed(solid: Solid) -> bool:
    """Every directed edge has its opposite, with corners at the same place taken as one."""
    _, same = np.unique(np.round(solid.vertices, 9), axis=0, return_inverse=True)
    edges: dict[tuple[int, int], int] = {}
    for face in same.reshape(-1)[solid.faces]:
        for a, b in zip(face, np.roll(face, -1), strict=True):
            edges[(int(a), int(b))] = edges.get((int(a), int(b)), 0) + 1
    return all(edges.get((b, a), 0) == count for (a, b), count in edges.items())


CASES = [
    (box((1, 2, 3), (5, 6, 7)), 6.0),
    (box((2, 3, 4), top=0.5), 3 * (8 + 2 + 4) / 3),
    (cylinder(0.5, 2, (1, 1, 1), axis=X, segments=200), np.pi / 2),
    (cylinder(0.5, 2, axis=Y, segments=200), np.pi / 2),
    (cylinder(0.5, 2, axis=Z, segments=200), np.pi / 2),
    (lathe([(0, 0), (1, 0), (0, 1)], segments=200), np.pi / 3),
    (lathe([(0, 1), (1, 1), (1, 0), (0, 0)], segments=4, roundness=0.001), 4.0),
    (cushion((2, 2, 2), (3, 0, 0), roundness=1.0, detail=80), 4 * np.pi / 3),
    (cushion((1, 2, 3), roundness=0.02, detail=40), 6.0),
    (tube([(0, 0, 0), (0, 1, 0), (0, 2, 0)], 0.3, sides=100), np.pi * 0.09 * 2),
    (prism(np.array([(0, 0), (2, 0), (2, 1), (0, 1)]), 0.5), 1.0),
    (stretched(box((1, 1, 1)), (2, 3, 4)), 24.0),
    (draped(moved(turned(box((1, 2, 3)), 33, Y, about=(4, 5, 6)), (1, 1, 1))), 6.0),
]


@pytest.mark.parametrize(("solid", "expected"), CASES)
def test_solids_are_closed_and_look_outwards(solid: Solid, expected: float) -> None:
    assert volume(solid) == pytest.approx(expected, rel=0.02)
    assert is_closed(solid)
    assert solid.uv.shape == (len(solid.faces), 3, 2)
    assert np.isfinite(solid.uv).all()


def test_texture_lengths_are_true_on_flat_sides() -> None:
    """Edges are as long in the texture as in space: of a box's faces, and of a cylinder's side."""
    for solid, faces in ((box((1, 2, 3)), slice(None)), (cylinder(1, 2, segments=64), slice(0, 128))):
        for corners, uv in zip(solid.vertices[solid.faces[faces]], solid.uv[faces], strict=True):
            for k in range(3):
                length = np.linalg.norm(corners[k] - corners[k - 1])
                assert np.linalg.norm(uv[k] - uv[k - 1]) == pytest.approx(length, abs=1e-9)


def test_turning_is_anticlockwise() -> None:
    arrow = Solid(np.eye(3), np.array([[0, 1, 2]]), np.zeros((1, 3, 2)))
    for axis in (X, Y, Z):
        first, second = np.eye(3)[(axis + 1) % 3], np.eye(3)[(axis + 2) % 3]
        result = turned(arrow, 90, axis).vertices
        assert np.allclose(result[axis], np.eye(3)[axis])
        assert np.allclose(result[(axis + 1) % 3], second)
        assert np.allclose(result[(axis + 2) % 3], -first)


def test_smooth_passes_through_its_points() -> None:
    points = [(0, 0), (1, 2), (3, 1), (4, 4)]
    assert np.allclose(smooth(points, 7)[::2], points)


def test_four_points_of_the_circle_are_a_square() -> None:
    assert np.allclose(np.abs(circle(4)), np.sqrt(0.5))


def test_rings_of_radius_zero_leave_no_degenerate_faces() -> None:
    ring = np.stack([circle(8)[:, 0], np.zeros(8), circle(8)[:, 1]], -1)
    cone = loft(np.stack([ring, 0 * ring + (0, 1, 0)]))
    assert len(cone.faces) == 16
    assert len(cone.vertices) == len(np.unique(cone.faces))
