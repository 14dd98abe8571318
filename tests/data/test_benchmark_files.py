"""Files of benchmark sets: what is written is read, the same bytes twice, and what is wrong with a file in one line."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from c2p.data.benchmarks import Benchmark, draw_counts, read_benchmark, read_draw, write_benchmark
from c2p.data.pointset import PointSet

CLASSES = ("night_stand", "glass box", "Sofa, old")


def made_set(name: str, labels: list[int], seed: int = 0) -> PointSet:
    points = np.random.default_rng(seed).normal(size=(len(labels), 7, 3)).astype(np.float32)
    return PointSet(tuple(f"{name}-{i}" for i in range(len(labels))), points, np.array(labels, dtype=np.int64))


@pytest.fixture
def benchmark() -> Benchmark:
    return Benchmark("made", CLASSES, made_set("train", [2, 0, 1, 1]), made_set("test", [1, 2, 0], seed=1))


def same(one: PointSet, other: PointSet) -> bool:
    kinds = [(s.points.dtype, s.labels.dtype, s.points.shape) for s in (one, other)]
    arrays = np.array_equal(one.points, other.points) and np.array_equal(one.labels, other.labels)
    return one.keys == other.keys and arrays and kinds[0] == kinds[1]


def test_what_is_written_is_read(benchmark: Benchmark, tmp_path: Path) -> None:
    read = read_benchmark(write_benchmark(tmp_path / "new" / "made.parquet", benchmark))
    assert (read.name, read.classes) == ("made", CLASSES)
    assert same(read.train, benchmark.train) and same(read.test, benchmark.test)
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["made.parquet"], "no temporary file stays"


def test_the_file_is_plain_parquet(benchmark: Benchmark, tmp_path: Path) -> None:
    table = pq.read_table(write_benchmark(tmp_path / "made.parquet", benchmark))
    rows = table.to_pylist()
    assert [r["split"] for r in rows] == ["train"] * 4 + ["test"] * 3
    assert [r["label"] for r in rows] == [2, 0, 1, 1, 1, 2, 0]
    assert np.array_equal(np.reshape(rows[5]["points"], (7, 3)), benchmark.test.points[1])


def test_same_set_same_bytes(benchmark: Benchmark, tmp_path: Path) -> None:
    files = [write_benchmark(tmp_path / name, benchmark).read_bytes() for name in ("a.parquet", "b.parquet")]
    other = write_benchmark(tmp_path / "c.parquet", replace(benchmark, name="other")).read_bytes()
    assert files[0] == files[1] != other


def test_a_split_without_objects(benchmark: Benchmark, tmp_path: Path) -> None:
    none = PointSet((), np.zeros((0, 7, 3), np.float32), np.zeros(0, np.int64))
    for split in ("train", "test"):
        path = write_benchmark(tmp_path / "made.parquet", replace(benchmark, **{split: none}))
        with pytest.raises(ValueError, match=f"the {split} split has no object; rebuild it") as error:
            read_benchmark(path)
        assert "\n" not in str(error.value)


def test_a_key_of_two_objects(benchmark: Benchmark, tmp_path: Path) -> None:
    twice = replace(benchmark, test=replace(benchmark.test, keys=("test-0", "train-1", "test-2")))
    with pytest.raises(ValueError, match="1 keys stand for several objects, the first 'train-1'"):
        read_benchmark(write_benchmark(tmp_path / "made.parquet", twice))


def made_draws(benchmark: Benchmark, **counts: int) -> dict:
    generator = np.random.default_rng(5)
    shape = benchmark.train.points.shape[1:]
    return {
        split: generator.normal(size=(len(getattr(benchmark, split)), count, *shape)).astype(np.float32)
        for split, count in counts.items()
    }


@pytest.mark.parametrize("counts", [{"train": 3}, {"test": 2}, {"train": 3, "test": 1}, {"train": 1, "test": 2}])
def test_draws_are_read_one_by_one(benchmark: Benchmark, tmp_path: Path, counts: dict) -> None:
    draws = made_draws(benchmark, **counts)
    path = write_benchmark(tmp_path / "made.parquet", benchmark, draws=draws)
    assert draw_counts(path) == {"train": 0, "test": 0} | counts
    for split, values in draws.items():
        for number in range(counts[split]):
            read = read_draw(path, split, number)
            assert read.dtype == np.float32 and np.array_equal(read, values[:, number])
    for split in ("train", "test"):
        for number in (counts.get(split, 0), -1):
            with pytest.raises(ValueError, match=f"no draw {number} of the {split} split.*benchmarks.{split}_draws"):
                read_draw(path, split, number)
    read = read_benchmark(path)
    assert same(read.train, benchmark.train) and same(read.test, benchmark.test)


def test_a_file_without_draws_is_as_it_always_was(benchmark: Benchmark, tmp_path: Path) -> None:
    plain = write_benchmark(tmp_path / "a.parquet", benchmark).read_bytes()
    none = made_draws(benchmark, train=0, test=0)
    assert write_benchmark(tmp_path / "b.parquet", benchmark, draws=none).read_bytes() == plain
    assert pq.read_schema(tmp_path / "a.parquet").names == ["key", "split", "label", "points"]
    assert draw_counts(tmp_path / "a.parquet") == {"train": 0, "test": 0}
    drawn = [write_benchmark(tmp_path / "c.parquet", benchmark, draws=made_draws(benchmark, train=2)) for _ in "12"]
    assert drawn[0].read_bytes() == drawn[1].read_bytes() != plain


def test_draws_that_are_not_finite_or_no_file(benchmark: Benchmark, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no such benchmark set"):
        read_draw(tmp_path / "made.parquet", "train", 0)
    draws = made_draws(benchmark, train=2)
    draws["train"][1, 1, 0, 0] = np.nan
    path = write_benchmark(tmp_path / "made.parquet", benchmark, draws=draws)
    read_draw(path, "train", 0)
    with pytest.raises(ValueError, match="not finite; rebuild"):
        read_draw(path, "train", 1)


@pytest.mark.parametrize(("label", "said"), [(3, "labels 0 to 3; allowed: 0 to 2"), (-1, "labels -1 to 2")])
def test_labels_outside_the_classes(benchmark: Benchmark, tmp_path: Path, label: int, said: str) -> None:
    wrong = replace(benchmark, test=made_set("test", [0, label]))
    with pytest.raises(ValueError, match=said) as error:
        read_benchmark(write_benchmark(tmp_path / "made.parquet", wrong))
    assert "\n" not in str(error.value) and "made.parquet" in str(error.value)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_points_that_are_not_finite(benchmark: Benchmark, tmp_path: Path, bad: float) -> None:
    benchmark.train.points[1, 2, 0] = bad
    with pytest.raises(ValueError, match="not finite; rebuild"):
        read_benchmark(write_benchmark(tmp_path / "made.parquet", benchmark))


def test_files_that_are_no_benchmark_set(benchmark: Benchmark, tmp_path: Path) -> None:
    path = tmp_path / "made.parquet"
    with pytest.raises(ValueError, match="no such benchmark set; build it with"):
        read_benchmark(path)
    whole = write_benchmark(path, benchmark).read_bytes()
    for data in (b"", b"something else", whole[: len(whole) // 2]):
        path.write_bytes(data)
        with pytest.raises(ValueError, match="not a Parquet file") as error:
            read_benchmark(path)
        assert "\n" not in str(error.value)
    pq.write_table(pa.table({"key": ["a"], "label": [0]}), path)
    with pytest.raises(ValueError, match="not a benchmark set"):
        read_benchmark(path)
