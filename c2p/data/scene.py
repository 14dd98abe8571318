"""What a picture was taken with: goes into every sample, so that nobody has to guess camera and light."""

from importlib.metadata import PackageNotFoundError, version
from typing import Any

from c2p.params import Render

BACKENDS = {"auto": "raster", "raster": "raster", "embree": "embree", "pytorch3d": "pytorch3d", "warp": "warp"}
PACKAGES = {"raster": "numba", "embree": "embreex", "pytorch3d": "pytorch3d", "warp": "warp-lang"}


def describe(settings: Render) -> dict[str, Any]:
    """Cameras, light, renderer and its version, as plain data."""
    backend = BACKENDS[settings.renderer]
    try:
        backend_version = version(PACKAGES[backend])
    except PackageNotFoundError:
        backend_version = "unknown"
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
        "renderer": {"name": backend, "version": backend_version, "supersample": settings.supersample},
        "normalisation": "vertex mean at the origin, largest vertex norm 1",
    }
