"""Shading of a G-buffer: one for all backends.

The published renders' light model (PyTorch3D's Phong shader with one directional light from the camera), with flat
normals turned towards the camera, since faces of collected meshes wind inconsistently. S pixels a side, H = S * n
samples a side.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np

from c2p import params
from c2p.geometry.materials import Material
from c2p.geometry.meshes import Mesh
from c2p.kernel import kernel
from c2p.rendering.gbuffer import GBuffer, sample_centres

SHININESS_DOUBLINGS = 6
"""Phong exponent 64 = 2^6 (PyTorch3D's default material); repeated squares give the same bits on every machine."""


@dataclass(frozen=True)
class Surface:
    """What light needs to know of a mesh, as flat arrays."""

    normals: np.ndarray
    """(F, 3) float32 unit normals by winding, 0 for a face without area."""
    materials: np.ndarray
    """(F,) int32."""
    uv: np.ndarray
    """(F, 3, 2) float32."""
    diffuse: np.ndarray
    """(M, 3) float32."""
    textures: np.ndarray
    """(M, 3) int64: place of a texture's first texel in texels, height, width; height 0: no texture."""
    texels: np.ndarray
    """(T, 3) uint8: all textures, row by row."""


def surface(mesh: Mesh) -> Surface:
    """Gather a mesh's normals, colours and textures."""
    vertices, faces = np.ascontiguousarray(mesh.vertices, dtype=np.float64), np.ascontiguousarray(mesh.faces)
    diffuse = np.array([entry.diffuse for entry in mesh.materials], dtype=np.float32).reshape(-1, 3)
    textures, texels = _pack(mesh.materials)
    uv = np.ascontiguousarray(mesh.uv, dtype=np.float32)
    return Surface(face_normals(vertices, faces), mesh.face_material, uv, diffuse, textures, texels)


def shade(
    surface: Surface, gbuffer: GBuffer, rotation: np.ndarray, settings: params.Render
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Colour a view's samples and gather them into pixels; a pixel is the mean of its supersample^2 samples.

    gbuffer: of settings.size * settings.supersample samples a side. Returns rgb (S, S, 3) uint8 on white, alpha (S, S)
    uint8, the covered share of a pixel, and depth (S, S) float32, the smallest in a pixel, 0 where nothing is seen.
    """
    size = settings.size
    rgb, alpha = np.empty((size, size, 3), np.uint8), np.empty((size, size), np.uint8)
    depth = np.empty((size, size), np.float32)
    lights = (settings.ambient, settings.diffuse, settings.specular)
    _shade(
        (gbuffer.face_id, gbuffer.barycentric, gbuffer.depth),
        (surface.normals, surface.materials, surface.uv, surface.diffuse, surface.textures, surface.texels),
        np.ascontiguousarray(rotation, dtype=np.float64),
        sample_centres(settings.fov, len(gbuffer.face_id)),
        lights,
        rgb,
        alpha,
        depth,
    )
    return rgb, alpha, depth


def base_colour(surface: Surface, face: np.ndarray, barycentric: np.ndarray) -> np.ndarray:
    """Unlit colours of samples: face (N,), barycentric (N, 3) -> (N, 3) float64 in [0, 1]."""
    colours = np.empty((len(face), 3))
    _base_colours(
        face, barycentric, surface.materials, surface.uv, surface.diffuse, surface.textures, surface.texels, colours
    )
    return colours


def _pack(materials: Sequence[Material]) -> tuple[np.ndarray, np.ndarray]:
    places, pieces, end = np.zeros((len(materials), 3), dtype=np.int64), [np.zeros((0, 3), np.uint8)], 0
    known: dict[int, int] = {}
    for index, entry in enumerate(materials):
        if entry.texture is None:
            continue
        if id(entry.texture) not in known:
            known[id(entry.texture)] = end
            pieces.append(entry.texture.reshape(-1, 3))
            end += len(pieces[-1])
        places[index] = known[id(entry.texture)], *entry.texture.shape[:2]
    return places, np.concatenate(pieces)


@kernel
def face_normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Unit normals by winding, 0 for a face without area: (F, 3) float32."""
    normals = np.zeros((len(faces), 3), np.float32)
    for f in range(len(faces)):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        ux, uy, uz = (vertices[b, 0] - vertices[a, 0], vertices[b, 1] - vertices[a, 1], vertices[b, 2] - vertices[a, 2])
        vx, vy, vz = (vertices[c, 0] - vertices[a, 0], vertices[c, 1] - vertices[a, 1], vertices[c, 2] - vertices[a, 2])
        x, y, z = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        length = sqrt(x * x + y * y + z * z)
        if length > 0:
            normals[f, 0], normals[f, 1], normals[f, 2] = x / length, y / length, z / length
    return normals


@kernel
def _texture(u: float, v: float, first: int, height: int, width: int, texels: np.ndarray) -> tuple[float, float, float]:
    """Look a texture up: bilinear, repeating, v upwards from the image's bottom; colours of 0 to 255."""
    x = (u - np.floor(u)) * width - 0.5
    y = (1 - (v - np.floor(v))) * height - 0.5
    left, top = np.floor(x), np.floor(y)
    across, down = x - left, y - top
    column, row = int(left), int(top)  # from -1 to the last
    following, lower = (column + 1) % width, first + (row + 1) % height * width
    column, upper = column % width, first + row % height * width
    a, b = (1 - across) * (1 - down), across * (1 - down)
    c, d = (1 - across) * down, across * down
    e, f, g, h = upper + column, upper + following, lower + column, lower + following
    return (
        a * texels[e, 0] + b * texels[f, 0] + c * texels[g, 0] + d * texels[h, 0],
        a * texels[e, 1] + b * texels[f, 1] + c * texels[g, 1] + d * texels[h, 1],
        a * texels[e, 2] + b * texels[f, 2] + c * texels[g, 2] + d * texels[h, 2],
    )


@kernel
def _base_colours(face, barycentric, materials, uv, diffuse, textures, texels, colours):  # type: ignore[no-untyped-def]
    for i in range(len(face)):
        f, material = face[i], materials[face[i]]
        first, height, width = textures[material, 0], textures[material, 1], textures[material, 2]
        if height:
            u, v = _mix(barycentric[i], uv[f])
            red, green, blue = _texture(u, v, first, height, width, texels)
            colours[i, 0], colours[i, 1], colours[i, 2] = red / 255, green / 255, blue / 255
        else:
            colours[i] = diffuse[material]


@kernel
def _mix(weights: np.ndarray, corners: np.ndarray) -> tuple[float, float]:
    """Texture coordinates of a sample: weights (3,), corners (3, 2)."""
    a, b, c = np.float64(weights[0]), np.float64(weights[1]), np.float64(weights[2])
    u = a * corners[0, 0] + b * corners[1, 0] + c * corners[2, 0]
    return u, a * corners[0, 1] + b * corners[1, 1] + c * corners[2, 1]


@kernel
def _shade(buffers, mesh, turn, centres, lights, rgb, alpha, depth):  # type: ignore[no-untyped-def]
    """Shade every sample and average them; in the camera frame, where the light shines along (0, 0, 1).

    One long loop, since handing many arrays to an inner function for every sample costs more than the shading.
    """
    face_id, barycentric, depths = buffers
    normals, materials, uv, diffuse, textures, texels = mesh
    ambient, spread, specular = lights
    size = len(alpha)
    factor = len(face_id) // size
    count = factor * factor
    for i in range(size):
        for j in range(size):
            red = green = blue = 0.0
            covered, nearest = 0, np.float32(np.inf)
            for row in range(i * factor, (i + 1) * factor):
                for column in range(j * factor, (j + 1) * factor):
                    face = face_id[row, column]
                    if face < 0:
                        continue
                    covered += 1
                    nearest = min(nearest, depths[row, column])
                    light, shine = _phong(normals[face], turn, centres[column], centres[row], ambient, spread, specular)
                    material = materials[face]
                    first, height, width = textures[material, 0], textures[material, 1], textures[material, 2]
                    if height:
                        u, v = _mix(barycentric[row, column], uv[face])
                        r, g, b = _texture(u, v, first, height, width, texels)
                        r, g, b = r / 255, g / 255, b / 255
                    else:
                        r, g, b = diffuse[material, 0], diffuse[material, 1], diffuse[material, 2]
                    red += min(r * light + shine, 1.0)
                    green += min(g * light + shine, 1.0)
                    blue += min(b * light + shine, 1.0)
            white = count - covered
            rgb[i, j, 0] = int((red + white) / count * 255 + 0.5)
            rgb[i, j, 1] = int((green + white) / count * 255 + 0.5)
            rgb[i, j, 2] = int((blue + white) / count * 255 + 0.5)
            alpha[i, j] = int(covered / count * 255 + 0.5)
            depth[i, j] = nearest if covered else np.float32(0)


@kernel
def _phong(
    normal: np.ndarray, turn: np.ndarray, x: float, y: float, ambient: float, spread: float, specular: float
) -> tuple[float, float]:
    """Factor on the base colour, and the highlight added to it, for a sample whose ray is (x, y, 1)."""
    nx = normal[0] * turn[0, 0] + normal[1] * turn[1, 0] + normal[2] * turn[2, 0]
    ny = normal[0] * turn[0, 1] + normal[1] * turn[1, 1] + normal[2] * turn[2, 1]
    nz = normal[0] * turn[0, 2] + normal[1] * turn[1, 2] + normal[2] * turn[2, 2]
    if nx * x + ny * y + nz > 0:  # seen from behind
        nx, ny, nz = -nx, -ny, -nz
    cosine = -nz
    if cosine <= 0:
        return ambient, 0.0
    mirrored = 2 * cosine * nx * x + 2 * cosine * ny * y + 2 * cosine * nz + 1  # of the light, along the ray
    shine = max(-mirrored / sqrt(x * x + y * y + 1), 0.0)
    for _ in range(SHININESS_DOUBLINGS):
        shine *= shine
    return ambient + spread * cosine, specular * shine
