"""A real project folder with parameters so small that its data stages take two seconds, and what is compared of it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
STAGES = ("download", "render", "sample", "shards")
OUTS = {"download": ("raw",), "render": ("rgb", "clouds"), "sample": ("points",), "shards": ("shards",)}
SMALL: dict[str, dict[str, Any]] = {
    "download": {
        "benchmarks": ["modelnet10"],
        "toy_train": 1,
        "toy_validation": 1,
        "toy_benchmark_train": 1,
        "toy_benchmark_test": 1,
    },
    "render": {"size": 8, "supersample": 1, "cloud_points": 32, "part_size": 1, "max_faces": 100_000},
    "sample": {"points": 8},
    "depth": {"size": 8},
    "shards": {"samples_per_shard": 4},
    "fewshot": {"dataset": "modelnet10"},
    "fullshot": {"dataset": "modelnet10"},
}
"""50 made shapes in 25 archives, a part each, 14 shards."""


@dataclass(frozen=True)
class Print:
    """What tells that a file is the one it was."""

    inode: int
    mtime_ns: int


def make_factory(folder: Path, **sections: dict[str, Any]) -> Path:
    """A project folder that holds nothing but params.yaml: the demo's, small, with `sections` put over it."""
    folder.mkdir(parents=True, exist_ok=True)
    params = yaml.safe_load((REPOSITORY / "profiles" / "demo.yaml").read_text())
    for changes in (SMALL, sections):
        for section, values in changes.items():
            assert set(values) <= set(params[section])
            params[section] |= values
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    return folder


def outs(folder: Path, *stages: str) -> dict[str, bytes]:
    """Every file in the outs of stages, temporary ones too."""
    tops = [folder / "data" / out for stage in stages for out in OUTS[stage]]
    return {str(p.relative_to(folder)): p.read_bytes() for top in tops for p in sorted(top.rglob("*")) if p.is_file()}


def pieces(folder: Path) -> dict[str, Path]:
    """Finished pieces of the store by name."""
    store = folder / ".c2p" / "store"
    return {p.name: p for p in store.rglob("*") if p.is_file() and not p.name.startswith(".tmp-")}


def prints(folder: Path) -> dict[str, Print]:
    """Identity of every finished piece."""
    states = {name: path.stat() for name, path in pieces(folder).items()}
    return {name: Print(state.st_ino, state.st_mtime_ns) for name, state in states.items()}


def half_made(folder: Path) -> list[str]:
    """Temporary files anywhere below a folder."""
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if "tmp" in p.name and p.is_file())
