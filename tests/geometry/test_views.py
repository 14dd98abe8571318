"""The view sets against the published cameras, built from elevation and azimuth."""

from math import cos, radians, sin

import numpy as np
import pytest

from c2p.geometry.views import view_set

TEN = [(0, 0), (90, 0), (180, 0), (270, 0), (225, -45), (225, 45), (315, -45), (315, 45), (0, -90), (0, 90)]
ANGLES = {
    "ten": TEN,
    "fourteen": [*TEN, *((45, azimuth) for azimuth in (135, -135, -45, 45))],
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


@pytest.mark.parametrize("name", ["ten", "fourteen", "six", "one"])
def test_published_angles(name: str) -> None:
    views = view_set(name)
    assert len(views) == len(views.names) == len(ANGLES[name])
    for rotation, (elevation, azimuth) in zip(views.rotations, ANGLES[name], strict=True):
        e, a = radians(elevation), radians(azimuth)
        direction = np.array([cos(e) * sin(a), sin(e), cos(e) * cos(a)])
        np.testing.assert_allclose(-rotation[:, 2], direction, atol=1e-12)
        if abs(direction[1]) < 0.9:
            np.testing.assert_allclose(rotation, look_at_origin(elevation, azimuth), atol=1e-12)


@pytest.mark.parametrize("name", ["ten", "fourteen", "six", "one", "tilted"])
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
    with pytest.raises(ValueError, match=r"'twelve'; allowed: ten, fourteen, six, one"):
        view_set("twelve")


def test_tilted_views_are_pointclip_v2s_turns_one_after_the_other() -> None:
    """Its code turns points about the image's row axis, then tips them towards the viewer: rows, columns, nearness."""

    def turn(x: float, y: float, z: float) -> np.ndarray:
        about_x = np.array([[1, 0, 0], [0, cos(x), -sin(x)], [0, sin(x), cos(x)]])
        about_y = np.array([[cos(y), 0, sin(y)], [0, 1, 0], [-sin(y), 0, cos(y)]])
        about_z = np.array([[cos(z), -sin(z), 0], [sin(z), cos(z), 0], [0, 0, 1]])
        return about_x @ about_y @ about_z

    quarter = np.pi / 2
    around = [(n * np.pi / 4, 0, quarter) for n in (1, 3, 5, 7, 0, 2, 4, 6)]
    first = [turn(*angles) for angles in [*around, (0, -quarter, quarter), (0, quarter, quarter)]]
    second = [turn(0, np.pi / 9, 0)] * 8 + [turn(0, np.pi / 15, 0)] * 2
    point = np.array([0.3, -0.5, 0.7])
    for rotation, one, two in zip(view_set("tilted").rotations, first, second, strict=True):
        down, right, near = two @ one @ point
        np.testing.assert_allclose(point @ rotation, [-right, -down, -near], atol=1e-12)
