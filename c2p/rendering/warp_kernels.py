"""Warp's kernels: the backend raster again, for CPU and CUDA. Imported only where the package is there.

Operation for operation raster's arithmetic, in float64 and without fused multiply-adds, so that the bits are the same
on every device. What many threads write, the largest nearness of a sample and the first face that has it, does not
depend on their order. V vertices, F faces, S x S samples a view.
"""

import warp as wp

from c2p.rendering import raster

wp.set_module_options({"fuse_fp": False, "fast_math": False, "enable_backward": False})

NEAR = wp.constant(wp.float64(raster.NEAR))
SLACK = wp.constant(wp.float64(raster.SLACK))
WIDE = wp.constant(raster.WIDE)
ZERO, ONE, TWO = wp.constant(wp.float64(0)), wp.constant(wp.float64(1)), wp.constant(wp.float64(2))


@wp.kernel
def to_view(
    vertices: wp.array[wp.vec3d],
    turns: wp.array[wp.mat33d],
    distance: wp.float64,
    half: wp.float64,
    size: int,
    corners: wp.array2d[wp.vec3d],
    places: wp.array2d[wp.vec2d],
) -> None:
    """Vertices in every view's camera frame, and the column and row they fall on: (views, V); raster._to_view."""
    view, index = wp.tid()
    turn, at = turns[view], vertices[index]
    x = at[0] * turn[0, 0] + at[1] * turn[1, 0] + at[2] * turn[2, 0]
    y = at[0] * turn[0, 1] + at[1] * turn[1, 1] + at[2] * turn[2, 1]
    z = at[0] * turn[0, 2] + at[1] * turn[1, 2] + at[2] * turn[2, 2] + distance
    corners[view, index] = wp.vec3d(x, y, z)
    column, row = wp.float64(wp.nan), wp.float64(wp.nan)
    if z > NEAR:
        scale, samples = ONE / (z * half), wp.float64(size)
        column = ((ONE - x * scale) * samples - ONE) / TWO
        row = ((ONE - y * scale) * samples - ONE) / TWO
    places[view, index] = wp.vec2d(column, row)


@wp.func
def span(a: wp.float64, b: wp.float64, c: wp.float64, size: int) -> wp.vec2i:
    """First and last sample between three places; all of them where a vertex has no place."""
    if wp.isnan(a) or wp.isnan(b) or wp.isnan(c):
        return wp.vec2i(0, size - 1)
    low, high = wp.min(wp.min(a, b), c) - SLACK, wp.max(wp.max(a, b), c) + SLACK
    last = wp.float64(size - 1)
    if low > last or high < ZERO:
        return wp.vec2i(1, 0)
    return wp.vec2i(int(wp.ceil(wp.max(low, ZERO))), int(wp.min(high, last)))


@wp.func
def cut(slope: wp.float64, offset: wp.float64, range: wp.vec2i, half: wp.float64, size: int) -> wp.vec2i:
    """Drop the columns of a row that lie clearly on the wrong side of an edge: slope * x + offset < 0."""
    if slope == ZERO:
        if offset >= ZERO:
            return range
        return wp.vec2i(1, 0)
    column = ((ONE + offset / slope / half) * wp.float64(size) - ONE) / TWO
    if slope > ZERO:
        edge = wp.max(wp.min(wp.ceil(column) + ONE, wp.float64(range[1])), -ONE)
        return wp.vec2i(range[0], int(edge))
    return wp.vec2i(int(wp.min(wp.max(wp.floor(column) - ONE, wp.float64(range[0])), wp.float64(size))), range[1])


@wp.func
def edges(a: wp.vec3d, b: wp.vec3d, c: wp.vec3d) -> wp.mat33d:
    """Rows b x c, c x a, a x b, turned such that the volume a.(b x c) is positive."""
    p, q, r = wp.cross(b, c), wp.cross(c, a), wp.cross(a, b)
    if a[0] * p[0] + a[1] * p[1] + a[2] * p[2] < ZERO:
        p, q, r = -p, -q, -r
    return wp.matrix_from_rows(p, q, r)


