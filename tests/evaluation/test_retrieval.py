"""Searching collections: what the index keeps, what is read again, and in which order shapes come."""

import contextlib
import os
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest

from c2p.data import shapereading
from c2p.data.shapereading import WAITING, ReadersDied, Reading, read_clouds
from c2p.evaluation import retrieval
from c2p.evaluation.retrieval import Collection, rank, read_index, search_ready, write_index
from c2p.models.preprocessing import preprocessing_of
from c2p.params import Params, load

ROOT = Path(__file__).resolve().parents[2]
WIDTH = 5
OFF = "OFF\n4 4 0\n0 0 0\n1 0 0\n0 {height} 0\n0 0 1\n3 0 1 2\n3 0 1 3\n3 0 2 3\n3 1 2 3\n"


def encode(clouds: np.ndarray) -> np.ndarray:
    """A feature that depends on each cloud alone: moments of its coordinates."""
    moments = np.concatenate([(clouds**2).mean(1), np.abs(clouds).mean(1)[:, :2]], axis=1)
    return (moments / np.linalg.norm(moments, axis=1, keepdims=True)).astype(np.float32)


def refuse() -> Callable[[np.ndarray], np.ndarray]:
    raise AssertionError("nothing should be encoded")


@pytest.fixture(scope="module")
def settings() -> Params:
    return load(ROOT / "profiles/demo.yaml")


@pytest.fixture(scope="module")
def reading(settings: Params) -> Reading:
    return Reading(replace(settings.render, cloud_points=100), 32, "y")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "shapes"
    (place / "inner").mkdir(parents=True)
    for number in range(6):
        (place / f"mesh-{number}.off").write_text(OFF.format(height=1 + number))
    np.save(place / "inner/cloud.npy", np.random.default_rng(0).normal(size=(40, 3)))
    np.save(place / "inner/small.npy", np.random.default_rng(0).normal(size=(4, 3)))
    (place / "bad.off").write_text("OFF\nnonsense\n")
    (place / "readme.txt").write_text("no cloud")
    return place


def search(place: Path, path: Path, reading: Reading, run: Callable[[], object] = lambda: encode) -> Collection:
    return search_ready(place, read_index(path, "key"), reading, run, workers=1)  # type: ignore[arg-type]


def test_a_second_search_encodes_nothing_and_gives_the_same(folder: Path, tmp_path: Path, reading: Reading) -> None:
    first = search(folder, tmp_path / "index", reading)
    data = (tmp_path / "index").read_bytes()
    again = search(folder, tmp_path / "index", reading, refuse)
    assert (first.encoded, again.encoded) == (10, 0)
    assert again.addresses == first.addresses and again.features.tobytes() == first.features.tobytes()
    assert again.unusable == first.unusable and (tmp_path / "index").read_bytes() == data
    assert len(first.addresses) == 7 and first.addresses == tuple(sorted(first.addresses))
    assert {first.name(address): reason for address, reason in first.unusable} == {
        "bad.off": "unreadable",
        "inner/small.npy": "4 points; allowed: at least 32, the number that the encoder reads",
        "readme.txt": "not a text of numbers (could not convert string 'no' to float64 at row 0, column 1.)",
    }


def test_only_what_changed_is_encoded(folder: Path, tmp_path: Path, reading: Reading) -> None:
    first = search(folder, tmp_path / "index", reading)
    (folder / "mesh-0.off").rename(folder / "inner/renamed.off")
    (folder / "twin.off").write_text(OFF.format(height=3))
    same = search(folder, tmp_path / "index", reading, refuse)
    assert len(same.addresses) == 8 and same.encoded == 0
    (folder / "mesh-5.off").write_text(OFF.format(height=0.1))
    changed = search(folder, tmp_path / "index", reading)
    assert changed.encoded == 1
    number, before = (
        changed.addresses.index(str(folder / "mesh-5.off")),
        first.addresses.index(str(folder / "mesh-5.off")),
    )
    assert np.abs(changed.features[number] - first.features[before]).max() > 1e-3


def test_an_archive_finds_what_its_folder_had(folder: Path, tmp_path: Path, reading: Reading) -> None:
    with zipfile.ZipFile(tmp_path / "shapes.zip", "w") as file:
        for path in sorted(folder.rglob("*.*"), reverse=True):
            file.write(path, path.relative_to(folder))
    loose = search(folder, tmp_path / "index-a", reading)
    packed = search(tmp_path / "shapes.zip", tmp_path / "index-b", reading)
    assert [packed.name(a) for a in packed.addresses] == [loose.name(a) for a in loose.addresses]
    assert packed.features.tobytes() == loose.features.tobytes()
    assert [packed.name(a) for a, _ in packed.unusable] == [loose.name(a) for a, _ in loose.unusable]


def test_workers_change_nothing(folder: Path, reading: Reading) -> None:
    addresses = [str(path) for path in sorted(folder.rglob("*.*"))]
    assert len(addresses) > shapereading.ALONE
    alone, together = (list(read_clouds(addresses, reading, workers=count)) for count in (1, 2))
    assert [(r.reason, r.cloud is None or r.cloud.tobytes()) for r in alone] == [
        (r.reason, r.cloud is None or r.cloud.tobytes()) for r in together
    ]
    backwards = list(read_clouds(addresses[::-1], reading, workers=1))
    assert [r.reason for r in backwards] == [r.reason for r in alone][::-1]


