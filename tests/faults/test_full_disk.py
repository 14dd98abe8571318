"""Disks that fill up: one line that names the file, the last good state stays, and the work goes on when there is room.

On a real file system of two megabytes where one may be mounted; a limit on the size of files does the like elsewhere.
"""

import csv
import os
import resource
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from fileserver import Resource, serving
from small_factory import STAGES, half_made, make_factory, outs, pieces, prints

from c2p.data import transfer
from c2p.data.files import NoRoom
from c2p.data.manifest import read_manifest, verify
from tasks.shard_map import WorkerPool, serial
from tasks.stage import Call, exit_code, report, run_stage

SETTINGS = {"render": {"part_size": 4}, "shards": {"samples_per_shard": 20}}


def run(folder: Path, *stages: str) -> None:
    for stage in stages:
        run_stage(Call(stage), root=folder, map_=serial)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_factory(tmp_path_factory.mktemp("undisturbed"), **SETTINGS)
    run(folder, *STAGES)
    return folder


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, ten megabytes large."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=10m", "tmpfs", folder]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("needs the right to mount a file system")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


@contextmanager
def full(disk: Path, *, left: int) -> Iterator[None]:
    """Leave so many bytes of room."""
    state = os.statvfs(disk)
    ballast = disk / "ballast"
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(1, state.f_bavail * state.f_bsize - left))
    yield
    ballast.unlink()


def check_said(error: BaseException, caplog: pytest.LogCaptureFixture, name: str) -> None:
    """One line: what, where, what to do."""
    assert isinstance(error, NoRoom)
    said = str(error)
    assert "\n" not in said and name in said
    assert "make room there and run again: what is finished is kept" in said
    assert exit_code(error) == report(error) == 2
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_goes_on_when_there_is_room(
    stage: str, disk: Path, undisturbed: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = make_factory(disk / "p", **SETTINGS)
    before = STAGES[: STAGES.index(stage)]
    run(folder, *before)
    kept = outs(folder, *before)
    left = {"download": 150_000, "render": 200_000, "sample": 9_000, "shards": 500_000}[stage]
    with full(disk, left=left), pytest.raises(OSError) as error:
        run(folder, stage)
    check_said(error.value, caplog, str(folder))
    assert outs(folder, *before) == kept and half_made(folder) == []
    for name, path in pieces(folder).items():
        assert path.read_bytes() == pieces(undisturbed)[name].read_bytes()
    finished = prints(folder)
    assert stage == "download" or finished
    run(folder, *STAGES[len(before) :])
    assert {name: prints(folder)[name] for name in finished} == finished
    assert outs(folder, *STAGES) == outs(undisturbed, *STAGES)


def test_in_a_worker_it_is_the_same_line(disk: Path, undisturbed: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = make_factory(disk / "p", **SETTINGS)
    run(folder, "download")
    with full(disk, left=100_000), pytest.raises(OSError) as error, WorkerPool(1) as pool:
        run_stage(Call("render"), root=folder, map_=pool.map)
    check_said(error.value, caplog, str(folder))
    assert half_made(folder) == []


def test_the_manifest_of_before_stays(disk: Path, caplog: pytest.LogCaptureFixture) -> None:
    """All shards are written already; the table that tells of them has no room."""
    folder = make_factory(disk / "p", **SETTINGS)
    run(folder, *STAGES)
    before = outs(folder, "shards")
    captions = folder / "data/raw/shapenet/captions.csv"
    with captions.open(newline="") as file:
        rows = [[key, text + os.urandom(2000).hex()] for key, text in csv.reader(file)]
    with captions.open("w", newline="") as file:
        csv.writer(file).writerows([["key", "caption"], *rows[1:]])
    with full(disk, left=20_000), pytest.raises(OSError) as error:
        run(folder, "shards")
    check_said(error.value, caplog, "manifest.parquet")
    assert outs(folder, "shards") == before and half_made(folder) == []
    assert verify(read_manifest(folder / "data/shards")) == []
    run(folder, "shards")
    assert outs(folder, "shards") != before and verify(read_manifest(folder / "data/shards")) == []


def test_without_mounting_a_limit_on_files(undisturbed: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = make_factory(tmp_path / "p", **SETTINGS)
    run(folder, "download", "render", "sample")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(OSError) as error:
            run(folder, "shards")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    check_said(error.value, caplog, str(folder))
    assert half_made(folder) == []
    run(folder, "shards")
    assert outs(folder, *STAGES) == outs(undisturbed, *STAGES)


@pytest.mark.parametrize("checked", [True, False])
def test_a_download_goes_on_with_what_has_arrived(disk: Path, monkeypatch: pytest.MonkeyPatch, checked: bool) -> None:
    """Refused before it begins where the length is known; else the disk itself says no in the middle."""
    monkeypatch.setattr(transfer, "SPARE_BYTES", 0)
    if not checked:
        monkeypatch.setattr(transfer, "check_space", lambda *_, **__: None)
    content = os.urandom(3 << 20)
    with serving() as server:
        offer = transfer.Offer(server.url("x.bin", Resource(content, etag='"1"')))
        with full(disk, left=1 << 20), pytest.raises(OSError) as error:
            transfer.transfer(offer, disk / "x.bin")
        assert exit_code(error.value) == 2 and "\n" not in str(error.value)
        assert str(disk) in str(error.value) and "make room" in str(error.value)
        assert not (disk / "x.bin").exists()
        assert transfer.transfer(offer, disk / "x.bin").read_bytes() == content
        assert any(server.ranges()) != checked, "what had arrived is not fetched again"
