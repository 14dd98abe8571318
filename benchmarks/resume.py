"""How long a killed pre-training takes from the start of its process to its next step, at ShapeNet's true size.

Made data: 41,943 training and 10,517 validation clouds of 1,024 points in shards, image features of ten views in half
precision, and ViT-B/32 with LAMB's state. On a CPU a step is of two samples, so that what is measured is not the step.
The page cache is warm. The shards hold the points alone; the manifest tells of pictures too, which nobody reads here.
"""

import os
import resource
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from benchmarks.tower import VIT_B_32
from c2p.data.features import feature_file, write_feature_part, write_features_manifest, write_text_part
from c2p.data.manifest import read_manifest, shard_rows, write_manifest
from c2p.data.tars import add_member, encode_npy
from c2p.models.clip import create_clip, save_clip
from c2p.models.device import compute_device
from c2p.models.folder import clip_digest
from c2p.models.templates import templates_of
from c2p.params import load

ROOT = Path(__file__).resolve().parent.parent
TRAIN, VAL, CLASSES = 41_943, 10_517, 55
SHARD = 1000
"""Samples."""
PICTURES = [f"{kind}.{view:02d}.png" for kind in ("rgb", "depth") for view in range(10)]
CHILD = """
import os, sys, time
from pathlib import Path
from tasks.progress import heard_by
from tasks.shard_map import WorkerPool
from tasks.stage import configure_logging, parse, run_stage
steps = 0
def heard(what, done, total):
    global steps
    steps += 1
    if steps == int(sys.argv[1]):
        print(time.time(), flush=True)
        if len(sys.argv) > 2:  # a kill
            os._exit(0)
configure_logging()
with WorkerPool() as pool, heard_by(heard):
    run_stage(parse(["pretrain", "seed=0"]), root=Path.cwd(), map_=pool.map)
"""
"""What `python -m tasks pretrain seed=0` does, killed at its so many-th step, whose time it prints."""


def measure_resume(repeats: int = 3) -> dict[str, Any]:
    """Seconds to the next step: the fastest of several resumptions of one killed training, and each."""
    with tempfile.TemporaryDirectory(prefix="c2p-resume-") as folder:
        root = Path(folder)
        make_project(root, batch=256 if compute_device().type == "cuda" else 2)
        to_step(root, steps=3, save_minutes="0")  # a step's state is on the disk when the next but one is done
        runs = [to_step(root, steps=1, save_minutes="5") for _ in range(repeats)]
        state = next(root.glob(".c2p/**/state.pt")).stat().st_size
    return {
        "resume_s": round(min(seconds for seconds, _ in runs), 2),
        "all_s": [round(seconds, 2) for seconds, _ in runs],
        "cpu_s": [round(seconds, 2) for _, seconds in runs],
        "clouds": TRAIN + VAL,
        "points": 1024,
        "state_gb": round(state / 1e9, 2),
        "page_cache": "warm",
    }


def to_step(root: Path, *, steps: int, save_minutes: str) -> tuple[float, float]:
    """Start the stage, wait for its so many-th step and kill it.

    Returns seconds from the start of the process to the step, and of all its processors' work.
    """
    environment = os.environ | {"C2P_SAVE_MINUTES": save_minutes, "PYTHONPATH": str(ROOT)}
    begin, work = time.time(), _work()
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(steps), "kill"],
        cwd=root,
        env=environment,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return float(done.stdout.split()[-1]) - begin, _work() - work


def _work() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def make_project(root: Path, *, batch: int) -> None:
    """Write all that the stage reads into a project's folder."""
    values = yaml.safe_load((ROOT / "profiles/code.yaml").read_text(encoding="utf-8"))
    values["pretrain"] |= {"batch": batch, "precision": "bfloat16" if batch > 2 else "float32"}
    values["teacher"] |= {"model": VIT_B_32, "pretrained": ""}
    (root / "params.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    settings = load(root / "params.yaml")
    shards, features = root / "data/shards", root / "data/features"
    for made in (shards, features):
        made.mkdir(parents=True)
    clip = create_clip(settings.teacher)
    save_clip(clip, root / "models/clip")
    generator = np.random.default_rng(0)
    names = tuple(f"class {number:02d}" for number in range(CLASSES))
    write_manifest(shards, names, _rows(shards, features, names, clip.width, generator))
    templates = templates_of(settings.zeroshot)
    text = generator.normal(size=(CLASSES, len(templates), clip.width)).astype(np.float32)
    write_text_part(features / "text.npy", text / np.linalg.norm(text, axis=-1, keepdims=True))
    teacher = clip_digest(root / "models/clip")
    write_features_manifest(features, read_manifest(shards), teacher=teacher, templates=templates)


def _rows(
    shards: Path, features: Path, names: tuple[str, ...], width: int, generator: np.random.Generator
) -> Iterator[dict[str, Any]]:
    for split, count in (("train", TRAIN), ("val", VAL)):
        for first in range(0, count, SHARD):
            shard = shards / f"{split}-{first // SHARD:06d}.tar"
            numbers = range(first, min(first + SHARD, count))
            clouds = generator.normal(size=(len(numbers), 1024, 3)).astype(np.float32)
            clouds /= np.linalg.norm(clouds, axis=-1).max(1)[:, None, None]
            with tarfile.open(shard, "w") as file:
                for number, cloud in zip(numbers, clouds, strict=True):
                    add_member(file, f"{split}-{number:06d}.points.npy", encode_npy(cloud))
            values = generator.standard_normal((len(numbers), 10, width), dtype=np.float32)
            write_feature_part(features / feature_file(shard.name), values)
            for number, (key, place) in zip(numbers, shard_rows(shard).items(), strict=True):
                pictures = [{"name": name, "offset": 0, "size": 0} for name in PICTURES]
                members = sorted([*place["members"], *pictures], key=lambda member: str(member["name"]))
                label = names[number % len(names)]
                yield {"key": key, "label": label, "split": split, "shard": shard.name, **place, "members": members}


def main() -> None:
    """Measure and print; with a folder, only make the project there."""
    if len(sys.argv) > 1:
        shutil.rmtree(sys.argv[1], ignore_errors=True)
        Path(sys.argv[1]).mkdir(parents=True)
        make_project(Path(sys.argv[1]), batch=256 if torch.cuda.is_available() else 2)
    else:
        print(measure_resume())


if __name__ == "__main__":
    main()
