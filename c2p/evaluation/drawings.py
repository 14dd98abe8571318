"""How a point cloud becomes the pictures an encoder sees: CLIP2Point's depth maps, or PointCLIP's projections.

Legend: B object, V view, P point, H = W pixels.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.nn import functional

from c2p import params
from c2p.geometry.depth import depth_images, depth_maps, pointclip_depth
from c2p.geometry.voxels import voxel_images

POINTCLIP_ZEROSHOT_DISTANCE = 1.6
POINTCLIP_FEWSHOT_DISTANCE = 1.4
"""Of the object's centre from the camera, unit-sphere radii (PointCLIP's published code)."""


@dataclass(frozen=True)
class Clip2PointDrawing:
    """Depth maps by Eq. 13 and 14 (or their variants) as pictures; the encoder standardises them like photographs."""

    settings: params.Depth
    standardise = True

    @property
    def key(self) -> dict[str, Any]:
        """All that decides the pictures; the jitter of pre-training doesn't."""
        values = dataclasses.asdict(self.settings)
        del values["jitter"]
        return {"drawing": "clip2point", **values}

    def draw(self, points: Tensor, rotations: Tensor, image_size: tuple[int, int]) -> Tensor:
        """Points (B, P, 3) float32 and rotations (V, 3, 3) to pictures (B, V, 3, H, W) in [0, 1]."""
        return depth_images(depth_maps(points, rotations, self.settings))


@dataclass(frozen=True)
class PointclipDrawing:
    """PointCLIP's projection: sparse maps whose values are depths, neither normalised nor standardised."""

    size: int
    """Side of a map, pixels."""
    distance: float
    """Of the object's centre, unit-sphere radii."""
    standardise = False

    @property
    def key(self) -> dict[str, Any]:
        """All that decides the pictures."""
        return {"drawing": "pointclip", **dataclasses.asdict(self)}

    def draw(self, points: Tensor, rotations: Tensor, image_size: tuple[int, int]) -> Tensor:
        """Points (B, P, 3) float32 and rotations (V, 3, 3) to pictures (B, V, 3, H, W), depth as value, 0 = empty.

        They have the encoder's size already: bilinear, as published.
        """
        maps = pointclip_depth(points, rotations, size=self.size, distance=self.distance)
        if tuple(maps.shape[-2:]) != image_size:
            maps = functional.interpolate(maps, image_size, mode="bilinear", align_corners=False)
        return maps.unsqueeze(2).expand(-1, -1, 3, -1, -1)


@dataclass(frozen=True)
class PointclipV2Drawing:
    """PointCLIP V2's projection: smooth pictures from a voxel grid, not standardised, as published."""

    standardise = False

    @property
    def key(self) -> dict[str, Any]:
        """All that decides the pictures."""
        return {"drawing": "pointclip_v2"}

    def draw(self, points: Tensor, rotations: Tensor, image_size: tuple[int, int]) -> Tensor:
        """Points (B, P, 3) float32 and rotations (V, 3, 3) to pictures (B, V, 3, H, W) in [0, 1], white = empty.

        They have the encoder's size already: bilinear with aligned corners, as published.
        """
        images = functional.interpolate(
            voxel_images(points, rotations), image_size, mode="bilinear", align_corners=True
        )
        return images.unsqueeze(2).expand(-1, -1, 3, -1, -1)


Drawing = Clip2PointDrawing | PointclipDrawing | PointclipV2Drawing
