"""Materials of mesh faces, read from what trimesh loaded."""

import logging
from dataclasses import dataclass
from math import ceil, sqrt
from typing import Any

import numpy as np
from PIL import Image
from trimesh.visual import ColorVisuals, TextureVisuals
from trimesh.visual.material import PBRMaterial

logger = logging.getLogger(__name__)

DEFAULT_DIFFUSE = 0.7
"""Grey of faces without a colour."""
FORMATS = ("BMP", "DIB", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TGA", "TIFF", "WEBP")
"""Formats of textures that are decoded; others that Pillow knows start programs, or are no pictures."""
_MANY = "MPO"
"""What Pillow calls a JPEG that holds several pictures."""
TEXELS = 1 << 27
"""Pixels that the textures of a mesh may have together (134 million: 11,585 x 11,585)."""


@dataclass(frozen=True)
class Material:
    """Colour of faces: the texture where there is one, else the diffuse colour."""

    diffuse: np.ndarray
    """(3,) float32 in [0, 1]."""
    texture: np.ndarray | None
    """(h, w, 3) uint8, row 0 is the image's top; repeats outside [0, 1]."""


class Materials:
    """Turns trimesh's visuals into materials, each texture once."""

    def __init__(self) -> None:
        self._known: dict[int, Material] = {}
        self._texels = 0
        self._sources: list[Any] = []  # keeps the keys' objects alive, so that their ids stay theirs

    def of(self, visual: Any, faces: np.ndarray) -> tuple[Material, np.ndarray | None]:
        """Give the material of a geometry and its (F, 3, 2) float32 texture coordinates, None where it has none."""
        if isinstance(visual, TextureVisuals):
            uv = visual.uv
            usable = uv is not None and np.ndim(uv) == 2 and np.shape(uv)[1] >= 2 and len(uv) > faces.max()
            corners = (
                np.nan_to_num(np.asarray(uv)[faces, :2].astype(np.float32), posinf=0, neginf=0) if usable else None
            )
            source = visual.material
            if id(source) not in self._known:
                self._known[id(source)] = self._within_limit(
                    _pbr(source) if isinstance(source, PBRMaterial) else _simple(source)
                )
                self._sources.append(source)
            return self._known[id(source)], corners
        if isinstance(visual, ColorVisuals) and visual.kind in ("vertex", "face"):
            return _palette(_face_colours(visual, faces))
        return plain(), None

    def _within_limit(self, material: Material) -> Material:
        """The material, without its texture if those of the mesh are too large together."""
        if material.texture is None:
            return material
        self._texels += material.texture.size // 3
        if self._texels <= TEXELS:
            return material
        logger.warning("the textures of a mesh have more than %d pixels; faces of the others stay plain", TEXELS)
        return Material(material.diffuse, None)


def plain(diffuse: Any = (DEFAULT_DIFFUSE,) * 3) -> Material:
    """Give a material without texture."""
    return Material(np.asarray(diffuse, dtype=np.float32).clip(0, 1), None)


def _simple(source: Any) -> Material:
    """An MTL material: Kd and map_Kd. As in the published renderer, a texture replaces the colour."""
    written = np.ravel(getattr(source, "kwargs", {}).get("kd", ()))
    diffuse = written if len(written) == 3 and np.isfinite(written).all() else (DEFAULT_DIFFUSE,) * 3
    return Material(plain(diffuse).diffuse, _pixels(getattr(source, "image", None)))


def _pbr(source: PBRMaterial) -> Material:
    """A glTF material: baseColorFactor, multiplied into baseColorTexture."""
    factor = source.baseColorFactor
    scale = np.float32(255) if np.asarray(factor).dtype.kind in "iu" else np.float32(1)
    diffuse = plain((1, 1, 1) if factor is None else np.ravel(factor)[:3].astype(np.float32) / scale).diffuse
    diffuse = diffuse if len(diffuse) == 3 and np.isfinite(diffuse).all() else plain().diffuse
    texture = _pixels(source.baseColorTexture)
    if texture is not None and not (diffuse == 1).all():
        texture = np.rint(texture * diffuse).astype(np.uint8)
    return Material(diffuse, texture)


def _pixels(image: Image.Image | None) -> np.ndarray | None:
    """An image as (h, w, 3) uint8, None where there is none or it cannot be decoded."""
    if image is None:
        return None
    try:
        if image.format not in (*FORMATS, _MANY):
            raise ValueError(f"{image.format}; allowed: {', '.join(FORMATS)}")
        if image.width * image.height > TEXELS:
            raise ValueError(f"{image.width} x {image.height} pixels; allowed: {TEXELS} in all")
        if image.mode.startswith("I;16"):  # Pillow would cut off instead of scaling
            return np.repeat((np.asarray(image) >> 8).astype(np.uint8)[..., None], 3, axis=2)
        return np.asarray(image.convert("RGB"))
    except MemoryError:
        raise
    except Exception as error:  # a decoder meets hostile bytes, as a parser does
        logger.warning("a texture cannot be decoded (%s); its faces take the diffuse colour", error)
        return None


def _face_colours(visual: ColorVisuals, faces: np.ndarray) -> np.ndarray:
    """(F, 3) uint8: a face's own colour, or the mean of its corners'."""
    if visual.kind == "face":
        return np.asarray(visual.face_colors)[:, :3].astype(np.uint8)
    corners = np.asarray(visual.vertex_colors)[faces, :3]
    return np.rint(corners.mean(1)).astype(np.uint8)


def _palette(colours: np.ndarray) -> tuple[Material, np.ndarray]:
    """Flat face colours as a square texture of one texel a colour; coordinates at a texel's middle give it pure."""
    packed = colours.astype(np.int64) @ np.array([65536, 256, 1])
    distinct, texel = np.unique(packed, return_inverse=True)
    side = ceil(sqrt(len(distinct)))
    texture = np.zeros((side * side, 3), dtype=np.uint8)
    texture[: len(distinct)] = distinct[:, None] >> np.array([16, 8, 0]) & 255
    u, v = (texel % side + 0.5) / side, 1 - (texel // side + 0.5) / side
    uv = np.repeat(np.stack([u, v], axis=-1)[:, None], 3, axis=1).astype(np.float32)
    return Material(plain().diffuse, texture.reshape(side, side, 3)), uv
