"""Made data of the size of a collection: clouds, and image features of their views."""

import torch
from torch import Tensor

POINTS, VIEWS = 1024, 10


def made_clouds(count: int) -> Tensor:
    """Points on ellipsoids, (count, POINTS, 3) float32 in the unit sphere."""
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(count, POINTS, 3, generator=generator)
    points /= points.norm(dim=-1, keepdim=True)
    axes = 0.3 + 0.7 * torch.rand(count, 1, 3, generator=generator)
    return points * axes


def made_features(count: int, width: int) -> Tensor:
    """Image features, (count, VIEWS, width) float16."""
    return torch.randn(count, VIEWS, width, generator=torch.Generator().manual_seed(1)).half()
