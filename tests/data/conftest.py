"""A small collection brought to shards: two parts of made models, two shards and their manifest."""

import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from c2p.data import toy
from c2p.data.clouds import sample_part
from c2p.data.manifest import shard_rows, write_manifest
from c2p.data.models import Model
from c2p.data.parts import render_part
from c2p.data.shards import SampleRef, write_shard
from c2p.data.tars import index_tar
from c2p.data.toy.shapenet_archive import model_files
from c2p.params import Params, load

ROOT = Path(__file__).resolve().parents[2]
POINTS = 64


@dataclass(frozen=True)
class Collection:
    """What `made_parts` leaves: the parts' files and what the shards are written from."""

    folder: Path
    params: Params
    rows: dict[str, dict[str, Any]]
    samples: tuple[SampleRef, ...]


@pytest.fixture(scope="session")
def small_params() -> Params:
    params = load(ROOT / "params.yaml")
    render = replace(params.render, size=16, supersample=1, cloud_points=200, max_faces=100_000)
    return replace(params, render=render, depth=replace(params.depth, size=16))


@pytest.fixture(scope="session")
def made_parts(tmp_path_factory: pytest.TempPathFactory, small_params: Params) -> Collection:
    """Seven chairs and mugs in two parts, one of them a mesh without faces."""
    folder = tmp_path_factory.mktemp("parts")
    models = []
    with zipfile.ZipFile(folder / "raw.zip", "w") as archive:
        for index in range(7):
            label = ("chair", "mug")[index % 2]
            for name, data in model_files(toy.make_shape(label, index)):
                archive.writestr(f"{index}/{name}", b"" if index == 5 and name.endswith(".obj") else data)
            member = f"{index}/models/model_normalized.obj"
            split = "val" if index > 4 else "train"
            models.append(Model(f"m-{index}", label, split, str(folder / "raw.zip"), member, str(index), "y"))
    rows, samples = {}, []
    for number, part in enumerate((models[:4], models[4:])):
        tar, clouds, points = (folder / f"{number}.{end}" for end in ("tar", "clouds.parquet", "points.parquet"))
        render_part(part, small_params.render, tar, clouds)
        sample_part(clouds, POINTS, points)
        rows |= {row["key"]: row for row in pq.read_table(clouds).to_pylist()}
        for key, members in index_tar(tar).items():
            views = tuple((offset, size) for _, offset, size in members)
            samples.append(SampleRef(key, str(tar), views, str(points), {"label": rows[key]["label"], "a": [1.5]}))
    return Collection(folder, small_params, rows, tuple(samples))


@pytest.fixture
def make_shards(made_parts: Collection) -> Callable[[Path], Path]:
    """Write `train-000000.tar`, `val-000000.tar` and the manifest of the made collection into a folder."""

    def make(folder: Path) -> Path:
        folder.mkdir(parents=True)
        rows = []
        for split in ("train", "val"):
            chosen = [s for s in made_parts.samples if made_parts.rows[s.key]["split"] == split]
            shard = folder / f"{split}-000000.tar"
            write_shard(shard, chosen, made_parts.params.depth, made_parts.params.render)
            for key, place in shard_rows(shard).items():
                rows.append(made_parts.rows[key] | {"shard": shard.name, "captions": [f"a {key}"], **place})
        rows += [row | {"shard": "", "sha256": ""} for row in made_parts.rows.values() if row["reason"]]
        write_manifest(folder, ("chair", "mug"), rows)
        return folder

    return make
