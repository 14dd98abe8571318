"""Groups of neighbouring points, the words that an encoder of point clouds reads.

Letters: B batch, P points of a cloud, G groups, K points of a group, C feature width.
"""

import numpy as np
import torch
from torch import Tensor

from c2p.geometry.points import farthest_points
from c2p.kernel import kernel

STRIDE = 16
"""Points that the search for neighbours leaves out at first, and comes back for."""


def canonical_order(points: Tensor) -> Tensor:
    """Sort each cloud by x, then y, then z, so that the order its points came in leaves no trace, to the bit.

    points: (B, P, 3) float. Returns the same shape and dtype; minus zero becomes zero.
    Raises ValueError: another shape.
    """
    if points.ndim != 3 or points.shape[-1] != 3:
        raise ValueError(f"points: got shape {tuple(points.shape)}; allowed: (B, P, 3)")
    ordered = points + 0.0  # minus zero equals zero, so that a sort would keep both in the order they came
    if _is_for_kernels(ordered):
        return gather(ordered, torch.from_numpy(_lexicographic(ordered.detach().numpy())))
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
    """Indices of the `count` points nearest to each query, the nearest first: (B, G, 3), (B, P, 3) -> (B, G, count).

    On CPUs the lowest index comes first of equally near ones; on GPUs PyTorch says which. Returns int64.
    Raises ValueError: fewer points than count.
    """
    if not 1 <= count <= points.shape[1]:
        raise ValueError(f"{count} neighbours of {points.shape[1]} points; allowed: 1 to {points.shape[1]}")
    if _is_for_kernels(points) and queries.dtype == points.dtype:
        return torch.from_numpy(_nearest(queries.detach().numpy(), points.detach().numpy(), count))
    # differences, not the product form: that loses the digits by which near neighbours differ
    distances = torch.cdist(queries.float(), points.float(), compute_mode="donot_use_mm_for_euclid_dist")
    return distances.topk(count, dim=-1, largest=False).indices


def gather(values: Tensor, indices: Tensor) -> Tensor:
    """Rows of each cloud by index: (B, P, C), (B, ...) int64 -> (B, ..., C)."""
    batch = torch.arange(len(values), device=values.device)
    return values[batch.view(-1, *[1] * (indices.ndim - 1)), indices]


def _is_for_kernels(points: Tensor) -> bool:
    """Whether numpy and compiled loops can read them: on CPUs these take half the time of PyTorch's sorts."""
    return points.device.type == "cpu" and points.dtype in (torch.float32, torch.float64)


def _lexicographic(points: np.ndarray) -> np.ndarray:
    """Places of each cloud's points sorted by x, then y, then z: (B, P, 3) to (B, P) int64."""
    places = points[..., 0].argsort(1, kind="stable")
    _sort_equal(points, places)
    return places


@kernel
def _sort_equal(points: np.ndarray, places: np.ndarray) -> None:
    """Sort by y, then z, points of the same x, in place; places (B, P) come sorted by x. Flat sides have many."""
    for b in range(len(points)):
        cloud, place = points[b], places[b]
        for end in range(1, len(place)):
            own, at = place[end], end
            x, y, z = cloud[own, 0], cloud[own, 1], cloud[own, 2]
            while at > 0:
                other = cloud[place[at - 1]]
                if other[0] != x or other[1] < y or (other[1] == y and other[2] <= z):
                    break
                place[at] = place[at - 1]
                at -= 1
            place[at] = own


@kernel
def _nearest(queries: np.ndarray, points: np.ndarray, count: int) -> np.ndarray:
    """Indices of the nearest points by squared distance: (B, G, 3), (B, P, 3) to (B, G, count) int64."""
    nearest = np.zeros((len(queries), queries.shape[1], count), np.int64)
    for b in range(len(points)):
        x, y, z = points[b, :, 0].copy(), points[b, :, 1].copy(), points[b, :, 2].copy()
        for g in range(queries.shape[1]):
            _nearest_of_one(queries[b, g], x, y, z, nearest[b, g])
    return nearest


@kernel
def _nearest_of_one(query: np.ndarray, x: np.ndarray, y: np.ndarray, z: np.ndarray, nearest: np.ndarray) -> None:
    qx, qy, qz = query
    distances = np.empty_like(x)
    for j in range(len(x)):
        dx, dy, dz = x[j] - qx, y[j] - qy, z[j] - qz
        distances[j] = dx * dx + dy * dy + dz * dz
    last = len(nearest) - 1
    best = np.full(last + 1, np.inf, x.dtype)
    for start in range(STRIDE):  # a coarse look at the whole cloud first: most points left are too far at once
        for j in range(start, len(x), STRIDE):
            d = distances[j]
            if d < best[last] or (d == best[last] and j < nearest[last]):
                place = last
                while place > 0 and (best[place - 1] > d or (best[place - 1] == d and nearest[place - 1] > j)):
                    best[place], nearest[place] = best[place - 1], nearest[place - 1]
                    place -= 1
                best[place], nearest[place] = d, j
