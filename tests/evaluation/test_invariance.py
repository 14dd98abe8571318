"""What must not change an evaluation's results: orders, repetition, workers, and what is said of test objects."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from c2p.data.benchmarks import Benchmark, PointSet, read_benchmark, write_benchmark
from c2p.evaluation import bank
from c2p.evaluation.protocols import run_fewshot, run_zeroshot
from tasks.shard_map import WorkerPool


def run(protocol: Any, lab: Any, benchmark: Path, out: Path, **changes: Any) -> tuple[dict[str, Any], list[dict]]:
    """Metrics of the few-shot set, and every prediction in the order of method, seed and key."""
    where = {"clip_dir": lab.clip, "encoder_dir": lab.encoders, "cache": lab.cache}
    settings = changes.pop("settings", lab.settings)
    metrics = protocol(settings, benchmarks=[benchmark], predictions=out, **(where | changes))["modelnet40"]
    rows = pq.read_table(out).to_pylist()
    return metrics, sorted(rows, key=lambda row: (row["method"], row["seed"] or 0, row["key"]))


def accuracies(metrics: dict[str, Any]) -> dict[str, Any]:
    """Everything but the digests of the inputs."""
    return {slug: {k: v for k, v in values.items() if k != "inputs"} for slug, values in metrics.items()}


def permuted(part: PointSet, order: np.ndarray) -> PointSet:
    return PointSet(tuple(part.keys[n] for n in order), part.points[order], part.labels[order])


def close(rows: list[dict], others: list[dict]) -> None:
    for row, other in zip(rows, others, strict=True):
        assert [row[name] for name in ("key", "actual", "predicted")] == [
            other[name] for name in ("key", "actual", "predicted")
        ]
        assert row["shares"] == pytest.approx(other["shares"], abs=1e-3)


def flattened(metrics: dict[str, Any]) -> Iterator[float]:
    for values in accuracies(metrics).values():
        yield from (v for k, v in values.items() if isinstance(v, float))
        yield from values.get("interval", [])
        yield from values.get("seeds", {}).values()


@pytest.mark.parametrize("protocol", [run_zeroshot, run_fewshot])
def test_order_of_objects_changes_nothing(protocol: Any, lab: Any, tmp_path: Path) -> None:
    bench = read_benchmark(lab.benchmarks[0])
    generator = np.random.default_rng(0)
    train, test = (permuted(part, generator.permutation(len(part))) for part in (bench.train, bench.test))
    other = write_benchmark(tmp_path / "modelnet40.parquet", replace(bench, train=train, test=test))
    settings = replace(lab.settings, fewshot=replace(lab.settings.fewshot, curve=()))
    metrics, rows = run(protocol, lab, lab.benchmarks[0], tmp_path / "a.parquet", settings=settings)
    moved, moved_rows = run(protocol, lab, other, tmp_path / "b.parquet", settings=settings)
    close(rows, moved_rows)
    assert list(flattened(moved)) == pytest.approx(list(flattened(metrics)), abs=1e-2)


def test_order_of_classes_changes_nothing(lab: Any, tmp_path: Path) -> None:
    bench = read_benchmark(lab.benchmarks[0])
    order = np.array([2, 0, 1])
    place = np.argsort(order)
    parts = [PointSet(part.keys, part.points, place[part.labels]) for part in (bench.train, bench.test)]
    renamed = Benchmark(bench.name, tuple(bench.classes[k] for k in order), *parts)
    other = write_benchmark(tmp_path / "modelnet40.parquet", renamed)
    metrics, rows = run(run_zeroshot, lab, lab.benchmarks[0], tmp_path / "a.parquet")
    moved, moved_rows = run(run_zeroshot, lab, other, tmp_path / "b.parquet")
    close(rows, moved_rows)
    assert list(flattened(moved)) == pytest.approx(list(flattened(metrics)), abs=1e-3)


def test_order_of_views_changes_nothing_zero_shot(lab: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    metrics, rows = run(run_zeroshot, lab, lab.benchmarks[0], tmp_path / "a.parquet")
    plain = bank.view_set

    def turned(name: str) -> Any:
        views = plain(name)
        return replace(views, names=views.names[::-1], rotations=views.rotations[::-1].copy())

    monkeypatch.setattr(bank, "view_set", turned)
    moved, moved_rows = run(run_zeroshot, lab, lab.benchmarks[0], tmp_path / "b.parquet")
    close(rows, moved_rows)
    assert list(flattened(moved)) == pytest.approx(list(flattened(metrics)), abs=1e-3)


def test_one_view_is_enough(lab: Any, tmp_path: Path) -> None:
    settings = replace(lab.settings, zeroshot=replace(lab.settings.zeroshot, views="one"))
    metrics, rows = run(run_zeroshot, lab, lab.benchmarks[0], tmp_path / "a.parquet", settings=settings)
    assert set(metrics) == {"set", "pointclip", "pointclip_v2", "clip2point_without_pretraining", "clip2point"}
    assert len(rows) == 12 * (1 + 1 + 1 + 2)


@pytest.mark.parametrize("selection", ["last", "heldout"])
def test_labels_of_test_objects_choose_nothing(selection: str, lab: Any, tmp_path: Path) -> None:
    """The same adapters, whatever the test objects are called: none is trained again, every prediction stays."""
    bench = read_benchmark(lab.benchmarks[0])
    labels = np.random.default_rng(1).permutation(bench.test.labels)
    assert (labels != bench.test.labels).any()
    other = write_benchmark(tmp_path / "modelnet40.parquet", replace(bench, test=replace(bench.test, labels=labels)))
    adapter = replace(lab.settings.adapter, selection=selection, heldout_share=0.5)
    settings = replace(lab.settings, adapter=adapter)
    _, rows = run(run_fewshot, lab, lab.benchmarks[0], tmp_path / "a.parquet", settings=settings)
    trained = sorted(lab.cache.iterdir())
    _, renamed_rows = run(run_fewshot, lab, other, tmp_path / "b.parquet", settings=settings)
    assert sorted(lab.cache.iterdir()) == trained
    for row, other_row in zip(rows, renamed_rows, strict=True):
        assert row | {"actual": ""} == other_row | {"actual": ""}
    assert [row["actual"] for row in rows] != [row["actual"] for row in renamed_rows]


def test_held_out_objects_are_used_where_asked(lab: Any, tmp_path: Path) -> None:
    results = []
    for selection in ("last", "heldout"):
        adapter = replace(lab.settings.adapter, selection=selection, heldout_share=0.5)
        settings = replace(lab.settings, adapter=adapter)
        results.append(run(run_fewshot, lab, lab.benchmarks[0], tmp_path / "a.parquet", settings=settings)[1])
    assert [row["shares"] for row in results[0]] != [row["shares"] for row in results[1]]


@pytest.mark.slow
def test_same_bytes_with_and_without_workers(lab: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bank, "PIECE", 5)
    settings = replace(
        lab.settings,
        adapter=replace(lab.settings.adapter, draws=1, selection="heldout"),
        fewshot=replace(lab.settings.fewshot, curve=(), seeds=(0, 1)),
    )
    written = []
    with WorkerPool(2) as pool:
        for number, map_ in enumerate((bank.serial, pool.map)):
            cache, out = tmp_path / f"cache-{number}", tmp_path / f"{number}.parquet"
            metrics, _ = run(run_fewshot, lab, lab.benchmarks[0], out, cache=cache, map_=map_, settings=settings)
            written.append((metrics, out.read_bytes(), {p.name: p.read_bytes() for p in cache.iterdir()}))
    assert written[0] == written[1]
