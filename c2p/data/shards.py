"""WebDataset shards: samples of RGB views, depth maps, points and provenance, written so that bytes never vary."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from c2p.data.pictures import encode_png
from c2p.data.places import Place, is_url, open_file
from c2p.data.tars import encode_npy, read_range
from c2p.geometry.views import view_set
from c2p.params import Depth, Render

TABLE_AHEAD = 1 << 16
"""Bytes fetched ahead in a remote table of which a few rows are wanted."""


@dataclass(frozen=True)
class SampleRef:
    """Where the pieces of a sample lie before it is written."""

    key: str
    rgb: Place
    """Part tar with its views."""
    views: tuple[tuple[int, int], ...]
    """Offset and size of each encoded view in that tar."""
    points: Place
    """Parquet part with its farthest points."""
    meta: dict[str, Any]
    """Provenance: goes into the sample's JSON."""


def write_shard(path: Path, samples: Sequence[SampleRef], depth: Depth, render: Render) -> None:
    """Write samples in the order given.

    A sample holds `<key>.rgb.NN.png` and `<key>.depth.NN.png` (8-bit grey, at the canonical distance) for every view,
    `<key>.points.npy` ((P, 3) float32, centroid at the origin, largest norm 1, y up) and `<key>.json`.
    """
    import torch  # half a gigabyte that only the workers need
    import webdataset

    from c2p.geometry.depth import depth_images, depth_maps

    rotations = torch.as_tensor(view_set(render.views).rotations, dtype=torch.float32)
    clouds = _clouds(samples)
    with path.open("wb") as stream, webdataset.TarWriter(stream, mtime=0, encoder=False) as writer:
        for sample in samples:
            points = clouds[sample.key]
            images = depth_images(depth_maps(torch.from_numpy(points)[None], rotations, depth))[0, :, 0]
            greys = (images * 255).round().to(torch.uint8).numpy()
            record: dict[str, Any] = {
                "__key__": sample.key,
                "json": _json(sample.meta),
                "points.npy": encode_npy(points),
            }
            for index, (view, grey) in enumerate(zip(_views(sample.rgb, sample.views), greys, strict=True)):
                record |= {f"rgb.{index:02d}.png": view, f"depth.{index:02d}.png": encode_png(grey)}
            writer.write(record)


def views_digest(tar: Place, views: Sequence[tuple[int, int]]) -> str:
    """SHA-256 of a sample's encoded views, their sizes included."""
    digest = hashlib.sha256()
    for view in _views(tar, views):
        digest.update(len(view).to_bytes(8, "big") + view)
    return digest.hexdigest()


def cloud_digests(points: Path) -> dict[str, str]:
    """SHA-256 of each sample's points in a part, by key.

    Raises ValueError: the file is absent or damaged.
    """
    try:
        table = pq.read_table(points, columns=["key", "points"])
    except FileNotFoundError:
        raise ValueError(f"{points}: no such file; run the sample stage (dvc repro sample)") from None
    except (pa.ArrowInvalid, OSError) as error:
        said = " ".join(str(error).split())
        raise ValueError(f"{points}: damaged ({said}); make it again with `dvc repro -f sample`") from None
    clouds = table["points"].to_numpy()
    return {k: hashlib.sha256(c.tobytes()).hexdigest() for k, c in zip(table["key"].to_pylist(), clouds, strict=True)}


def _views(tar: Place, views: Sequence[tuple[int, int]]) -> list[bytes]:
    """The encoded views, which lie side by side in their tar: read at once."""
    start = min(offset for offset, _ in views)
    data = read_range(tar, start, max(offset + size for offset, size in views) - start)
    return [data[offset - start : offset - start + size] for offset, size in views]


def _clouds(samples: Sequence[SampleRef]) -> dict[str, np.ndarray]:
    """Points of the samples by key. A shard's samples lie all over the parts: one part is in memory at a time."""
    keys: dict[Place, list[str]] = {}
    for sample in samples:
        keys.setdefault(sample.points, []).append(sample.key)
    clouds = {}
    for path, wanted in keys.items():
        source = open_file(path, ahead=TABLE_AHEAD) if is_url(path) else path
        table = pq.read_table(source, columns=["key", "points"], filters=[("key", "in", wanted)])
        for key, cloud in zip(table["key"].to_pylist(), table["points"].to_numpy(), strict=True):
            clouds[key] = np.array(cloud, dtype=np.float32).reshape(-1, 3)
    return clouds


def _json(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True).encode()