@wp.func
def volume_of(a: wp.vec3d, edge: wp.mat33d) -> wp.float64:
    return a[0] * edge[0, 0] + a[1] * edge[0, 1] + a[2] * edge[0, 2]


@wp.func
def weigh(edge: wp.mat33d, x: wp.float64, y: wp.float64) -> wp.vec3d:
    """Edge functions at a sample: all of them at least 0 inside the face."""
    return wp.vec3d(
        edge[0, 0] * x + (edge[0, 1] * y + edge[0, 2]),
        edge[1, 0] * x + (edge[1, 1] * y + edge[1, 2]),
        edge[2, 0] * x + (edge[2, 1] * y + edge[2, 2]),
    )


@wp.kernel
def draw(
    corners: wp.array2d[wp.vec3d],
    places: wp.array2d[wp.vec2d],
    faces: wp.array[wp.vec3i],
    centres: wp.array[wp.float64],
    half: wp.float64,
    lanes: int,
    choose: bool,
    nearness: wp.array3d[wp.float64],
    face_id: wp.array3d[wp.int32],
) -> None:
    """Draw every face, a thread taking every `lanes`-th row of it; raster._fill in two passes.

    First the largest nearness (1 / view depth) of each sample, then, if `choose`, the first face that has it.
    """
    view, face, lane = wp.tid()
    size = centres.shape[0]
    i, j, k = faces[face][0], faces[face][1], faces[face][2]
    u, v, w = places[view, i], places[view, j], places[view, k]
    columns, rows = span(u[0], v[0], w[0], size), span(u[1], v[1], w[1], size)
    if columns[0] > columns[1]:
        return
    a, b, c = corners[view, i], corners[view, j], corners[view, k]
    edge = edges(a, b, c)
    volume = volume_of(a, edge)
    if volume == ZERO:
        return
    for row in range(rows[0] + lane, rows[1] + 1, lanes):
        y = centres[row]
        part = columns
        if columns[1] - columns[0] >= WIDE:
            for side in range(3):
                part = cut(edge[side, 0], edge[side, 1] * y + edge[side, 2], part, half, size)
        for column in range(part[0], part[1] + 1):
            weight = weigh(edge, centres[column], y)
            if weight[0] >= ZERO and weight[1] >= ZERO and weight[2] >= ZERO:
                near = (weight[0] + weight[1] + weight[2]) / volume
                if choose:
                    if near > ZERO and near == nearness[view, row, column]:
                        wp.atomic_min(face_id, view, row, column, face)
                elif near > nearness[view, row, column]:
                    wp.atomic_max(nearness, view, row, column, near)


@wp.kernel
def finish(
    corners: wp.array2d[wp.vec3d],
    faces: wp.array[wp.vec3i],
    centres: wp.array[wp.float64],
    nearness: wp.array3d[wp.float64],
    face_id: wp.array3d[wp.int32],
    barycentric: wp.array3d[wp.vec3],
    depth: wp.array3d[wp.float32],
) -> None:
    """Give every sample its weights and view depth, or nothing."""
    view, row, column = wp.tid()
    if nearness[view, row, column] == ZERO:
        face_id[view, row, column] = -1
        barycentric[view, row, column] = wp.vec3()
        depth[view, row, column] = 0.0
        return
    face = faces[face_id[view, row, column]]
    a, b, c = corners[view, face[0]], corners[view, face[1]], corners[view, face[2]]
    edge = edges(a, b, c)
    weight = weigh(edge, centres[column], centres[row])
    share = ONE / (weight[0] + weight[1] + weight[2])
    barycentric[view, row, column] = wp.vec3(weight * share)
    depth[view, row, column] = wp.float32(volume_of(a, edge) * share)
