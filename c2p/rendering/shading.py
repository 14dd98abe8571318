"""Shading of a G-buffer: one for all backends.

The published renders' light model (PyTorch3D's Phong shader with one directional light from the camera), with flat
normals turned towards the camera, since faces of collected meshes wind inconsistently. H, W samples a side.
"""

import numpy as np

from c2p import params
from c2p.geometry.materials import Material
from c2p.geometry.meshes import Mesh
from c2p.rendering.gbuffer import GBuffer

SHININESS_DOUBLINGS = 6
"""Phong exponent 64 = 2^6 (PyTorch3D's default material)."""


def face_normals(mesh: Mesh) -> np.ndarray:
    """Unit normals by winding, 0 for a face without area: (F, 3) float32."""
    a, b, c = (mesh.vertices[mesh.faces[:, corner]] for corner in range(3))
    normal = np.cross(b - a, c - a)
    length = np.sqrt((normal**2).sum(1, keepdims=True))
    return (normal / np.where(length > 0, length, 1)).astype(np.float32)


def shade(
    mesh: Mesh, normals: np.ndarray, gbuffer: GBuffer, rays: np.ndarray, light: np.ndarray, settings: params.Render
) -> np.ndarray:
    """Colour every sample.

    normals: face_normals(mesh); rays: (H, W, 3) float32 from the camera, world frame, any length; light: (3,) direction
    towards the light. Returns (H, W, 3) float32 in [0, 1], white where nothing is hit.
    """
    hit = np.flatnonzero(gbuffer.face_id.ravel() >= 0)
    face = gbuffer.face_id.ravel()[hit]
    normal = normals[face]
    ray = rays.reshape(-1, 3)[hit]
    facing = _dot(normal, ray)
    normal *= np.where(facing > 0, np.float32(-1), np.float32(1))[:, None]
    towards = light.astype(np.float32)
    cosine = _dot(normal, towards).clip(min=0)
    mirrored = 2 * cosine[:, None] * normal - towards
    shine = (-_dot(mirrored, ray) / np.sqrt(_dot(ray, ray))).clip(min=0)
    for _ in range(SHININESS_DOUBLINGS):  # repeated squares: the same bits on every machine, and fast
        shine *= shine
    shine[cosine <= 0] = 0
    colour = base_colour(mesh, face, gbuffer.barycentric.reshape(-1, 3)[hit])
    colour *= (settings.ambient + settings.diffuse * cosine)[:, None]
    colour += (settings.specular * shine)[:, None]
    picture = np.ones((gbuffer.face_id.size, 3), dtype=np.float32)
    picture[hit] = colour.clip(0, 1)
    return picture.reshape(*gbuffer.face_id.shape, 3)


def base_colour(mesh: Mesh, face: np.ndarray, barycentric: np.ndarray) -> np.ndarray:
    """Unlit colours of samples: face (N,), barycentric (N, 3) -> (N, 3) float32 in [0, 1]."""
    material = mesh.face_material[face]
    diffuse = np.array([entry.diffuse for entry in mesh.materials], dtype=np.float32)
    colour = diffuse[material]
    for index, entry in enumerate(mesh.materials):
        if entry.texture is None:
            continue
        where = np.flatnonzero(material == index)
        if len(where):
            corners, weights = mesh.uv[face[where]], barycentric[where]
            uv = sum(weights[:, corner, None] * corners[:, corner] for corner in range(3))
            colour[where] = sample_texture(entry, uv)
    return colour


def sample_texture(material: Material, uv: np.ndarray) -> np.ndarray:
    """Look a texture up: bilinear, repeating, v upwards from the image's bottom.

    uv: (N, 2) float32. Returns (N, 3) float32 in [0, 1].
    """
    texture = material.texture
    assert texture is not None
    height, width = texture.shape[:2]
    x = uv[:, 0] % 1 * np.float32(width) - np.float32(0.5)
    y = (1 - uv[:, 1] % 1) * np.float32(height) - np.float32(0.5)
    left, top = np.floor(x), np.floor(y)
    across, down = (x - left)[:, None], (y - top)[:, None]
    left, top = left.astype(np.int64), top.astype(np.int64)
    texels = texture.reshape(-1, 3)
    upper, lower = top % height * width, (top + 1) % height * width
    column, following = left % width, (left + 1) % width
    above = texels[upper + column] * (1 - across) + texels[upper + following] * across
    below = texels[lower + column] * (1 - across) + texels[lower + following] * across
    return (above * (1 - down) + below * down) / np.float32(255)


def _dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Row-wise dot product, written out: the same bits on every machine."""
    return a[..., 0] * b[..., 0] + a[..., 1] * b[..., 1] + a[..., 2] * b[..., 2]
