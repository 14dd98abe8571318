"""What a model weighs: `python -m benchmarks.storage MESHES` runs the data stages on an archive or folder of meshes.

MESHES is laid out `<class>/{train,test}/<name>.<ext>`; parameters are those of the profile paper (ten views of 224
pixels, 8,192 surface points, 1,024 of them in a shard). Prints bytes a model of every output and what ShapeNet's 52,460
models come to, and writes benchmarks/results/storage.json.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

from benchmarks.machine import machine
from c2p.data.manifest import read_manifest
from c2p.params import Params, build
from tasks import download, render, sample, shards
from tasks.layout import Layout
from tasks.shard_map import WorkerPool

ROOT = Path(__file__).resolve().parent.parent
SHAPENET, VIEWS, WIDTH = 52_460, 10, 512
"""Models, pictures a model, and the width of ViT-B/32's features, which are half floats."""


def settings(meshes: Path) -> Params:
    """The profile paper's parameters, of other meshes."""
    values = yaml.safe_load((ROOT / "profiles/paper.yaml").read_text(encoding="utf-8"))
    values["download"] |= {"source": "meshes", "meshes": str(meshes.resolve()), "benchmarks": ["meshes"]}
    for protocol in ("fewshot", "fullshot"):
        values[protocol]["dataset"] = "meshes"
    return build(values)


def measure(meshes: Path) -> dict[str, Any]:
    """Bytes a model of each output of the data stages, and of all that DVC keeps for ShapeNet, in gigabytes."""
    params = settings(meshes)
    with tempfile.TemporaryDirectory(prefix="c2p-storage-") as folder, WorkerPool() as pool:
        root = Path(folder)
        begin = time.monotonic()
        for stage in (download, render, sample, shards):
            stage.run(params, root, pool.map)
        seconds, layout = time.monotonic() - begin, Layout(root)
        models = sum(1 for row in read_manifest(layout.shards).rows if row["shard"])
        outs = {"rgb": layout.rgb, "clouds": layout.clouds, "points": layout.points, "shards": layout.shards}
        sizes = {name: sum(path.stat().st_size for path in out.iterdir()) for name, out in outs.items()}
        files = sum(len(list(out.iterdir())) for out in outs.values())
    bytes_each = {name: size / models for name, size in sizes.items()} | {"features": 2.0 * VIEWS * WIDTH}
    return {
        "models": models,
        "files": files,
        "seconds_a_model_and_core": seconds * pool.workers / models,
        "bytes_a_model": {name: round(size) for name, size in bytes_each.items()},
        "shapenet_gb": {name: round(size * SHAPENET / 1e9, 1) for name, size in bytes_each.items()},
        "machine": machine(),
    }


def main(arguments: list[str]) -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.storage", description=__doc__)
    parser.add_argument("meshes", type=Path, help="archive or folder of meshes")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results/storage.json")
    given = parser.parse_args(arguments)
    text = json.dumps(measure(given.meshes), indent=1)
    print(text)
    given.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
