"""Pictures of shapes for people: coloured views of meshes, depth maps of clouds.

Letters: V views, S side of a picture, pixels.
"""

from dataclasses import replace

import numpy as np
from PIL import Image

from c2p import params
from c2p.data.shapes import Shape
from c2p.geometry.meshes import Mesh
from c2p.geometry.views import view_set

SUPERSAMPLE = 2
"""Samples along each side of a pixel: people look at outlines."""
BACKDROP = (232, 236, 240)
"""Behind shapes, red, green, blue: white ones would be lost on the white that networks are shown."""


def mesh_views(mesh: Mesh, settings: params.Render, views: str, size: int) -> np.ndarray:
    """Coloured views on the backdrop: (V, S, S, 3) uint8; the settings' light and camera, this project's renderer."""
    from c2p.rendering import render_views  # compiles its loops: not wanted for clouds

    wanted = replace(settings, size=size, supersample=SUPERSAMPLE, renderer="raster")
    rendered = render_views(mesh, view_set(views).rotations, wanted)
    bare = (255.0 - rendered.alpha[..., None]) / 255  # share of a pixel where white paper shows
    coloured: np.ndarray = rendered.rgb - bare * (255.0 - np.array(BACKDROP))
    return coloured.round().clip(0, 255).astype(np.uint8)


def shape_views(shape: Shape, settings: params.Render, views: str, size: int) -> np.ndarray:
    """Views of a mesh as mesh_views; of a cloud, its points in grey, the nearer the darker."""
    if shape.mesh is not None:
        return mesh_views(shape.mesh, settings, views, size)
    return cloud_views(shape.points, views, size)


def cloud_views(points: np.ndarray, views: str, size: int) -> np.ndarray:
    """A cloud (P, 3) from several sides, each point a small square, the nearer the darker: (V, S, S, 3) uint8."""
    points = points.astype(np.float64)
    points = points - points.mean(0)
    points /= np.linalg.norm(points, axis=1).max() or 1.0
    pictures = np.empty((len(view_set(views)), size, size, 3), dtype=np.uint8)
    pictures[:] = BACKDROP
    for picture, rotation in zip(pictures, view_set(views).rotations, strict=True):
        x, y, z = (points @ rotation).T
        order = np.argsort(-z)  # far ones first, near ones over them
        column, row = (np.rint((1 - 0.9 * axis[order]) * (size - 2) / 2).astype(int) for axis in (x, y))
        grey = (40 + 130 * (z[order] + 1) / 2).astype(np.uint8)[:, None]
        for down in (0, 1):
            for across in (0, 1):
                picture[(row + down).clip(0, size - 1), (column + across).clip(0, size - 1)] = grey
    return pictures


def resized(pictures: np.ndarray, size: int) -> np.ndarray:
    """Pictures (V, H, W) or (V, H, W, 3) uint8 at another side: (V, S, S, 3) uint8."""
    images = [Image.fromarray(picture).convert("RGB") for picture in pictures]
    kind = Image.Resampling.LANCZOS if pictures.shape[1] > size else Image.Resampling.NEAREST
    return np.stack([np.asarray(image.resize((size, size), kind)) for image in images])


def thumbnail(image: Image.Image, height: int) -> np.ndarray:
    """A picture of this height, at most twice as wide: (height, W, 3) uint8."""
    small = image.copy()
    small.thumbnail((2 * height, height))
    paper = Image.new("RGB", (small.width, height), "white")
    paper.paste(small, (0, (height - small.height) // 2))
    return np.asarray(paper)
