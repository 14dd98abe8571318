"""PointMLP: an encoder of point clouds made of residual layers alone (Ma et al., ICLR 2022), CG3D's second encoder.

Letters: B batch, P points of a cloud, G groups, K points of a group, D feature width of a stage, C teacher's width.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from c2p.models.point_groups import canonical_order, centres, gather, neighbours

SMALL = 1e-5
"""Added to the spread of a cloud's groups, which is zero where all points coincide."""


@dataclass(frozen=True)
class PointMlpSize:
    """Sizes of PointMLP; the published ones by default."""

    width: int = 64
    """Feature width before the first stage; every stage doubles it."""
    stages: int = 4
    """Stages; every one halves the points."""
    blocks: int = 2
    """Residual blocks before and again after the maximum over a group."""
    neighbours: int = 24
    """Points of a group."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value < 1:
                raise ValueError(f"PointMLP: {name} {value}; allowed: at least 1")


class Residual(nn.Module):
    """ReLU(x + f(x)) with two linear layers, point by point."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv1d(width, width, 1),
            nn.BatchNorm1d(width),
            nn.ReLU(inplace=True),
            nn.Conv1d(width, width, 1),
            nn.BatchNorm1d(width),
        )

    def forward(self, values: Tensor) -> Tensor:
        """(B, D, P) float to the same shape."""
        return torch.relu(values + self.layers(values))


class Stage(nn.Module):
    """Half the points, twice the width: geometric affine module, residual blocks, maximum, residual blocks."""

    def __init__(self, width: int, size: PointMlpSize) -> None:
        super().__init__()
        self.neighbours = size.neighbours
        self.scale = nn.Parameter(torch.ones(width))
        self.shift = nn.Parameter(torch.zeros(width))
        self.within = nn.Sequential(_widen(2 * width, 2 * width), *[Residual(2 * width) for _ in range(size.blocks)])
        self.across = nn.Sequential(*[Residual(2 * width) for _ in range(size.blocks)])

    def forward(self, points: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        """Points (B, P, 3) and features (B, P, D) to (B, P // 2, 3) and (B, P // 2, 2 D)."""
        chosen = centres(points, points.shape[1] // 2)
        middle, own = gather(points, chosen), gather(features, chosen)
        members = gather(features, neighbours(middle, points, self.neighbours)) - own[:, :, None]
        spread = members.flatten(1).std(1)[:, None, None, None]  # one number a cloud: no other cloud plays in
        members = self.scale * members / (spread + SMALL) + self.shift
        joined = torch.cat([members, own[:, :, None].expand_as(members)], -1)
        batch, count, near, width = joined.shape
        inner = self.within(joined.reshape(batch * count, near, width).transpose(1, 2)).amax(-1)
        outer = self.across(inner.reshape(batch, count, width).transpose(1, 2))
        return middle, outer.transpose(1, 2)


class PointMlp(nn.Module):
    """Point clouds to features of the teacher's width, blind to the order of the points."""

    def __init__(self, features: int, size: PointMlpSize | None = None) -> None:
        super().__init__()
        self.size = size = size or PointMlpSize()
        self.embed = _widen(3, size.width)
        self.stages = nn.ModuleList(Stage(size.width * 2**stage, size) for stage in range(size.stages))
        self.head = nn.Linear(size.width * 2**size.stages, features)

    def forward(self, points: Tensor) -> Tensor:
        """(B, P, 3) float, unit sphere: to (B, C), unnormalised.

        Raises ValueError: another shape, points that are not finite, fewer points than the last stage's groups need.
        """
        points = canonical_order(points)
        features = self.embed(points.transpose(1, 2)).transpose(1, 2)
        for stage in self.stages:
            points, features = stage(points, features)
        return self.head(features.amax(1))


def _widen(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv1d(before, after, 1), nn.BatchNorm1d(after), nn.ReLU(inplace=True))
