"""The history file: what it keeps when many write at once, which drops it tells, and what people see of it."""

import os
import random
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from PIL import Image

from c2p.cli import main
from c2p.evaluation.history import SCHEMA, Row, append_history, find_drops, read_history
from c2p.evaluation.trend import draw_trend

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def row(number: int, **changes: Any) -> Row:
    made = {
        "when": BEGIN + timedelta(hours=number),
        "dataset": "modelnet40",
        "accuracy": 80.0,
        "low": 76.0,
        "high": 84.0,
        "class_mean": 79.0,
        "objects": 400,
        "chance": 2.5,
        "seed": 0,
        "epoch": 6,
        "checkpoint": "models/depth_encoder/seed-0",
        "sha256": f"{number:064x}",
        "data_rev": "d" * 64,
        "git_rev": "0123456789ab",
        "key": f"key-{number}",
    }
    return made | changes


@pytest.fixture
def history(tmp_path: Path) -> Path:
    return tmp_path / "metrics/history.parquet"


def test_rows_are_sorted_and_a_key_stands_there_once(history: Path) -> None:
    assert read_history(history) == []
    assert [new["key"] for new in append_history(history, [row(2), row(1), row(2)])] == ["key-2", "key-1"]
    assert append_history(history, [row(1, accuracy=1.0)]) == []
    before = history.read_bytes()
    assert append_history(history, []) == [] and history.read_bytes() == before
    append_history(history, [row(0, seed=None, epoch=None)])
    assert read_history(history) == [row(0, seed=None, epoch=None), row(1), row(2)]
    assert pq.read_schema(history).equals(SCHEMA)


def test_processes_that_append_at_once_lose_nothing(history: Path) -> None:
    code = """
import sys
sys.path.insert(0, sys.argv[3])
from pathlib import Path
from test_history import append_history, row
print("ready", flush=True)
sys.stdin.readline()
for number in range(12):
    append_history(Path(sys.argv[1]), [row(100 * int(sys.argv[2]) + number), row(number, key="of all")])
"""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(history), str(writer), str(Path(__file__).parent)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for writer in (1, 2, 3)
    ]
    try:
        for process in processes:
            assert process.stdout and process.stdout.readline() == "ready\n"
        for process in processes:
            process.communicate("go\n", timeout=120)
        assert [process.returncode for process in processes] == [0, 0, 0]
    finally:
        for process in processes:
            process.kill()
    numbers = [100 * writer + number for writer in (1, 2, 3) for number in range(12)]
    assert sorted(made["key"] for made in read_history(history)) == sorted(
        ["of all", *(f"key-{number}" for number in numbers)]
    )


def test_a_reader_sees_a_whole_file_while_another_thread_replaces_it(history: Path, tmp_path: Path) -> None:
    versions = []
    for count in (1, 40):
        append_history(made := tmp_path / f"{count}.parquet", [row(number) for number in range(count)])
        versions.append(made.read_bytes())
    history.parent.mkdir(parents=True)
    history.write_bytes(versions[0])
    ended = threading.Event()

    def replace() -> None:
        while not ended.is_set():
            for version in versions:
                (tmp_path / "next").write_bytes(version)
                os.replace(tmp_path / "next", history)

    writer = threading.Thread(target=replace)
    writer.start()
    try:
        counts = {len(read_history(history)) for _ in range(1000)}
    finally:
        ended.set()
        writer.join()
    assert counts == {1, 40}


def test_drops_are_those_that_loops_find() -> None:
    generator = random.Random(7)
    rows = [
        row(
            number,
            dataset=generator.choice(["modelnet10", "modelnet40"]),
            seed=generator.choice([0, 1, None]),
            data_rev=generator.choice(["a", "b"]),
            accuracy=generator.uniform(70, 80),
        )
        for number in range(120)
    ]
    known, new = rows[:80], rows[80:]
    expected = []
    for one in new:
        best = None
        for other in known:
            same = (other["dataset"], other["seed"], other["data_rev"]) == (
                one["dataset"],
                one["seed"],
                one["data_rev"],
            )
            if same and (best is None or other["accuracy"] > best["accuracy"]):
                best = other
        if best is not None and best["accuracy"] > one["accuracy"] + 5:
            expected.append((one["key"], best["key"]))
    found = find_drops(new, known, points=5)
    assert expected and [(drop.row["key"], drop.best["key"]) for drop in found] == expected


def test_a_drop_of_just_the_points_is_none_and_one_above_tells_its_noise() -> None:
    known = [row(0, accuracy=82.0), row(1, accuracy=81.0)]
    assert find_drops([row(2, accuracy=80.0)], known, points=2.0) == []
    (drop,) = find_drops([row(2, accuracy=79.9)], known, points=2.0)
    assert drop.points == pytest.approx(2.1) and drop.is_within_interval
    assert "79.90 %, 2.10 points below the best before (82.00 %" in str(drop)
    assert "400 objects, 95 % interval 76.00 to 84.00, the best before is within it: may be chance" in str(drop)
    (drop,) = find_drops([row(2, accuracy=70.0, low=66.0, high=74.0)], known, points=2.0)
    assert not drop.is_within_interval and str(drop).endswith("outside it")


def test_what_is_no_history_is_one_line(history: Path) -> None:
    history.parent.mkdir()
    history.write_bytes(b"no table")
    with pytest.raises(ValueError, match="not a Parquet file"):
        append_history(history, [row(0)])
    pq.write_table(SCHEMA.empty_table().drop_columns(["key"]), history)
    with pytest.raises(ValueError, match="no columns key"):
        read_history(history)


def test_the_command_prints_it(
    history: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(history.parents[1])
    assert main(["history"]) == 2
    assert "no history; `python -m flows.reevaluate` begins one" in capsys.readouterr().err
    append_history(history, [row(0), row(1, dataset="modelnet10"), row(2, accuracy=81.5, seed=None)])
    assert main(["history", "--set", "modelnet40", "--plot", "trend.png"]) == 0
    head, first, last = capsys.readouterr().out.splitlines()
    assert head.split()[:3] == ["when", "(UTC)", "set"]
    assert first.startswith("2026-01-01 00:00  modelnet40") and " 80.00 " in first
    assert " 81.50 " in last and "–" in last
    assert main(["history", "--last", "1"]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == [last]
    assert Image.open("trend.png").size[0] > 200
    for arguments, said in ((["--set", "best"], "allowed: modelnet10, modelnet40"), (["--last", "0"], "at least 1")):
        assert main(["history", *arguments]) == 2
        assert said in capsys.readouterr().err


@pytest.mark.parametrize("count", [1, 3, 40])
def test_a_trend_of_any_length_is_drawn(count: int, tmp_path: Path) -> None:
    sets = [f"set {number % 4}" for number in range(count)]
    rows = [row(number, dataset=name, seed=number % 2, data_rev=str(number > 20)) for number, name in enumerate(sets)]
    with Image.open(draw_trend(tmp_path / "trend.png", rows)) as picture:
        assert picture.format == "PNG" and picture.size[1] > 200
