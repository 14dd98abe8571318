"""What a stage's run costs is noted beside its outputs, by both ways in, and never in them."""

import json
import threading
import time
from pathlib import Path

import pytest

from c2p import timings
from c2p.timings import Timing, folder_of, read_timings, timed


def test_a_run_leaves_one_record(tmp_path: Path) -> None:
    begin = time.monotonic()
    with timed(tmp_path, "pretrain", {"seed": "0"}):
        threading.Event().wait(0.05)
    spent = time.monotonic() - begin
    with timed(tmp_path, "render", {}):
        pass
    with timed(tmp_path, "render", {}):
        pass
    first, second = read_timings(tmp_path)
    assert (first.stage, second.stage) == ("pretrain@0", "render")
    assert 0.04 <= first.seconds <= round(spent + 0.01, 2)
    assert 10 < first.peak_memory_mb < 100_000
    assert first.finished.endswith("+00:00") and len(first.finished) == len("2026-01-01T00:00:00+00:00")
    assert "cores" in first.machine and "GB" in first.machine
    assert sorted(path.name for path in folder_of(tmp_path).iterdir()) == ["pretrain@0.json", "render.json"]


def test_memory_of_the_block_counts_at_its_largest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timings, "SAMPLE_S", 0.01)
    seen = threading.Event()

    def memory() -> float:
        if threading.current_thread() is not threading.main_thread():
            seen.set()
            return 7e6
        return 5e6

    monkeypatch.setattr(timings, "_memory", memory)
    with timed(tmp_path, "render", {}):
        assert seen.wait(10)
    assert read_timings(tmp_path)[0].peak_memory_mb == 7.0


def test_memory_counts_children() -> None:
    import subprocess
    import sys

    before = timings._memory()
    code = "x = bytearray(80_000_000); print(1, flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout and child.stdin
        child.stdout.readline()
        assert timings._memory() - before > 75e6
        child.stdin.write("\n")
        child.stdin.flush()


def test_a_failed_run_leaves_none(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no"), timed(tmp_path, "render", {}):
        raise ValueError("no")
    assert read_timings(tmp_path) == []


def test_only_the_first_rank_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    with timed(tmp_path, "pretrain", {"seed": "0"}):
        pass
    assert read_timings(tmp_path) == []


def test_a_record_that_cannot_be_kept_fails_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / ".c2p").write_text("a file where a folder should be")
    with timed(tmp_path, "render", {}):
        pass
    assert "its timing was not kept" in caplog.text


def test_records_of_other_versions_are_left_out(tmp_path: Path) -> None:
    with timed(tmp_path, "render", {}):
        pass
    whole = json.loads((folder_of(tmp_path) / "render.json").read_text())
    for name, text in (("a", "{"), ("b", json.dumps(whole | {"more": 1})), ("c", "[]"), (".tmp-x", json.dumps(whole))):
        (folder_of(tmp_path) / f"{name}.json").write_text(text)
    assert read_timings(tmp_path) == [Timing(**whole)]
