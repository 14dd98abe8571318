"""What a change makes anew: the pieces that depend on it and no more; flipped back, nothing."""

import shutil
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from small_factory import STAGES, make_factory, outs, prints

from c2p.data import toy
from c2p.data.splits import chunks, clusters
from c2p.data.toy.shapenet_archive import model_files
from tasks.shard_map import serial
from tasks.stage import Call, run_stage

SETTINGS = {
    "download": {"toy_train": 3, "toy_validation": 1},
    "render": {"part_size": 2},
    "shards": {"samples_per_shard": 16},
}
WITHOUT = "03001627"
"""The synset that is not there from the beginning: chairs."""
STEPS = STAGES[1:]


@dataclass(frozen=True)
class Made:
    """Names of the pieces that a run made, by stage; a part of render is two files."""

    render: list[str]
    sample: list[str]
    shards: list[str]

    @property
    def counts(self) -> tuple[int, int, int]:
        return len(self.render), len(self.sample), len(self.shards)


def run(folder: Path) -> Made:
    """Run the stages; what stays in the store has to stay as it is."""
    made = []
    for stage in STEPS:
        before = prints(folder)
        run_stage(Call(stage), root=folder, map_=serial)
        after = prints(folder)
        assert {name: after[name] for name in before} == before
        made.append([name for name in after if name not in before and (stage != "render" or name.endswith(".tar"))])
    return Made(*made)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 archives of 4 models after all data stages; one more lies beside them."""
    folder = make_factory(tmp_path_factory.mktemp("done"), **SETTINGS)
    run_stage(Call("download"), root=folder, map_=serial)
    (folder / f"data/raw/shapenet/{WITHOUT}.zip").rename(folder / "another.zip")
    run(folder)
    return folder


@pytest.fixture
def project(done: Path, tmp_path: Path) -> Path:
    """A copy of `done` to change."""
    return Path(shutil.copytree(done, tmp_path / "p"))


def archive(folder: Path, synset: str) -> Path:
    return folder / f"data/raw/shapenet/{synset}.zip"


def rewrite(path: Path, changes: dict[str, bytes | None], added: dict[str, bytes] | None = None) -> None:
    """Write an archive anew with other bytes for some members; None: without that member."""
    with zipfile.ZipFile(path) as file:
        members = {name: file.read(name) for name in file.namelist()}
    members |= {name: data for name, data in (changes | (added or {})).items() if data is not None}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in sorted(members.items()):
            if changes.get(name, b"") is not None:
                file.writestr(name, data)


def meshes(path: Path) -> list[str]:
    with zipfile.ZipFile(path) as file:
        return sorted(name for name in file.namelist() if name.endswith(".obj"))


def parts(folder: Path) -> int:
    return len(list((folder / "data/rgb").glob("*.tar")))


def set_param(folder: Path, name: str, value: Any) -> Any:
    """Change a parameter; returns what it was."""
    section, key = name.split(".")
    params = yaml.safe_load((folder / "params.yaml").read_text())
    before, params[section][key] = params[section][key], value
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    return before


def test_an_added_archive_renders_only_itself_and_a_removed_one_nothing(project: Path) -> None:
    before, count = outs(project, *STEPS), parts(project)
    shutil.copy(project / "another.zip", archive(project, WITHOUT))
    made = run(project)
    added = parts(project) - count
    assert added >= 2 and made.counts[:2] == (added, added)
    archive(project, WITHOUT).unlink()
    assert run(project).counts == (0, 0, 0)
    assert outs(project, *STEPS) == before


@pytest.mark.parametrize("ending", [".obj", ".mtl"])
def test_a_changed_model_makes_one_part_and_one_shard(project: Path, ending: str) -> None:
    path = archive(project, "02691156")
    before = outs(project, *STEPS)
    name = meshes(path)[3].replace(".obj", ending)
    with zipfile.ZipFile(path) as file:
        data = file.read(name)
    changed = data.replace(b"Kd 0.", b"Kd 0.1") if ending == ".mtl" else data.replace(b"v 0.", b"v 0.1", 40)
    assert changed != data
    rewrite(path, {name: changed})
    made = run(project)
    assert made.counts == (1, 0 if ending == ".mtl" else 1, 1)
    rewrite(path, {name: data})
    assert run(project).counts == (0, 0, 0)
    assert outs(project, *STEPS) == before


def test_a_touched_archive_makes_nothing(project: Path) -> None:
    before = outs(project, *STEPS)
    rewrite(archive(project, "02691156"), {})
    assert run(project).counts == (0, 0, 0) and outs(project, *STEPS) == before


def test_an_added_model_changes_one_part(project: Path) -> None:
    """It may be split in two; the others of its archive stay."""
    path, model = archive(project, "02691156"), "0123456789abcdef"
    files = {f"02691156/{model}/{name}": data for name, data in model_files(toy.make_shape("airplane", 5))}
    rewrite(path, {}, files)
    with (project / "data/raw/shapenet/train.txt").open("a") as file:
        file.write(f"02691156-{model}\n")
    made = run(project)
    assert 1 <= made.counts[0] <= 2 and made.counts[0] == made.counts[1]


def test_a_removed_model_changes_one_part(project: Path) -> None:
    path = archive(project, "02691156")
    rewrite(path, {meshes(path)[0]: None})
    assert 0 <= run(project).counts[0] <= 1


ALL = -1
"""Every piece of a stage is made anew."""
CHANGES = {
    "render.fov": (50.0, (ALL, 0, ALL)),
    "render.ambient": (0.4, (ALL, 0, ALL)),
    "render.size": (9, (ALL, 0, ALL)),
    "render.views": ("six", (ALL, 0, ALL)),
    "render.seed": (1, (ALL, ALL, ALL)),
    "render.cloud_points": (33, (ALL, ALL, ALL)),
    "render.part_size": (1000, (ALL, ALL, 0)),
    "render.max_reject_rate": (0.5, (0, 0, 0)),
    "sample.points": (9, (0, ALL, ALL)),
    "depth.size": (9, (0, 0, ALL)),
    "depth.dilation": (1, (0, 0, ALL)),
    "shards.samples_per_shard": (11, (0, 0, ALL)),
    "shards.validation_share": (0.4, (0, 0, 0)),
    "teacher.epochs": (3, (0, 0, 0)),
}
"""Parameter: another value, and what is made anew of render, sample, shards."""


@pytest.fixture(scope="module")
def shared(done: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One copy for all parameters, each of which is flipped back."""
    yield Path(shutil.copytree(done, tmp_path_factory.mktemp("shared") / "p"))


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_parameter_redoes_what_depends_on_it(shared: Path, name: str) -> None:
    before = outs(shared, *STEPS)
    value, expected = CHANGES[name]
    kept = set_param(shared, name, value)
    made = run(shared)
    shards = len(list((shared / "data/shards").glob("*.tar")))
    whole = (parts(shared), parts(shared), shards)
    assert made.counts == tuple(all_ if share == ALL else share for share, all_ in zip(expected, whole, strict=True))
    assert (outs(shared, *STEPS) != before) == any(expected), "what is made anew is also different"
    set_param(shared, name, kept)
    assert run(shared).counts == (0, 0, 0)
    assert outs(shared, *STEPS) == before


