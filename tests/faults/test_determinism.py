"""The same bytes with any number of workers, in any surroundings."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from small_factory import REPOSITORY, STAGES, half_made, make_factory, outs, pieces

from tasks.shard_map import serial
from tasks.stage import Call, run_stage

SCRIPT = """
import os, sys
from pathlib import Path
from tasks.shard_map import WorkerPool
from tasks.stage import Call, run_stage
os.umask(int(sys.argv[1], 8))
with WorkerPool() as pool:
    for stage in sys.argv[2:]:
        run_stage(Call(stage), root=Path.cwd(), map_=pool.map)
"""
SURROUNDINGS = {
    "1": {"LC_ALL": "C", "TZ": "Asia/Tokyo", "PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1", "umask": "077"},
    "2": {"LC_ALL": "C.UTF-8", "TZ": "America/St_Johns", "PYTHONHASHSEED": "1", "OMP_NUM_THREADS": "3", "umask": "022"},
    "3": {"LC_ALL": "POSIX", "LANG": "de_DE.UTF-8", "TZ": "", "PYTHONHASHSEED": "4294967295", "umask": "027"},
}
"""Variables by number of workers."""


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run in this process, one job after the other."""
    folder = make_factory(tmp_path_factory.mktemp("here"))
    for stage in STAGES:
        run_stage(Call(stage), root=folder, map_=serial)
    return folder


@pytest.mark.parametrize("workers", SURROUNDINGS)
def test_nothing_around_shows_in_the_bytes(here: Path, tmp_path: Path, workers: str) -> None:
    folder = make_factory(tmp_path / "another folder, with a longer name ü")
    own = {name: str(tmp_path / name) for name in ("TMPDIR", "HOME", "XDG_CACHE_HOME")}
    for path in own.values():
        Path(path).mkdir()
    settings = dict(SURROUNDINGS[workers])
    umask = settings.pop("umask")
    variables = {**os.environ, **own, **settings, "PYTHONPATH": str(REPOSITORY), "C2P_WORKERS": workers}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, umask, *STAGES], cwd=folder, env=variables, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert outs(folder, *STAGES) == outs(here, *STAGES)
    assert {n: p.read_bytes() for n, p in pieces(folder).items()} == {
        n: p.read_bytes() for n, p in pieces(here).items()
    }
    assert half_made(folder) == []
    assert list(Path(own["TMPDIR"]).iterdir()) == [], "nothing is left behind"
