"""Reading ahead: pictures are decoded by threads while whoever wants them works on earlier ones."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

from c2p.data.manifest import Manifest, read_pictures

AHEAD = 4
"""Objects that wait for each thread."""


def read_rgb_ahead(manifest: Manifest, rows: Sequence[dict[str, Any]], *, threads: int) -> Iterator[np.ndarray]:
    """RGB views (V, H, W, 3) uint8 of samples in their order, decoded by that many threads.

    What has been decoded and not yet taken is bounded, however slow the taker is.
    """
    waiting: deque[Future[np.ndarray]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="pictures") as pool:
        try:
            for row in rows:
                waiting.append(pool.submit(read_pictures, manifest, row, "rgb"))
                if len(waiting) > AHEAD * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