def test_what_was_encoded_before_a_failure_is_kept(
    folder: Path, tmp_path: Path, reading: Reading, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retrieval, "BATCH", 2)
    done = []

    def run(clouds: np.ndarray) -> np.ndarray:
        if len(done) == 2:
            raise ReadersDied("killed")
        done.append(len(clouds))
        return encode(clouds)

    with pytest.raises(ReadersDied):
        search(folder, tmp_path / "index", reading, lambda: run)
    kept = read_index(tmp_path / "index", "key")
    assert len(kept.features) == sum(done) > 0
    assert search(folder, tmp_path / "index", reading).encoded == 10 - len(kept.features) - len(kept.reasons)


def test_a_file_that_a_failing_disk_hides_is_looked_at_again(
    folder: Path, tmp_path: Path, reading: Reading, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(shapereading, "open_shape", fail)
        with_failure = search(folder, tmp_path / "index", reading)
    assert len(with_failure.unusable) == 10 and "Input/output error" in with_failure.unusable[0][1]
    assert len(search(folder, tmp_path / "index", reading).addresses) == 7


def test_ranks_are_those_of_a_loop(folder: Path, tmp_path: Path, reading: Reading) -> None:
    collection = search(folder, tmp_path / "index", reading)
    query = encode(np.random.default_rng(1).normal(size=(1, 9, 3)))[0]
    expected = []
    for address, feature in zip(collection.addresses, collection.features, strict=True):
        expected.append((-sum(float(a) * float(b) for a, b in zip(feature, query, strict=True)), address))
    expected.sort()
    got = rank(collection, query, 4)
    assert [(hit.rank, hit.address) for hit in got] == [(n + 1, a) for n, (_, a) in enumerate(expected[:4])]
    assert [hit.cosine for hit in got] == pytest.approx([-c for c, _ in expected[:4]], abs=1e-9)
    order = np.random.default_rng(2).permutation(len(collection.addresses))
    shuffled = replace(
        collection, addresses=tuple(collection.addresses[k] for k in order), features=collection.features[order]
    )
    assert [hit.address for hit in rank(shuffled, query, 4)] == [hit.address for hit in got]
    with pytest.raises(ValueError, match="width 3 and shapes of width 5"):
        rank(collection, np.ones(3, np.float32), 1)


def test_an_index_of_something_else_is_refused(folder: Path, tmp_path: Path, reading: Reading) -> None:
    search(folder, tmp_path / "index", reading)
    with pytest.raises(ValueError, match="made with another encoder"):
        read_index(tmp_path / "index", "other key")
    (tmp_path / "text").write_text("no index")
    with pytest.raises(ValueError, match="no index of shapes") as caught:
        read_index(tmp_path / "text", "key")
    assert "\n" not in str(caught.value)
    whole = read_index(tmp_path / "index", "key")
    before = (tmp_path / "index").read_bytes()
    assert write_index(whole).read_bytes() == before


def test_the_key_holds_all_that_decides_a_feature(settings: Params, tmp_path: Path) -> None:
    (tmp_path / "open_clip_config.json").write_text("{}")
    (tmp_path / "open_clip_model.safetensors").write_bytes(b"weights")
    plain = preprocessing_of(settings)
    key = retrieval.index_key(tmp_path, plain, "y")
    assert retrieval.index_key(tmp_path, plain, "y") == key
    others = [
        retrieval.index_key(tmp_path, plain, "z"),
        retrieval.index_key(tmp_path, replace(plain, depth=replace(plain.depth, dilation=3)), "y"),
        retrieval.index_key(tmp_path, replace(plain, sample=replace(plain.sample, points=9)), "y"),
        retrieval.index_key(tmp_path, replace(plain, zeroshot=replace(plain.zeroshot, views="one")), "y"),
        retrieval.index_key(tmp_path, replace(plain, render=replace(plain.render, seed=9)), "y"),
    ]
    prompts = replace(plain, zeroshot=replace(plain.zeroshot, template="a {}"))
    assert retrieval.index_key(tmp_path, prompts, "y") == key, "prompts have no part in a shape's feature"
    (tmp_path / "open_clip_model.safetensors").write_bytes(b"others")
    others.append(retrieval.index_key(tmp_path, plain, "y"))
    assert len({key, *others}) == 7


def test_a_reader_that_is_killed_ends_the_reading(folder: Path, reading: Reading) -> None:
    addresses = [str(folder / "mesh-0.off")] * (3 * WAITING)  # one window may be read before the kill
    reads = read_clouds(addresses, reading, workers=2)
    assert next(reads).cloud is not None
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):  # the pool ends the others once one is gone
            if "spawn_main" in " ".join(child.cmdline()):
                child.kill()
    with pytest.raises(ReadersDied, match="C2P_WORKERS=1"):
        list(reads)


def test_odd_names_can_be_printed_and_pipes_are_passed_over(folder: Path, tmp_path: Path, reading: Reading) -> None:
    (folder / "two\nlines.off").write_text(OFF.format(height=9))
    Path(os.fsdecode(os.fsencode(folder) + b"/\xff.off")).write_text(OFF.format(height=8))
    os.mkfifo(folder / "pipe.off")
    collection = search(folder, tmp_path / "index", reading)
    names = [collection.name(address) for address in collection.addresses]
    assert {"two%0Alines.off", "%FF.off"} < set(names) and all(name.isprintable() for name in names)
    assert len(names) == 9


def test_an_index_that_can_not_be_written_is_told_first(folder: Path, tmp_path: Path, reading: Reading) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(OSError, match="file"):
        search(folder, tmp_path / "file" / "index", reading, refuse)
