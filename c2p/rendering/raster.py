"""Rasterising by the edge functions of a face's pyramid: the default backend, compiled, on the CPU.

A sample's ray d = (x, y, 1) leaves the camera at the origin. It meets the face (a, b, c), given in the camera frame,
where d.(b x c), d.(c x a) and d.(a x b) have one sign; their shares of their sum are the barycentric weights, and
a.(b x c) divided by the sum is the view depth. This is ray casting without a search, in the homogeneous form of Olano
and Greer (1997): nothing is projected or clipped, and since the edge functions of neighbouring faces are each other's
exact negatives, no ray slips through between two of them.
"""

from math import radians, tan

import numpy as np

from c2p.geometry.meshes import Mesh
from c2p.kernel import kernel
from c2p.rendering.gbuffer import MISS, GBuffer, sample_centres

NEAR = 1e-3
"""Vertices with a view depth below this are not projected: their faces are tried in every sample."""
SLACK = 1e-6
"""Samples by which a face's box is widened for rounding; the edge functions decide."""
WIDE = 6
"""Columns from which a row's span is worked out before its samples are tried."""


class RasterScene:
    """A mesh as contiguous arrays."""

    def __init__(self, mesh: Mesh) -> None:
        self._vertices = np.ascontiguousarray(mesh.vertices, dtype=np.float64)
        self._faces = np.ascontiguousarray(mesh.faces, dtype=np.int32)

    def rasterize(self, rotation: np.ndarray, distance: float, fov: float, size: int) -> GBuffer:
        """See the mesh in a view (gbuffer.Scene); of equally near faces the first is seen."""
        face = np.full((size, size), MISS, dtype=np.int32)
        barycentric = np.zeros((size, size, 3), dtype=np.float32)
        depth = np.zeros((size, size), dtype=np.float32)
        nearness = np.zeros((size, size))
        turn, half = np.ascontiguousarray(rotation, dtype=np.float64), tan(radians(fov) / 2)
        view, place = _to_view(self._vertices, turn, float(distance), half, size)
        _fill(view, place, self._faces, sample_centres(fov, size), half, face, barycentric, depth, nearness)
        return GBuffer(face, barycentric, depth)


def prepare(mesh: Mesh) -> RasterScene:
    """Make a mesh ready for rasterising."""
    return RasterScene(mesh)


@kernel
def _to_view(
    vertices: np.ndarray, turn: np.ndarray, distance: float, half: float, size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Vertices in the camera frame (V, 3), and the column and row they fall on (V, 2), whole at samples' centres.

    Written out: a matrix product's last bits depend on the library behind it. Without a place (NaN) before NEAR.
    """
    view, place = np.empty_like(vertices), np.full((len(vertices), 2), np.nan)
    for i in range(len(vertices)):
        x, y, z = vertices[i, 0], vertices[i, 1], vertices[i, 2]
        for axis in range(3):
            view[i, axis] = x * turn[0, axis] + y * turn[1, axis] + z * turn[2, axis]
        view[i, 2] += distance
        if view[i, 2] > NEAR:
            scale = 1 / (view[i, 2] * half)
            for axis in range(2):
                place[i, axis] = ((1 - view[i, axis] * scale) * size - 1) / 2
    return view, place


@kernel
def _fill(
    view: np.ndarray,
    place: np.ndarray,
    faces: np.ndarray,
    centres: np.ndarray,
    half: float,
    face_id: np.ndarray,
    barycentric: np.ndarray,
    depth: np.ndarray,
    nearness: np.ndarray,
) -> None:
    """Draw every face into the buffers; nearness is 1 / view depth of what a sample sees so far, 0 = nothing.

    centres: (S,) x or y of the samples at view depth 1, falling; half: the first sample's border there.
    """
    size = len(centres)
    for f in range(len(faces)):
        i, j, k = faces[f, 0], faces[f, 1], faces[f, 2]
        left, right = _span(place[i, 0], place[j, 0], place[k, 0], size)
        top, bottom = _span(place[i, 1], place[j, 1], place[k, 1], size)
        if left > right or top > bottom:
            continue  # between the samples
        ax, ay, az = view[i, 0], view[i, 1], view[i, 2]
        bx, by, bz = view[j, 0], view[j, 1], view[j, 2]
        cx, cy, cz = view[k, 0], view[k, 1], view[k, 2]
        px, py, pz = by * cz - bz * cy, bz * cx - bx * cz, bx * cy - by * cx  # b x c
        qx, qy, qz = cy * az - cz * ay, cz * ax - cx * az, cx * ay - cy * ax  # c x a
        rx, ry, rz = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx  # a x b
        volume = ax * px + ay * py + az * pz
        if volume == 0:
            continue  # seen edge-on
        if volume < 0:
            volume = -volume
            px, py, pz, qx, qy, qz, rx, ry, rz = -px, -py, -pz, -qx, -qy, -qz, -rx, -ry, -rz
        for row in range(top, bottom + 1):
            y = centres[row]
            p, q, r = py * y + pz, qy * y + qz, ry * y + rz
            first, last = left, right
            if last - first >= WIDE:
                first, last = _cut(px, p, first, last, half, size)
                first, last = _cut(qx, q, first, last, half, size)
                first, last = _cut(rx, r, first, last, half, size)
            for column in range(first, last + 1):
                x = centres[column]
                alpha, beta, gamma = px * x + p, qx * x + q, rx * x + r
                if alpha >= 0 and beta >= 0 and gamma >= 0:
                    total = alpha + beta + gamma
                    near = total / volume
                    if near > nearness[row, column]:
                        nearness[row, column] = near
                        face_id[row, column] = f
                        share = 1 / total
                        barycentric[row, column, 0] = alpha * share
                        barycentric[row, column, 1] = beta * share
                        barycentric[row, column, 2] = gamma * share
                        depth[row, column] = volume * share


@kernel
def _span(a: float, b: float, c: float, size: int) -> tuple[int, int]:
    """First and last sample between three places; all of them where a vertex has no place."""
    if not (a == a and b == b and c == c):
        return 0, size - 1
    low, high = (a, b) if a < b else (b, a)
    low, high = (c if c < low else low), (c if c > high else high)
    low, high = low - SLACK, high + SLACK
    if low > size - 1 or high < 0:
        return 1, 0
    first = int(np.ceil(low)) if low > 0 else 0
    return first, (int(high) if high < size - 1 else size - 1)


@kernel
def _cut(slope: float, offset: float, first: int, last: int, half: float, size: int) -> tuple[int, int]:
    """Drop the columns of a row that lie clearly on the wrong side of an edge: slope * x + offset < 0."""
    if slope == 0:
        return (first, last) if offset >= 0 else (1, 0)
    column = ((1 + offset / slope / half) * size - 1) / 2  # x falls as the column grows
    if slope > 0:
        return first, int(max(min(np.ceil(column) + 1, last), -1))
    return int(min(max(np.floor(column) - 1, first), size)), last
