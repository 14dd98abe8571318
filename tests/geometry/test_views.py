"""The view sets against the published cameras, built from elevation and azimuth."""

from math import cos, radians, sin

import numpy as np
import pytest

from c2p.geometry.views import view_set

ANGLES = {
    "ten": [(0, 0), (90, 0), (180, 0), (270, 0), (225, -45), (225, 45), (315, -45), (315, 45), (0, -90), (0, 90)],
    "six": [(0, 0), (0, 90), (0, 180), (0, 270), (90, 0), (-90, 180)],
    "one": [(0, 0)],
}


def look_at_origin(elevation: float, azimuth: float) -> np.ndarray:
    """Rotation of a camera that looks at the origin with up = +y; undefined straight above and below."""
    e, a = radians(elevation), radians(azimuth)
    forward = -np.array([cos(e) * sin(a), sin(e), cos(e) * cos(a)])
    left = np.cross([0, 1, 0], forward)
    left /= np.linalg.norm(left)
    return np.stack([left, np.cross(forward, left), forward], axis=1)


@pytest.mark.parametrize("name", ["ten", "six", "one"])
def test_published_angles(name: str) -> None:
    views = view_set(name)
    assert len(views) == len(views.names) == len(ANGLES[name])
    for rotation, (elevation, azimuth) in zip(views.rotations, ANGLES[name], strict=True):
        e, a = radians(elevation), radians(azimuth)
        direction = np.array([cos(e) * sin(a), sin(e), cos(e) * cos(a)])
        np.testing.assert_allclose(-rotation[:, 2], direction, atol=1e-12)
        if abs(direction[1]) < 0.9:
            np.testing.assert_allclose(rotation, look_at_origin(elevation, azimuth), atol=1e-12)


@pytest.mark.parametrize("name", ["ten", "six", "one"])
def test_right_handed_rotations(name: str) -> None:
    for rotation in view_set(name).rotations:
        np.testing.assert_allclose(rotation.T @ rotation, np.eye(3), atol=1e-15)
        assert np.linalg.det(rotation) == pytest.approx(1)


def test_roll_of_top_and_bottom() -> None:
    ten, six = view_set("ten").rotations, view_set("six").rotations
    for top in (ten[1], six[4]):
        assert top.T.tolist() == [[1, 0, 0], [0, 0, 1], [0, -1, 0]]
    for bottom in (ten[3], six[5]):
        assert bottom.T.tolist() == [[-1, 0, 0], [0, 0, 1], [0, 1, 0]]


def test_world_axes_in_the_front_view() -> None:
    front = view_set("one").rotations[0]
    right, up, towards_viewer = np.eye(3) @ front
    assert right.tolist() == [-1, 0, 0]  # camera +X is the image's left
    assert up.tolist() == [0, 1, 0]
    assert towards_viewer.tolist() == [0, 0, -1]  # nearer


def test_corner_views_look_from_below() -> None:
    assert (-view_set("ten").rotations[4:8, 1, 2] == -np.sqrt(0.5)).all()


def test_unknown_name() -> None:
    with pytest.raises(ValueError, match=r"'twelve'; allowed: ten, six, one"):
        view_set("twelve")
