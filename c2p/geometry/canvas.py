"""Canvases: depth maps that points are gathered into, pixel by pixel.

B objects, V views, H = W pixels. All maps of a call lie in one flat tensor, each with a margin that catches what falls
off it; so gathering is a scatter without masks, nothing has a size that depends on the data, and the device never waits
for the host.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

EPSILON = 1e-12
"""Keeps 1/z finite in the weighted mean (CLIP2Point Eq. 12, PointCLIP's code)."""
LIGHTEST = 1e-20
"""Less than any point's weight: what the zeros of empty pixels are divided by, for a value and a gradient of 0."""

Piece = tuple[Tensor, Tensor, Tensor | None]
"""Places (Canvas.places, with an offset or not), view depths, and which of them count (None: all); equal shapes."""


@dataclass(frozen=True)
class Canvas:
    """Square maps of one size."""

    objects: int
    views: int
    size: int
    """Side of a map, pixels."""
    reach: int
    """Largest offset, in rows or columns, that is added to a place."""
    device: torch.device

    @property
    def width(self) -> int:
        """Side of a map with its margins: the step from a place to the one below."""
        return self.size + 2 * self._margin

    def places(self, column: Tensor, row: Tensor) -> Tensor:
        """Where pixels lie in the flat tensor.

        column, row: (B, V, ...) float whole numbers counted from the map's upper left, infinities too. Returns
        (B, V, ...) int64; what is off the map, with all that offsets can reach from there, lies in a margin.
        """
        column, row = (axis.clamp(-self.reach - 1, self.size + self.reach).long() for axis in (column, row))
        first = torch.arange(self.objects * self.views, device=self.device) * self.width**2
        first = first.view(self.objects, self.views, *[1] * (column.ndim - 2)) + self._margin * (self.width + 1)
        return row.mul_(self.width).add_(column).add_(first)

    def nearest(self, pieces: Iterable[Piece]) -> Tensor:
        """Smallest depth at every pixel (CLIP2Point Eq. 14): (B, V, H, W) float32, 0 where there is none.

        The gradient of a pixel goes to the depth it shows; equal depths share it.
        """
        flat = torch.full((self._length,), torch.inf, dtype=torch.float32, device=self.device)
        held = []  # with a gradient, one scatter of everything: a chain of them would keep a map a piece
        for place, z, counts in pieces:
            z = (z if counts is None else z.where(counts, torch.inf)).expand_as(place).flatten()
            if z.requires_grad:
                held.append((place.flatten(), z))
            else:
                flat.scatter_reduce_(0, place.flatten(), z, "amin")
        if held:
            place, z = (torch.cat(parts) for parts in zip(*held, strict=True))
            flat = flat.scatter_reduce(0, place, z, "amin")
        return self._crop(flat).nan_to_num(posinf=0.0)

    def weighted(self, pieces: Iterable[Piece]) -> Tensor:
        """Mean of the depths at every pixel, each weighted with 1 / (z + EPSILON) (PointCLIP's code for Eq. 12).

        Returns (B, V, H, W) float32, 0 where there is none. On a GPU the order of the sums, hence the last bits,
        may vary.
        """
        weights = torch.zeros(self._length, dtype=torch.float32, device=self.device)
        products = torch.zeros_like(weights)
        for place, z, counts in pieces:
            weight = 1 / (z + EPSILON)
            weight = weight if counts is None else weight.where(counts, 0.0)
            for sums, part in ((weights, weight), (products, weight * z)):
                sums.scatter_add_(0, place.flatten(), part.expand_as(place).flatten())
        return self._crop(products) / self._crop(weights).clamp(min=LIGHTEST)

    @property
    def _margin(self) -> int:
        return 2 * self.reach + 1

    @property
    def _length(self) -> int:
        return self.objects * self.views * self.width**2

    def _crop(self, flat: Tensor) -> Tensor:
        inner = slice(self._margin, self._margin + self.size)
        return flat.view(self.objects, self.views, self.width, self.width)[..., inner, inner]
