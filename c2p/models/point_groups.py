"""Groups of neighbouring points, the words that an encoder of point clouds reads.

Letters: B batch, P points of a cloud, G groups, K points of a group, C feature width.
"""

import torch
from torch import Tensor

from c2p.geometry.points import farthest_points


def canonical_order(points: Tensor) -> Tensor:
    """Sort each cloud by x, then y, then z, so that the order its points came in leaves no trace, to the bit.

    points: (B, P, 3) float. Returns the same shape and dtype; minus zero becomes zero.
    Raises ValueError: another shape.
    """
    if points.ndim != 3 or points.shape[-1] != 3:
        raise ValueError(f"points: got shape {tuple(points.shape)}; allowed: (B, P, 3)")
    ordered = points + 0.0  # minus zero equals zero, so that a sort would keep both in the order they came
    for axis in (2, 1, 0):
        place = ordered[..., axis].argsort(dim=1, stable=True)
        ordered = gather(ordered, place)
    return ordered


def centres(points: Tensor, count: int) -> Tensor:
    """Indices of each cloud's farthest points, from its first: (B, P, 3) -> (B, count) int64.

    Raises ValueError: as c2p.geometry.points.farthest_points.
    """
    cpu = points.detach().float().cpu()  # one transfer a batch; the choice itself runs on the CPU
    return torch.stack([farthest_points(cloud, count) for cloud in cpu]).to(points.device)


def neighbours(queries: Tensor, points: Tensor, count: int) -> Tensor:
    """Indices of the `count` points nearest to each query: (B, G, 3), (B, P, 3) -> (B, G, count) int64.

    Raises ValueError: fewer points than count.
    """
    if not 1 <= count <= points.shape[1]:
        raise ValueError(f"{count} neighbours of {points.shape[1]} points; allowed: 1 to {points.shape[1]}")
    # differences, not the product form: that loses the digits by which near neighbours differ
    distances = torch.cdist(queries.float(), points.float(), compute_mode="donot_use_mm_for_euclid_dist")
    return distances.topk(count, dim=-1, largest=False).indices


def gather(values: Tensor, indices: Tensor) -> Tensor:
    """Rows of each cloud by index: (B, P, C), (B, ...) int64 -> (B, ..., C)."""
    batch = torch.arange(len(values), device=values.device)
    return values[batch.view(-1, *[1] * (indices.ndim - 1)), indices]