@pytest.mark.parametrize(("stage", "table"), [("sample", "clouds"), ("shards", "points")])
def test_a_table_that_is_absent_or_cut_short_is_one_line(project: Path, stage: str, table: str) -> None:
    path = sorted((project / "data" / table).glob("*.parquet"))[3]
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(data[: len(data) // 2])
    maker = {"clouds": "render", "points": "sample"}[table]
    with pytest.raises(ValueError, match=rf"{path.name}: damaged .* make it again with `dvc repro -f {maker}`"):
        run_stage(Call(stage), root=project, map_=serial)
    if stage == "shards":
        path.unlink()
        with pytest.raises(ValueError, match=rf"{path.name}: no such file; run the sample stage"):
            run_stage(Call(stage), root=project, map_=serial)


def test_clusters_hardly_move() -> None:
    """Against consecutive pieces, which all move behind an added item."""
    items = [f"model-{number:04d}" for number in range(500)]
    for size in (1, 7, 64, 499, 500):
        before = clusters(items, size, str)
        assert sorted(item for piece in before for item in piece) == items and max(map(len, before)) <= size
        assert all(piece == sorted(piece) for piece in before), "each in the order given"
        more = clusters(sorted([*items, "model-0000a"]), size, str)
        assert len([piece for piece in more if piece not in before]) <= 2
        less = clusters(items[1:], size, str)
        assert len([piece for piece in less if piece not in before]) <= 1
    moved = [p for p in chunks(sorted([*items, "model-0000a"]), 7) if p not in chunks(items, 7)]
    assert len(moved) > 70
    assert clusters([], 3, str) == []
