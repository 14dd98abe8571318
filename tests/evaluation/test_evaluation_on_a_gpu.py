"""Evaluation on an emulated GPU answers as on the CPU, in one process."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from emulated import emulated_gpu, operations

from c2p.evaluation import bank
from c2p.evaluation.protocols import run_ablations, run_fullshot, run_zeroshot


@pytest.mark.parametrize("run", [run_zeroshot, run_fullshot, run_ablations])
def test_tables(run: Callable[..., Any], lab: Any, tmp_path: Path) -> None:
    bank._load.cache_clear()
    calls: list[tuple[str, int]] = []

    def map_(function: Callable[[Any], Any], jobs: Sequence[Any], *, names: Sequence[str] | None = None) -> list[Any]:
        calls.append((function.__name__, len(jobs)))
        return [function(job) for job in jobs]

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
    assert calls.count(("run_jobs", 1)) >= 1 and calls[0][0] == "run_job"
    host, device = answers
    for name in ("dataset", "method", "seed", "key", "actual"):
        assert host[name].equals(device[name])
    shares = [np.array(table["shares"].to_pylist()) for table in answers]
    apart = np.abs(shares[1] - shares[0])
    if run is run_zeroshot:
        assert apart.max() < 1e-3
    assert np.median(apart) < 1e-2, "adapters learn from other roundings"
    assert np.mean(np.array(host["predicted"]) == np.array(device["predicted"])) > 0.95
