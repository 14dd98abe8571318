"""Meshes that renderers trip over, and a ray caster in float64 that tries every face."""

from collections.abc import Callable
from math import radians, tan

import numpy as np
import trimesh

from c2p import params
from c2p.geometry.materials import Material, plain
from c2p.geometry.meshes import Mesh
from c2p.geometry.views import view_set

SETTINGS = params.Render(
    renderer="auto", size=32, supersample=2, views="ten", centre="vertices", fov=60.0, distance=2.0, ambient=0.5,
    diffuse=0.3, specular=0.2, cloud_points=8, part_size=8, max_faces=10**6, max_reject_rate=0.5, seed=0,
)  # fmt: skip
ROTATIONS = view_set("ten").rotations


def mesh_of(vertices: np.ndarray, faces: np.ndarray) -> Mesh:
    """Faces in two flat colours and a texture, in turn."""
    count, generator = len(faces), np.random.default_rng(5)
    texture = Material(np.ones(3, np.float32), generator.integers(0, 256, (7, 5, 3), dtype=np.uint8))
    return Mesh(
        np.array(vertices, dtype=np.float64),
        np.array(faces, dtype=np.int64),
        (np.arange(count) % 3).astype(np.int32),
        generator.uniform(-1, 2, (count, 3, 2)).astype(np.float32),
        (plain((0.9, 0.2, 0.1)), plain((0.1, 0.2, 0.9)), texture),
    )


def soup(scale: float = 1.0, count: int = 40, extent: float = 0.55) -> Mesh:
    """Triangles that pierce each other; `scale` shrinks or grows each about its middle."""
    corners = np.random.default_rng(1).uniform(-extent, extent, (count, 3, 3))
    middle = corners.mean(1, keepdims=True)
    return mesh_of(((corners - middle) * scale + middle).reshape(-1, 3), np.arange(3 * count).reshape(count, 3))


def flipped() -> Mesh:
    """A torus, a third of its faces wound the other way."""
    torus = trimesh.creation.torus(0.6, 0.3, major_sections=24, minor_sections=12)
    torus.apply_transform(trimesh.transformations.euler_matrix(0.31, 0.17, 0.53))
    faces = np.where(np.random.default_rng(2).random((len(torus.faces), 1)) < 0.3, torus.faces[:, ::-1], torus.faces)
    return mesh_of(torus.vertices, faces)


def sheet() -> Mesh:
    """A wavy square with a border: seen from both sides, and nearly edge-on from four."""
    x, y = (axis.ravel() for axis in np.meshgrid(*[np.linspace(-0.6, 0.6, 16)] * 2))
    corner = np.arange(15 * 16).reshape(15, 16)[:, :-1].ravel()
    faces = np.concatenate([corner[:, None] + [0, 1, 16], corner[:, None] + [1, 17, 16]])
    return mesh_of(np.stack([x, y, 0.1 * np.sin(5 * x)], axis=-1), faces)


def cubes() -> Mesh:
    """Two cubes that share a side, along the axes: sample centres fall on edges, depths are tied."""
    box = trimesh.creation.box(extents=(0.8, 0.8, 0.8)).subdivide()
    vertices = np.concatenate([np.add(box.vertices, [shift, 0, 0]) for shift in (-0.4, 0.4)])
    return mesh_of(vertices, np.concatenate([box.faces, box.faces + len(box.vertices)]))


def coincident() -> Mesh:
    """A square cut along one diagonal, and the same square cut along the other."""
    square = np.array([[-0.5, -0.4, 0.1], [0.5, -0.4, 0.1], [0.5, 0.4, 0.1], [-0.5, 0.4, 0.1]])
    return mesh_of(square, np.array([[0, 1, 2], [0, 2, 3], [0, 1, 3], [1, 2, 3]]))


def edge_on() -> Mesh:
    """Three squares through the centre: in every orthogonal view the camera lies in the planes of two of them."""
    square = np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]])
    vertices = np.concatenate([np.insert(square, axis, 0, axis=1) for axis in range(3)])
    return mesh_of(vertices, np.concatenate([np.array([[0, 1, 2], [0, 2, 3]]) + 4 * axis for axis in range(3)]))


def around_the_camera() -> Mesh:
    """A ball that the camera of the first view stands in, and faces across its plane and behind it."""
    ball = trimesh.creation.icosphere(subdivisions=2, radius=0.7)
    loose = soup(2.0, 12)
    vertices = np.concatenate([np.add(ball.vertices, [0.05, -0.1, 2.0]), np.add(loose.vertices, [0, 0, 1.6])])
    return mesh_of(vertices, np.concatenate([ball.faces, loose.faces + len(ball.vertices)]))


MESHES: dict[str, Callable[[], Mesh]] = {
    "soup": soup,
    "flipped": flipped,
    "sheet": sheet,
    "tiny": lambda: soup(0.03, 600),
    "huge": lambda: soup(30.0, 12),
    "cubes": cubes,
    "coincident": coincident,
    "edge-on": edge_on,
    "around the camera": around_the_camera,
}


def cast(mesh: Mesh, rotation: np.ndarray, rows: np.ndarray, columns: np.ndarray, size: int) -> tuple[np.ndarray, ...]:
    """Cast rays through samples against every face, in the world frame (Moeller and Trumbore, float64).

    Returns (N,) face (-1 = miss), (N, 3) weights, (N,) view depth, and (N,) how far the outcome is from another:
    the smallest distance to an edge in barycentric terms, or to the next depth.
    """
    x, y = ((1 - (2 * place + 1) / size) * tan(radians(30)) for place in (columns, rows))
    rays = np.stack([x, y, np.ones(len(x))], axis=-1) @ rotation.T
    origin, count = -2 * rotation[:, 2], len(rays)
    face, weights, depth = np.full(count, -1), np.zeros((count, 3)), np.full(count, np.inf)
    slack, second = np.full(count, np.inf), np.full(count, np.inf)
    for index, (a, b, c) in enumerate(mesh.vertices[mesh.faces]):
        along, across = b - a, c - a
        normal = np.cross(rays, across)
        determinant = normal @ along
        with np.errstate(divide="ignore", invalid="ignore"):
            v = normal @ (origin - a) / determinant
            turned = np.cross(origin - a, along)
            w = rays @ turned / determinant
            t = across @ turned / determinant
        found = np.stack([1 - v - w, v, w], axis=-1)
        least = found.min(1)
        slack = np.where(np.isfinite(least) & (t > 0), np.minimum(slack, np.abs(least)), slack)
        slack = np.where(np.abs(determinant) < 1e-12, 0, slack)  # in the face's plane: anything may be seen
        hit = (least >= 0) & (t > 0)
        nearer = hit & (t < depth)
        second = np.where(nearer, depth, np.where(hit, np.minimum(second, t), second))
        face, depth = np.where(nearer, index, face), np.where(nearer, t, depth)
        weights[nearer] = found[nearer]
    both = np.isfinite(second)
    slack[both] = np.minimum(slack[both], second[both] - depth[both])
    return face, weights, np.where(face < 0, 0, depth), slack
