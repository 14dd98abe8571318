"""Where results come from, against a dvc.lock written here; and what a stage's run leaves beside its outputs."""

from pathlib import Path

import pytest
import yaml

from c2p.timings import read_timings
from tasks.closure import code_digest
from tasks.provenance import stage_records
from tasks.shard_map import serial
from tasks.stage import Call, run_stage

ROOT = Path(__file__).resolve().parents[2]
LOCK = {
    "schema": "2.0",
    "stages": {
        "pretrain@4": {"cmd": "", "deps": [{"path": "data/shards", "md5": "f" * 32 + ".dir"}], "outs": []},
        "pretrain@0": {
            "cmd": "",
            "deps": [
                {"path": "c2p/params.py", "md5": "c" * 32},
                {"path": "data/shards", "md5": "a" * 32 + ".dir"},
                {"path": "metrics/select.json"},
            ],
            "params": {"params.yaml": {"pretrain.lr": 0.1, "depth": {"size": 8, "footprint": "disc"}, "x": [1, "b"]}},
            "outs": [{"path": "models/pretrain/seed-0", "md5": "b" * 32 + ".dir"}],
        },
        "download": {"cmd": "", "outs": [{"path": "data/raw", "md5": "d" * 32}]},
        "tables": {"cmd": "", "outs": [{"path": "results", "md5": "e" * 32}]},
        "gone": {"cmd": ""},
    },
}


def test_stages_come_in_the_graphs_order_with_their_data(tmp_path: Path) -> None:
    (tmp_path / "dvc.yaml").write_text((ROOT / "dvc.yaml").read_text())
    (tmp_path / "dvc.lock").write_text(yaml.safe_dump(LOCK))
    records = {record.name: record for record in stage_records(tmp_path, but="tables")}
    assert list(records) == ["download", "pretrain@0", "pretrain@4"]
    first = records["pretrain@0"]
    assert first.reads == (("data/shards", "a" * 12), ("metrics/select.json", "not recorded")), "code is told by digest"
    assert first.writes == (("models/pretrain/seed-0", "b" * 12),)
    assert first.params == (("depth.footprint", "disc"), ("depth.size", "8"), ("pretrain.lr", "0.1"), ("x", "[1, b]"))
    assert first.code == code_digest("tasks.pretrain")[:12]
    assert "Image-depth pre-training" in first.summary


def test_nothing_recorded(tmp_path: Path) -> None:
    assert stage_records(tmp_path, but="tables") == []
    (tmp_path / "dvc.yaml").write_text("stages: [")
    with pytest.raises(ValueError, match=r"dvc\.yaml: not YAML .*; restore it with git"):
        stage_records(tmp_path, but="tables")


def test_tables_are_built_from_nothing_and_timed(tmp_path: Path) -> None:
    """The stage's body where no other stage has run: everything says what to run; nothing differs the second time."""
    for name in ("dvc.yaml", "params.yaml"):
        (tmp_path / name).write_text((ROOT / name).read_text())
    run_stage(Call("tables"), root=tmp_path, map_=serial)
    first = {path: path.read_bytes() for path in (tmp_path / "results").iterdir()}
    assert "run `dvc repro zeroshot`" in (tmp_path / "results/table1.md").read_text()
    assert (tmp_path / "plots/shots.csv").read_text() == "shots,method,accuracy,low,high\n"
    assert [timing.stage for timing in read_timings(tmp_path)] == ["tables"]
    run_stage(Call("tables"), root=tmp_path, map_=serial)
    assert first == {path: path.read_bytes() for path in (tmp_path / "results").iterdir()}
