"""A part of models through the functions that the stages render, sample and shards call."""

import contextlib
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import yaml

from benchmarks.meshes import MeshFiles
from c2p.data.archive import open_archive
from c2p.data.clouds import sample_part
from c2p.data.models import Model
from c2p.data.parts import render_part
from c2p.data.shards import SampleRef, write_shard
from c2p.data.tars import index_tar
from c2p.params import Params, build

PROFILES = Path(__file__).resolve().parent.parent / "profiles"


def settings() -> Params:
    """Parameters of profile `code` with 2x2 samples a pixel, as the profiles of our own have it."""
    params = build(yaml.safe_load((PROFILES / "code.yaml").read_text(encoding="utf-8")))
    return replace(params, render=replace(params.render, supersample=2))


def factory(models: Sequence[Model], params: Params, folder: Path) -> None:
    """Render, sample and pack a part, by the functions that the stages call."""
    tar, clouds, points, shard = (folder / name for name in ("part.tar", "clouds.parquet", "points.parquet", "s.tar"))
    render_part(models, params.render, tar, clouds)
    sample_part(clouds, params.sample.points, points)
    refs = [
        SampleRef(key, tar, tuple((offset, size) for _, offset, size in members), points, {"key": key})
        for key, members in index_tar(tar).items()
    ]
    assert len(refs) == len(models), f"{len(models) - len(refs)} of the made models were rejected"
    write_shard(shard, refs, params.depth, params.render)


def factory_job(job: tuple[Sequence[Model], Path]) -> None:
    """Run a part, in a worker process: its models, and a folder of its own."""
    models, folder = job
    factory(models, settings(), folder)


@contextlib.contextmanager
def zipped(mesh: MeshFiles, count: int) -> Iterator[tuple[Path, list[Model]]]:
    """A folder with copies of a mesh in a zip of ShapeNetCore's layout, and its models."""
    with tempfile.TemporaryDirectory(prefix="c2p-bench-") as name:
        folder, models = Path(name), []
        archive = folder / "00000000.zip"
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
            for number in range(count):
                root = f"00000000/{number:04d}"
                for relative, data in mesh.files.items():
                    file.writestr(f"{root}/models/{relative}", data)
                member = f"{root}/models/{mesh.name}"
                models.append(Model(f"00000000-{number:04d}", "made", "train", str(archive), member, root, "y"))
        open_archive(archive)
        yield folder, models
