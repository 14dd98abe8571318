"""One thread a test: the towers are tiny, and waiting threads would only burn the other core."""

import multiprocessing
import os
import shutil
import sys
import tarfile
from collections.abc import Iterator
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from c2p import params
from c2p.data.features import feature_file, write_feature_part, write_features_manifest, write_text_part
from c2p.data.manifest import read_manifest, shard_rows, write_manifest
from c2p.data.pictures import encode_png
from c2p.data.tars import add_member, encode_npy
from c2p.models.clip import create_clip, save_clip
from c2p.models.folder import clip_digest
from c2p.models.prompts import encode_prompts
from c2p.models.templates import templates_of

ROOT = Path(__file__).resolve().parents[2]
CLASSES = ("box", "plate", "pole")
EXTENTS = np.array([[1.0, 1.0, 1.0], [1.0, 0.1, 1.0], [0.1, 1.0, 0.1]])
TRAIN, VAL = 18, 5
"""Samples; the validation split's classes are of unequal size."""


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def forks() -> ForkServerContext:
    """Starts processes that have torch and the trainee already, in a moment each."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["trainee", "triplet_trainee"])
    with pytest.MonkeyPatch.context() as patch:  # the server doesn't get this process's search path
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
        forkserver.ensure_running()
    return context


@pytest.fixture(scope="session")
def made_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project's folder with all that the stage pretrain reads, and nothing else."""
    root = tmp_path_factory.mktemp("made")
    values = yaml.safe_load((ROOT / "profiles" / "demo.yaml").read_text())
    values["pretrain"] |= {"seeds": [0, 1], "epochs": 3, "batch": 8, "lr": 1e-3, "checkpoint_every": 1}
    values["depth"] |= {"size": 32}
    values["cg3d"] |= {"seeds": [0, 1], "epochs": 2, "batch": 6, "checkpoint_every": 1, "views": 3}
    values["point_encoder"] |= {"width": 16, "depth": 1, "heads": 2, "groups": 6, "neighbours": 4, "token_width": 8}
    values["cg3d_student"] |= {"size": 16, "patch": 8, "width": 32, "layers": 1, "epochs": 2, "batch": 30}
    (root / "params.yaml").write_text(yaml.safe_dump(values))
    settings = params.load(root / "params.yaml")
    shards, features = root / "data/shards", root / "data/features"
    for folder in (shards, features):
        folder.mkdir(parents=True)
    clip = create_clip(settings.teacher)
    save_clip(clip, root / "models/clip")
    generator = np.random.default_rng(0)
    rows = []
    for split, count in (("train", TRAIN), ("val", VAL)):
        shard = shards / f"{split}-000000.tar"
        with tarfile.open(shard, "w") as file:
            for number in range(count):
                points = generator.uniform(-1, 1, (64, 3)) * EXTENTS[number % 3]
                points = (points / np.linalg.norm(points, axis=1).max()).astype(np.float32)
                add_member(file, f"{split}-{number:02d}.points.npy", encode_npy(points))
                for view in range(10):
                    picture = generator.integers(0, 256, (16, 16, 3), dtype=np.uint8)
                    add_member(file, f"{split}-{number:02d}.rgb.{view:02d}.png", encode_png(picture))
        write_feature_part(features / feature_file(shard.name), generator.normal(size=(count, 10, clip.width)))
        for number, (key, place) in enumerate(shard_rows(shard).items()):
            rows.append({"key": key, "label": CLASSES[number % 3], "split": split, "shard": shard.name, **place})
    write_manifest(shards, CLASSES, rows)
    templates = templates_of(settings.zeroshot)
    write_text_part(features / "text.npy", encode_prompts(clip, CLASSES, templates))
    teacher = clip_digest(root / "models/clip")
    write_features_manifest(features, read_manifest(shards), teacher=teacher, templates=templates)
    return root


@pytest.fixture
def project(made_project: Path, tmp_path: Path) -> Path:
    """A copy of the made project."""
    shutil.copytree(made_project, tmp_path / "project")
    return tmp_path / "project"
