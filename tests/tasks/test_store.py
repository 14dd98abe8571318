"""The content-keyed store."""

import errno
import hashlib
import json
import os
import pickle
import socket
import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from c2p.data import files
from c2p.data.files import sha256
from tasks.store import Store, key, link_into


@dataclass(frozen=True)
class Settings:
    size: int
    names: tuple[str, ...]


def test_key_is_the_hash_of_canonical_json() -> None:
    text = json.dumps(["render", {"names": ["a"], "size": 3}, 0.5, None], separators=(",", ":"))
    assert key("render", Settings(3, ("a",)), 0.5, None) == hashlib.sha256(text.encode()).hexdigest()


def test_key_tells_its_parts_apart() -> None:
    keys = [key("a", "b"), key("ab"), key(["a", "b"]), key("a", ["b"]), key(1), key("1"), key(1.5), key(True), key()]
    assert len(set(keys)) == len(keys)
    assert key({"x": 1, "y": 2}) == key({"y": 2, "x": 1})
    assert key((1, 2)) == key([1, 2])


@pytest.mark.parametrize("part", [Path("x"), np.zeros(2), float("nan"), b"x", {1, 2}])
def test_key_refuses_what_has_no_canonical_form(part: object) -> None:
    with pytest.raises((TypeError, ValueError)):
        key(part)


def test_sha256(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc" * 100_000)
    assert sha256(tmp_path / "x") == hashlib.sha256(b"abc" * 100_000).hexdigest()


@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, 160])
def test_sha256_of_any_number_of_pieces(size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_PIECE", 16)
    data = bytes(range(200))[:size]
    (tmp_path / "x").write_bytes(data)
    assert sha256(tmp_path / "x") == hashlib.sha256(data).hexdigest()


def test_piece_is_made_once(tmp_path: Path) -> None:
    made = []

    def make(path: Path) -> None:
        made.append(path)
        path.write_text("piece")

    store = pickle.loads(pickle.dumps(Store(tmp_path)))
    first = store.get_or_make(key("x"), ".tar", make)
    assert first == store.get_or_make(key("x"), ".tar", make) == store.path(key("x"), ".tar")
    assert len(made) == 1
    assert made[0].suffix == ".tar"
    assert made[0].parent == first.parent
    assert first.read_text() == "piece"
    assert [path.name for path in first.parent.iterdir()] == [first.name]


def test_failed_make_leaves_nothing_and_can_be_repeated(tmp_path: Path) -> None:
    store = Store(tmp_path)

    def fail(path: Path) -> None:
        path.write_text("half")
        raise RuntimeError("disk full")

    with pytest.raises(RuntimeError, match="disk full"):
        store.get_or_make(key("x"), ".tar", fail)
    assert list(store.path(key("x"), ".tar").parent.iterdir()) == []
    assert store.get_or_make(key("x"), ".tar", lambda path: path.write_text("whole")).read_text() == "whole"


def test_make_that_makes_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Store(tmp_path).get_or_make(key("x"), ".tar", lambda path: None)
    assert not Store(tmp_path).path(key("x"), ".tar").exists()


def test_two_makers_at_once_both_succeed(tmp_path: Path) -> None:
    store = Store(tmp_path)
    meeting = threading.Barrier(2, timeout=30)
    found: list[Path] = []

    def make(path: Path) -> None:
        path.write_text("same")
        meeting.wait()

    threads = [
        threading.Thread(target=lambda: found.append(store.get_or_make(key("x"), ".tar", make))) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [store.path(key("x"), ".tar")] * 2
    assert [path.read_text() for path in found[0].parent.iterdir()] == ["same"]


def test_work_folder_is_the_keys_own(tmp_path: Path) -> None:
    store = Store(tmp_path)
    (store.folder(key("a")) / "checkpoint").write_text("1")
    assert (store.folder(key("a")) / "checkpoint").read_text() == "1"
    assert list(store.folder(key("b")).iterdir()) == []


def test_sweep_removes_what_the_dead_left(tmp_path: Path) -> None:
    store = Store(tmp_path)
    folder = store.path(key("x"), "").parent
    folder.mkdir(parents=True)
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    dead = folder / f".tmp-{socket.gethostname()}-{child}-0123abcd-{key('x')}.tar"
    alive = folder / f".tmp-{socket.gethostname()}-{os.getpid()}-0123abcd-{key('x')}.tar"
    elsewhere = folder / f".tmp-another-host-{child}-0123abcd-{key('x')}.tar"
    for path in (dead, alive, elsewhere):
        path.write_text("half")
    assert store.sweep() == 1
    assert sorted(folder.iterdir()) == sorted([alive, elsewhere])
    assert Store(tmp_path / "new").sweep() == 0


def test_link_shares_the_file_and_replaces(tmp_path: Path) -> None:
    piece = tmp_path / "piece"
    piece.write_text("new")
    out = tmp_path / "out" / "part.tar"
    link_into(piece, out)
    assert out.samefile(piece)
    piece.unlink()
    piece.write_text("newer")
    link_into(piece, out)
    assert out.read_text() == "newer"
    assert [path.name for path in out.parent.iterdir()] == ["part.tar"]


def test_link_across_devices_copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(source: Path, target: Path) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    piece = tmp_path / "piece"
    piece.write_text("x")
    out = link_into(piece, tmp_path / "out")
    assert out.read_text() == "x"
    assert not out.samefile(piece)


def test_link_passes_on_other_errors(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        link_into(tmp_path / "nothing", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_files_of_one_piece_are_made_together_and_again_if_one_is_lost(tmp_path: Path) -> None:
    store, made = Store(tmp_path), []

    def make(tar: Path, table: Path) -> None:
        made.append((tar, table))
        tar.write_text("tar")
        table.write_text("table")

    for _ in range(2):
        paths = store.get_or_make_all(key("x"), (".tar", ".parquet"), make)
        assert paths == [store.path(key("x"), ".tar"), store.path(key("x"), ".parquet")]
    assert len(made) == 1
    paths[1].unlink()
    assert [path.read_text() for path in store.get_or_make_all(key("x"), (".tar", ".parquet"), make)] == [
        "tar",
        "table",
    ]
    assert sorted(paths[0].parent.iterdir()) == sorted(paths)
