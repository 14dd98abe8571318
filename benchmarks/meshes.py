"""Made meshes to measure with: OBJ, MTL and textures as bytes, so that parsing is measured too.

A still life of closed and open surfaces, each with its own material, written as ShapeNetCore's files are: vertices,
texture coordinates and normals, faces `v/vt/vn`. Of every surface 30 % of the faces wind the other way, and normals
follow the surface. The same arguments give the same bytes.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image

FLIPPED = 0.3
"""Share of the faces that wind the other way."""
TEXTURE_SIDE = 512
"""Texels a side of a texture."""


@dataclass(frozen=True)
class MeshFiles:
    """A mesh as the files it would lie in."""

    name: str
    """Name of the OBJ among the files."""
    files: dict[str, bytes]
    """Content by file name; all in one folder."""
    faces: int
    """Triangles in the OBJ, none of them degenerate or twice there."""


@dataclass(frozen=True)
class Surface:
    """A surface over (u, v) in [0, 1]^2: its share of the faces, and how it closes."""

    name: str
    share: float
    round_u: bool
    """Whether u = 0 and u = 1 are the same line."""
    round_v: bool
    poles: bool
    """Whether v = 0 and v = 1 are points."""
    place: Callable[[np.ndarray, np.ndarray], np.ndarray]
    """(N,) u and v -> (N, 3)."""


def made_mesh(faces: int, *, textured: bool, seed: int) -> MeshFiles:
    """Make a mesh of about so many triangles (within 2 % from 500 on); `seed` shapes and colours it.

    Raises ValueError: fewer than 100 faces.
    """
    if faces < 100:
        raise ValueError(f"faces: got {faces}; allowed: at least 100")
    generator = np.random.default_rng(seed)
    lines, made, start = ["mtllib model.mtl"], 0, 1
    surfaces = _surfaces(generator)
    for index, surface in enumerate(surfaces):
        left = sum(other.share for other in surfaces[index:])
        columns, rows = _lattice(surface, round((faces - made) * surface.share / left))
        vertices, uv, normals, triangles = _tessellate(surface, columns, rows)
        turned = generator.random((len(triangles), 1)) < FLIPPED
        triangles = np.where(turned, triangles[:, ::-1], triangles) + start
        lines += [f"v {x:.6f} {y:.6f} {z:.6f}" for x, y, z in vertices.tolist()]
        lines += [f"vt {u:.6f} {v:.6f}" for u, v in uv.tolist()]
        lines += [f"vn {x:.4f} {y:.4f} {z:.4f}" for x, y, z in normals.tolist()]
        lines += [f"g {surface.name}", f"usemtl {surface.name}"]
        lines += [f"f {a}/{a}/{a} {b}/{b}/{b} {c}/{c}/{c}" for a, b, c in triangles.tolist()]
        made, start = made + len(triangles), start + len(vertices)
    files = {"model.obj": ("\n".join(lines) + "\n").encode("ascii")}
    materials = []
    for surface in surfaces:
        colour = " ".join(f"{value:.3f}" for value in generator.uniform(0.15, 0.9, 3))
        materials.append(f"newmtl {surface.name}\nKd {colour}\nKs 0 0 0")
        if textured:
            files[f"{surface.name}.jpg"] = _texture(generator)
            materials[-1] += f"\nmap_Kd {surface.name}.jpg"
    files["model.mtl"] = ("\n\n".join(materials) + "\n").encode("ascii")
    return MeshFiles("model.obj", files, made)


def _surfaces(generator: np.random.Generator) -> tuple[Surface, ...]:
    """Body, ring and knob are closed, cloth, pipe and bowl are open."""
    bumps, wave = generator.uniform(0.02, 0.08, 3), generator.uniform(2, 5, 3)
    turn = 2 * np.pi

    def ball(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        height, round_ = -np.cos(np.pi * v), np.sin(np.pi * v)
        return np.stack([round_ * np.cos(turn * u), height, round_ * np.sin(turn * u)], axis=-1)

    def body(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        radius = 1 + bumps[0] * np.sin(turn * np.round(wave[0]) * u) * np.sin(np.pi * v) ** 2
        return ball(u, v) * radius[:, None] * [0.45, 0.35, 0.3]

    def ring(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        radius = 0.12 * (1 + bumps[1] * np.cos(turn * 3 * u))
        far = 0.6 + radius * np.cos(turn * v)
        return np.stack([far * np.cos(turn * u), radius * np.sin(turn * v) - 0.2, far * np.sin(turn * u)], axis=-1)

    def cloth(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        height = bumps[2] * np.sin(turn * wave[1] * u) * np.cos(turn * wave[2] * v) - 0.45
        return np.stack([1.4 * (u - 0.5), height, 1.1 * (v - 0.5)], axis=-1)

    def pipe(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        return np.stack([0.55 + 0.08 * np.cos(turn * u), v - 0.4, 0.08 * np.sin(turn * u) - 0.3], axis=-1)

    def bowl(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        return ball(u, 0.05 + 0.45 * v) * [0.25, 0.2, 0.25] + [-0.5, 0.35, 0.2]

    def knob(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        return ball(u, v) * 0.1 + [0.1, 0.5, 0.05]

    return (
        Surface("body", 0.35, True, False, True, body),
        Surface("ring", 0.2, True, True, False, ring),
        Surface("cloth", 0.2, False, False, False, cloth),
        Surface("pipe", 0.1, True, False, False, pipe),
        Surface("bowl", 0.1, True, False, False, bowl),
        Surface("knob", 0.05, True, False, True, knob),
    )


def _lattice(surface: Surface, faces: int) -> tuple[int, int]:
    """Columns and rows of squares whose triangles come nearest to `faces`, not too long and not too high."""
    middle = max(3, round((faces / 2) ** 0.5))
    best = (abs(2 * middle * middle - faces) + faces, middle, middle)
    for columns in range(max(3, middle // 2), 2 * middle + 1):
        spare = columns if surface.poles else 0  # at a pole a square is one triangle
        rows = max(2, round(faces / (2 * columns) + spare / columns))
        best = min(best, (abs(2 * (columns * rows - spare) - faces), columns, rows))
    return best[1], best[2]


def _tessellate(surface: Surface, columns: int, rows: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Vertices (N, 3), texture coordinates (N, 2), normals (N, 3) and triangles (F, 3) of a lattice over a surface.

    Seams have their vertices twice, with different texture coordinates and exactly equal positions.
    """
    u, v = (axis.ravel() for axis in np.meshgrid(np.arange(columns + 1) / columns, np.arange(rows + 1) / rows))
    around, up = (u % 1 if surface.round_u else u), (v % 1 if surface.round_v else v)
    if surface.poles:
        around = np.where((v == 0) | (v == 1), 0, around)
    vertices = surface.place(around, up)
    step = 1e-4
    across = surface.place(u + step, v) - surface.place(u - step, v)
    along = surface.place(u, v + step) - surface.place(u, v - step)
    normals = np.cross(along, across)
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    corner = (np.arange(rows)[:, None] * (columns + 1) + np.arange(columns)).ravel()
    lower = np.stack([corner, corner + columns + 1, corner + 1], axis=-1)
    upper = np.stack([corner + 1, corner + columns + 1, corner + columns + 2], axis=-1)
    if surface.poles:
        lower, upper = lower[columns:], upper[:-columns]
    return (
        vertices,
        np.stack([3 * u, 2 * v], axis=-1),
        normals / np.maximum(length, 1e-12),
        np.concatenate([lower, upper]),
    )


def _texture(generator: np.random.Generator) -> bytes:
    """A JPEG of soft noise and stripes in two colours."""
    side = TEXTURE_SIDE
    first, second = generator.integers(20, 236, (2, 3))
    y, x = np.mgrid[:side, :side] / side
    stripes = np.sin(2 * np.pi * (generator.integers(2, 9) * x + generator.integers(2, 9) * y)) / 2 + 0.5
    noise = generator.random((side // 8, side // 8)).repeat(8, 0).repeat(8, 1)
    share = np.clip(0.7 * stripes + 0.3 * noise, 0, 1)[..., None]
    pixels = np.rint(first * share + second * (1 - share)).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=90)
    return file.getvalue()
