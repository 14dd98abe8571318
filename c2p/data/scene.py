"""What a picture was taken with: goes into every sample, so that nobody has to guess camera and light."""

from importlib.metadata import PackageNotFoundError, version
from typing import Any

from c2p.params import Render

BACKENDS = {"auto": "raster", "raster": "raster", "embree": "embree", "pytorch3d": "pytorch3d", "warp": "warp"}
PACKAGES = {"raster": "numba", "embree": "embreex", "pytorch3d": "pytorch3d", "warp": "warp-lang"}


LIBRARIES = ("numba", "numpy", "pillow", "trimesh")
"""Packages besides the renderer's that decide a picture's bytes: parsing, shading, textures, encoding."""


NORMALISATION = {
    "vertices": "vertex mean at the origin, largest vertex norm 1",
    "surface": "surface points' mean at the origin, their largest norm 1",
}


def versions(*packages: str) -> dict[str, str]:
    """Installed versions of packages; `unknown` for one that isn't there."""
    return {name: _version(name) for name in sorted(packages)}


def describe(settings: Render) -> dict[str, Any]:
    """Cameras, light, renderer and versions of this machine, as plain data."""
    backend = BACKENDS[settings.renderer]
    return {
        "cameras": {
            "views": settings.views,
            "projection": "perspective",
            "fov_degrees": settings.fov,
            "distance": settings.distance,
        },
        "light": {
            "at": "camera",
            "ambient": settings.ambient,
            "diffuse": settings.diffuse,
            "specular": settings.specular,
        },
        "renderer": {"name": backend, "version": _version(PACKAGES[backend]), "supersample": settings.supersample},
        "normalisation": NORMALISATION[settings.centre],
        "versions": versions(*LIBRARIES),
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"
