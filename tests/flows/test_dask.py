"""The data stages through the flow on a Dask cluster of two worker processes: the bytes of one process on one disk."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from compiled import copy_compiled
from test_data_stages import BAD, contents, good_members, make_project, run, set_params

from c2p.data import places

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [pytest.mark.prefect, pytest.mark.slow]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small factory in a DVC project with a copy of the code, one of its meshes bad."""
    for name in [name for name in os.environ if name.startswith("PREFECT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "site"))
    monkeypatch.setenv("DVC_GLOBAL_CONFIG_DIR", str(tmp_path / "global"))
    folder = make_project(tmp_path / "project", good_members() | {"cube/train/nan.off": BAD["nan"]})
    set_params(folder, render={"max_reject_rate": 0.25})
    leave_out = shutil.ignore_patterns("__pycache__", "tmp", "cache", "config.local")
    for name in ("c2p", "tasks", "flows", ".dvc"):
        shutil.copytree(ROOT / name, folder / name, ignore=leave_out)
    copy_compiled(folder)
    for name in ("dvc.yaml", ".dvcignore", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    subprocess.run(["git", "init", "-q", folder], check=True)
    return folder


@pytest.fixture
def cluster(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Address of two workers of one thread each that were started in another folder."""
    import distributed

    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.syspath_prepend(project)  # workers start with it
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=50
    ) as workers:
        yield workers.scheduler_address


def test_a_cluster_with_a_remote_store_leaves_the_bytes_of_one_process(
    s3: str, project: Path, cluster: str, tmp_path: Path
) -> None:
    alone = make_project(tmp_path / "alone", good_members() | {"cube/train/nan.off": BAD["nan"]})
    shutil.copy(project / "params.yaml", alone)
    stages = ("download", "render", "sample", "shards", "benchmarks")
    run(alone, *stages)

    settings = {
        "C2P_CLUSTER": cluster,
        "C2P_STORE": f"{s3}/store",
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
    }
    command = [sys.executable, "-m", "flows.pretrain_pipeline", "--runner", "dask", "shards", "benchmarks"]
    done = subprocess.run(
        command, cwd=project, env={**os.environ, **settings}, capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stderr
    assert "5 stages: 5 ran, 0 restored, 0 current" in done.stdout
    assert "Traceback" not in done.stderr
    assert "mine.zip:cube/train/nan.off is left out" in done.stderr
    of_dvc = {"data/.gitignore"}
    assert {name: data for name, data in contents(project).items() if name not in of_dvc} == contents(alone)
    assert not (project / ".c2p/store").exists(), "workers had nothing but the remote store to write to"
    assert len([name for name in places.walk(f"{s3}/store") if name.startswith("inputs/")]) == 1
    assert list((tmp_path / "elsewhere").iterdir()) == []
