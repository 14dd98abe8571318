"""Named view sets: the cameras as constant matrices.

Frames: world x right, y up, z towards the viewer of the front view, right-handed. A camera frame has +X to the left of
the image, +Y up and +Z into the scene, and X_view = X_world @ R + (0, 0, distance) for row vectors; so the columns of R
are the image's left, the image's up and the viewing direction, in the world.

The ten views are CLIP2Point's (elevations and azimuths of its published code; the paper only says "four corner views"
beside the six orthogonal ones). Seen straight from above and below the up vector is parallel to the view axis, and the
published matrices hang on float32 noise; here the outcome is written down as a constant.

The tilted views are PointCLIP V2's (its published code): every 45 degrees around, 20 degrees from above, then from
below and from above, each 12 degrees off the axis.
"""

from dataclasses import dataclass
from math import cos, radians, sin, sqrt
from typing import Literal

import numpy as np

_S = sqrt(0.5)
_H = 0.5

# One row a view: name, image left, image up, viewing direction; all unit vectors in the world frame.
_FRONT = ("front", (-1, 0, 0), (0, 1, 0), (0, 0, -1))
_BACK = ("back", (1, 0, 0), (0, 1, 0), (0, 0, 1))
_LEFT = ("left", (0, 0, -1), (0, 1, 0), (1, 0, 0))
_RIGHT = ("right", (0, 0, 1), (0, 1, 0), (-1, 0, 0))
_TOP = ("top", (1, 0, 0), (0, 0, 1), (0, -1, 0))
_BOTTOM = ("bottom", (-1, 0, 0), (0, 0, 1), (0, 1, 0))
_BELOW_BACK_RIGHT = ("below back right", (_S, 0, _S), (_H, _S, -_H), (-_H, _S, _H))
_BELOW_BACK_LEFT = ("below back left", (_S, 0, -_S), (-_H, _S, -_H), (_H, _S, _H))
_BELOW_FRONT_LEFT = ("below front left", (-_S, 0, -_S), (-_H, _S, _H), (_H, _S, -_H))
_BELOW_FRONT_RIGHT = ("below front right", (-_S, 0, _S), (_H, _S, _H), (-_H, _S, -_H))

_ABOVE_BACK_RIGHT = ("above back right", (_S, 0, _S), (-_H, _S, _H), (-_H, -_S, _H))
_ABOVE_BACK_LEFT = ("above back left", (_S, 0, -_S), (_H, _S, _H), (_H, -_S, _H))
_ABOVE_FRONT_LEFT = ("above front left", (-_S, 0, -_S), (_H, _S, -_H), (_H, -_S, -_H))
_ABOVE_FRONT_RIGHT = ("above front right", (-_S, 0, _S), (-_H, _S, -_H), (-_H, -_S, -_H))

Axis = tuple[float, float, float]


def _aimed(name: str, elevation: float, azimuth: float) -> tuple[str, Axis, Axis, Axis]:
    """A row from angles in degrees: 0, 0 is the front, azimuth 90 the right; elevation goes on over the top."""
    e, a = radians(elevation), radians(azimuth)
    left = (-cos(a), 0.0, sin(a))
    up = (-sin(e) * sin(a), cos(e), -sin(e) * cos(a))
    return name, left, up, (-cos(e) * sin(a), -sin(e), -cos(e) * cos(a))


_TEN = (
    _FRONT,
    _TOP,
    _BACK,
    _BOTTOM,
    _BELOW_BACK_RIGHT,
    _BELOW_BACK_LEFT,
    _BELOW_FRONT_LEFT,
    _BELOW_FRONT_RIGHT,
    _LEFT,
    _RIGHT,
)
_SETS = {
    "ten": _TEN,
    "fourteen": (*_TEN, _ABOVE_BACK_RIGHT, _ABOVE_BACK_LEFT, _ABOVE_FRONT_LEFT, _ABOVE_FRONT_RIGHT),
    "six": (_FRONT, _RIGHT, _BACK, _LEFT, _TOP, _BOTTOM),
    "one": (_FRONT,),
    "tilted": (
        _aimed("above front right", 20, 45),
        _aimed("above back right", 20, 135),
        _aimed("above back left", 20, 225),
        _aimed("above front left", 20, 315),
        _aimed("above front", 20, 0),
        _aimed("above right", 20, 90),
        _aimed("above back", 20, 180),
        _aimed("above left", 20, 270),
        _aimed("tilted bottom", -78, 0),
        _aimed("tilted top", 102, 0),
    ),
}


@dataclass(frozen=True)
class ViewSet:
    """Cameras that look at the origin."""

    name: str
    names: tuple[str, ...]
    """(V,) what each view shows; left and right are the viewer's of the front view."""
    rotations: np.ndarray
    """(V, 3, 3) float64: X_view = X_world @ R + (0, 0, distance)."""

    def __len__(self) -> int:
        return len(self.names)


def view_set(name: Literal["ten", "six", "one", "fourteen", "tilted"] | str) -> ViewSet:
    """Give a named view set: `ten` (pre-training, adapters), `six` (zero-shot), `one` (front), `tilted` (PointCLIP V2),
    `fourteen` (the ten and the four corners from above).

    Raises ValueError: unknown name.
    """
    if name not in _SETS:
        raise ValueError(f"view set {name!r}; allowed: {', '.join(_SETS)}")
    rows = _SETS[name]
    rotations = np.array([row[1:] for row in rows], dtype=np.float64).transpose(0, 2, 1).copy()
    return ViewSet(name, tuple(row[0] for row in rows), rotations)
