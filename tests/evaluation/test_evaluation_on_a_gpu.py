"""Evaluation on an emulated GPU answers as on the CPU, in one process."""

import json
from collections.abc import Callable, Sequence
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from emulated import emulated_gpu, operations

from c2p.evaluation import bank
from c2p.evaluation.protocols import run_ablations, run_fullshot, run_zeroshot
from tasks.shard_map import serial


@pytest.mark.parametrize("run", [run_zeroshot, run_fullshot, run_ablations])
def test_tables(run: Callable[..., Any], lab: Any, tmp_path: Path) -> None:
    bank._load.cache_clear()
    calls: list[tuple[str, int]] = []

    def map_(function: Callable[[Any], Any], jobs: Sequence[Any], *, names: Sequence[str] | None = None) -> list[Any]:
        calls.append((f"{function.__module__.rpartition('.')[2]}.{function.__name__}", len(jobs)))
        before = operations[0]
        done = [function(job) for job in jobs]
        assert (operations[0] > before) is (function is bank.run_jobs), "adapters train on the CPU"
        return done

    answers = []
    for device in ("cpu", "cuda"):
        before = operations[0]
        with emulated_gpu():
            run(
                lab.settings, clip_dir=lab.clip, encoder_dir=lab.encoders, benchmarks=lab.benchmarks,
                cache=tmp_path / device, device=device, map_=map_,
                predictions=tmp_path / device / "predictions.parquet",
            )  # fmt: skip
        assert (operations[0] > before) is (device == "cuda")
        answers.append(pq.read_table(tmp_path / device / "predictions.parquet"))
    assert {name for name, _ in calls} <= {"bank.run_job", "bank.run_jobs", "trained.run_job"}
    assert {count for name, count in calls if name == "bank.run_jobs"} == {1}
    host, device = answers
    for name in ("dataset", "method", "seed", "key", "actual"):
        assert host[name].equals(device[name])
    shares = [np.array(table["shares"].to_pylist()) for table in answers]
    apart = np.abs(shares[1] - shares[0])
    if run is run_zeroshot:
        assert apart.max() < 1e-3
    assert np.median(apart) < 1e-2, "adapters learn from other roundings"
    assert np.mean(np.array(host["predicted"]) == np.array(device["predicted"])) > 0.95


def test_an_encoder_is_loaded_once_and_features_of_two_devices_are_kept_apart(
    lab: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bank, "PIECE", 3)
    loads: list[str] = []
    load = bank._load.__wrapped__

    @lru_cache(maxsize=bank.TOWERS)
    def counted(encoder: Path, *key: str) -> Any:
        loads.append(str(encoder))
        return load(encoder, *key)

    monkeypatch.setattr(bank, "_load", counted)
    made = []
    for device in ("cuda", "cpu", "cuda"):
        with emulated_gpu():
            run_zeroshot(
                lab.settings, clip_dir=lab.clip, encoder_dir=lab.encoders, benchmarks=lab.benchmarks, cache=tmp_path,
                device=device,
            )  # fmt: skip
        made.append(len(list(tmp_path.glob("*.npy"))))
        if device == "cuda":
            assert len(loads) <= len(set(loads)) + 1, "one may be wanted by itself and beside another"
        loads.clear()
    assert made == [made[0], 2 * made[0], 2 * made[0]]
    told = [json.loads(path.read_text())["device"] for path in tmp_path.glob("*.json")]
    assert set(told) == {"cpu", "cuda"}


@pytest.mark.parametrize("name", ["zeroshot", "fewshot", "fullshot", "ablations"])
def test_the_stages_say_where(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lab: Any) -> None:
    stage = import_module(f"tasks.{name}")
    given: list[str] = []

    def run(*args: Any, device: str, **named: Any) -> dict[str, Any]:
        given.append(device)
        return {}

    monkeypatch.setattr(stage, f"run_{name}", run)
    if name == "zeroshot":
        monkeypatch.setattr(stage, "read_features", lambda *_: SimpleNamespace(keys=(), values=None))
        monkeypatch.setattr(stage, "read_manifest", lambda *_: None)
    for chosen in ("", "cpu"):
        monkeypatch.setenv("C2P_DEVICE", chosen)
        with emulated_gpu():
            stage.run(lab.settings, tmp_path, serial)
    assert given == ["cuda:0", "cpu"]
