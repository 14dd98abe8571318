"""RGB views of single samples, read from the shards while they are wanted. Letters: B samples, H W pixels."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from torch import Tensor

from c2p.data.manifest import Manifest, read_picture


class ViewReader:
    """Reads views by sample and number; threads decode them."""

    def __init__(self, manifest: Manifest, rows: Sequence[dict[str, Any]], *, threads: int = 2) -> None:
        """rows: the samples, in the order of their numbers here."""
        self._manifest = manifest
        self._rows = rows
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="views")

    def __len__(self) -> int:
        """Number of samples."""
        return len(self._rows)

    def __call__(self, samples: np.ndarray, views: np.ndarray) -> Tensor:
        """Samples (B,) and a view of each (B,) to pictures (B, 3, H, W) uint8.

        Raises ValueError: a view that a sample doesn't have.
        """
        read = self._pool.map(self._read, samples.tolist(), views.tolist())
        return torch.from_numpy(np.stack(list(read))).permute(0, 3, 1, 2)

    def _read(self, sample: int, view: int) -> np.ndarray:
        return read_picture(self._manifest, self._rows[sample], "rgb", view)
