"""The published rasteriser's loops in machine code: every point against every pixel."""

import numpy as np

from c2p.kernel import kernel


@kernel
def naive_loops(x: np.ndarray, y: np.ndarray, z: np.ndarray, radius: np.float32, out: np.ndarray) -> None:
    """Fill `out` (H, W) float32 with the least z >= 0 of the points nearer to a pixel's centre than the radius, else 0.

    x, y, z: (P,) float32; the picture is [-1, 1]^2, x to the left and y up.
    """
    size = len(out)
    square = radius * radius
    for row in range(size):
        above = np.float32(2 * (size - 1 - row) + 1) / np.float32(size) - np.float32(1)
        for column in range(size):
            left = np.float32(2 * (size - 1 - column) + 1) / np.float32(size) - np.float32(1)
            nearest = np.float32(np.inf)
            for point in range(len(x)):
                dx, dy = x[point] - left, y[point] - above
                if dx * dx + dy * dy < square and z[point] >= 0 and z[point] < nearest:
                    nearest = z[point]
            out[row, column] = nearest if nearest < np.inf else np.float32(0)
