"""A transformer that encodes point clouds into a teacher's space: Point-BERT's size class, as CG3D uses it.

Letters: B batch, P points of a cloud, G groups, K points of a group, W width of the transformer, C teacher's width.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from c2p.models.point_groups import canonical_order, centres, gather, neighbours

START = 0.02
"""Standard deviation of the tokens that training starts with."""
FEED_FORWARD = 4
"""Width of a block's hidden layer, in widths of the transformer."""


@dataclass(frozen=True)
class PointTransformerSize:
    """Sizes of the point transformer; CG3D's by default."""

    width: int = 384
    depth: int = 12
    heads: int = 6
    groups: int = 64
    """Groups a cloud is cut into; they may overlap."""
    neighbours: int = 32
    """Points of a group."""
    token_width: int = 256
    """Width of a group's code before it is taken to the transformer's width; the network that makes it is half, once,
    twice and once as wide, Point-BERT's 128, 256, 512 and 256 where this is 256."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value < 1:
                raise ValueError(f"point transformer: {name} {value}; allowed: at least 1")
        if self.token_width < 2:
            raise ValueError(f"point transformer: token_width {self.token_width}; allowed: at least 2")
        if self.width % self.heads:
            raise ValueError(f"point transformer: width {self.width} with {self.heads} heads; allowed: a multiple")


class GroupEncoder(nn.Module):
    """A small PointNet: each group's points, relative to its centre, to one code.

    Point by point in plain matrix products, whose arithmetic is that of convolutions over single points; on CPUs they
    take a third less time. What a group's maximum adds is computed once a group and not once a point.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.points = nn.Sequential(
            nn.Linear(3, width // 2, bias=False),
            nn.BatchNorm1d(width // 2),
            nn.ReLU(inplace=True),
            nn.Linear(width // 2, width),
        )
        self.joined = nn.Linear(2 * width, 2 * width, bias=False)
        self.whole = nn.Sequential(nn.BatchNorm1d(2 * width), nn.ReLU(inplace=True), nn.Linear(2 * width, width))

    def forward(self, groups: Tensor) -> Tensor:
        """(B, G, K, 3) float to (B, G, width)."""
        batch, count, size, _ = groups.shape
        each = self.points(groups.reshape(-1, 3)).unflatten(0, (batch * count, size))
        of_most, of_each = self.joined.weight.chunk(2, dim=1)
        both = linear(each, of_each) + linear(each.amax(1, keepdim=True), of_most)
        return self.whole(both.flatten(0, 1)).unflatten(0, (batch, count, size)).amax(2)


class PointTransformer(nn.Module):
    """Point clouds to features of the teacher's width, blind to the order of the points."""

    def __init__(self, features: int, size: PointTransformerSize | None = None) -> None:
        super().__init__()
        self.size = size = size or PointTransformerSize()
        self.groups = GroupEncoder(size.token_width)
        self.reduce = nn.Linear(size.token_width, size.width)
        self.position = nn.Sequential(nn.Linear(3, 128), nn.GELU(), nn.Linear(128, size.width))
        self.token = nn.Parameter(torch.empty(1, 1, size.width).normal_(std=START))
        self.token_position = nn.Parameter(torch.empty(1, 1, size.width).normal_(std=START))
        self.blocks = nn.ModuleList(_block(size) for _ in range(size.depth))
        self.norm = nn.LayerNorm(size.width)
        self.head = nn.Linear(2 * size.width, features)

    def forward(self, points: Tensor) -> Tensor:
        """(B, P, 3) float, unit sphere, at least as many points as groups and as a group has: to (B, C), unnormalised.

        Raises ValueError: another shape, too few points, points that are not finite.
        """
        points = canonical_order(points)
        middle = gather(points, centres(points, self.size.groups))
        members = gather(points, neighbours(middle, points, self.size.neighbours))
        tokens = self.reduce(self.groups(members - middle[:, :, None]))
        batch = len(points)
        tokens = torch.cat([self.token.expand(batch, -1, -1), tokens], 1)
        position = torch.cat([self.token_position.expand(batch, -1, -1), self.position(middle)], 1)
        for block in self.blocks:
            tokens = block(tokens + position)  # the place is told anew to every block, as in Point-BERT
        tokens = self.norm(tokens)
        return self.head(torch.cat([tokens[:, 0], tokens[:, 1:].amax(1)], -1))


def _block(size: PointTransformerSize) -> nn.TransformerEncoderLayer:
    return nn.TransformerEncoderLayer(
        size.width,
        size.heads,
        FEED_FORWARD * size.width,
        dropout=0.0,
        activation="gelu",
        batch_first=True,
        norm_first=True,
    )
