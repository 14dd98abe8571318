"""Pictures that people bring, of any size and mode, as an image tower takes them.

Letters: S side of the square, pixels.
"""

import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from c2p.models.folder import ModelError

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP")
"""Formats that are opened; Pillow's others run programs or are rare."""
PAPER = "white"
"""Behind what is transparent: the renders the tower knows have it."""


def read_photograph(path: Path | str) -> Image.Image:
    """Open a picture file, turned as its EXIF says, in RGB.

    Raises ModelError: no such file, no picture, cut short, or too large a one.
    """
    place = Path(path)
    if not place.is_file():
        raise ModelError(f"{path}: no such picture")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(place.read_bytes()), formats=FORMATS) as image:
                return _rgb(ImageOps.exif_transpose(image))
    except Exception as error:  # hostile bytes meet Pillow
        bomb = isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning)
        reason = "too large a picture" if bomb else "no readable picture"
        raise ModelError(f"{path}: {reason}; allowed: {', '.join(FORMATS)}") from None


def square_pictures(images: Any, resize_mode: str) -> list[np.ndarray]:
    """Pictures as squares.

    images: a PIL image, a uint8 array (H, W, 3) or (B, H, W, 3), or a sequence of images and arrays of any sizes.
    resize_mode: open_clip's: `shortest` cuts out the middle, `longest` adds white, `squash` is left to the resizing.
    Returns B arrays uint8, (S, S, 3) each where nothing is squashed.
    Raises ModelError: something else.
    """
    if isinstance(images, Image.Image) or (isinstance(images, np.ndarray) and images.ndim == 3):
        images = [images]
    if not isinstance(images, np.ndarray | list | tuple) or len(images) == 0:
        raise ModelError(
            f"images: got {type(images).__name__}; allowed: PIL images or uint8 arrays (H, W, 3), one or more"
        )
    return [_square(_image(image), resize_mode) for image in images]


def _image(image: Any) -> Image.Image:
    if isinstance(image, Image.Image):
        return _rgb(image)
    values = np.asarray(image)
    if values.ndim != 3 or values.shape[2] != 3 or values.dtype != np.uint8 or 0 in values.shape:
        raise ModelError(f"images: got an array of {values.dtype} {values.shape}; allowed: uint8 (H, W, 3)")
    return Image.fromarray(values)


def _rgb(image: Image.Image) -> Image.Image:
    if image.has_transparency_data:
        image = image.convert("RGBA")
        paper = Image.new("RGBA", image.size, PAPER)
        image = Image.alpha_composite(paper, image)
    return image.convert("RGB")


def _square(image: Image.Image, resize_mode: str) -> np.ndarray:
    side = {"shortest": min(image.size), "longest": max(image.size)}.get(resize_mode)
    if side is not None and image.size != (side, side):
        left, top = ((side - length) // 2 for length in image.size)
        paper = Image.new("RGB", (side, side), PAPER)
        paper.paste(image, (left, top))
        image = paper
    return np.asarray(image)
