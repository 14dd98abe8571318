"""What the store may lose: old, unlinked, and no running stage's."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from c2p.cli import main
from c2p.data.pruning import prune, running, survey, touch

KEYS = ["ab" + f"{number:062x}" for number in range(6)]
OLD = time.time() - 30 * 86400


def put(path: Path, *, age: float = OLD, size: int = 10) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(size))
    os.utime(path, (age, age))
    return path


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose store has a piece of each kind."""
    store = tmp_path / ".c2p/store"
    for suffix in (".tar", ".parquet"):
        put(store / "ab" / (KEYS[0] + suffix))  # old, two files
    put(store / "ab" / (KEYS[1] + ".tar"))
    (tmp_path / "data").mkdir()
    os.link(store / "ab" / (KEYS[1] + ".tar"), tmp_path / "data/part.tar")  # an output has it
    put(store / "ab" / (KEYS[2] + ".npy"), age=time.time() - 60)  # young
    put(store / "ab" / (KEYS[3] + ".tar"))
    put(store / "ab" / (KEYS[3] + ".parquet"))
    os.link(store / "ab" / (KEYS[3] + ".parquet"), tmp_path / "data/part.parquet")  # one file of two
    put(tmp_path / ".c2p/work/ab" / KEYS[4] / "epoch-1.pt")
    put(tmp_path / ".c2p/work/ab" / KEYS[5] / "epoch-1.pt")
    put(tmp_path / ".c2p/work/ab" / KEYS[5] / "epoch-2.pt", age=time.time() - 60)  # goes on
    (tmp_path / "dvc.yaml").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("C2P_STORE", raising=False)
    return tmp_path


def left(root: Path) -> set[str]:
    return {f"{p.parent.name}/{p.name}" for p in (root / ".c2p").rglob("*") if p.is_file() and p.name[0] != "."}


def test_only_old_and_unlinked_pieces_go(root: Path) -> None:
    store, before = root / ".c2p/store", left(root)
    pieces, checkpoints, *others = survey(root, store, days=7)
    assert (pieces.files, pieces.size, pieces.free_files, pieces.free_size) == (6, 60, 2, 20)
    assert (checkpoints.files, checkpoints.free_files) == (3, 1) and not any(row.files for row in others)
    assert left(root) == before
    assert prune(root, store, days=7) == (3, 30)
    gone = {f"ab/{KEYS[0]}.tar", f"ab/{KEYS[0]}.parquet", f"{KEYS[4]}/epoch-1.pt"}
    assert left(root) == before - gone
    assert not (root / ".c2p/work/ab" / KEYS[4]).exists()
    assert (root / "data/part.tar").read_bytes() == bytes(10)


def test_what_was_asked_for_lately_stays_and_its_time_of_change_too(root: Path) -> None:
    path = root / ".c2p/store/ab" / (KEYS[0] + ".tar")
    changed = path.stat().st_mtime_ns
    touch(path)
    assert path.stat().st_mtime_ns == changed
    assert prune(root, root / ".c2p/store", days=7) == (1, 10)
    assert path.exists() and path.with_suffix(".parquet").exists(), "files of one key go together"


def test_a_running_stage_keeps_what_it_made_or_found(root: Path) -> None:
    store = root / ".c2p/store"
    with running(store):
        fresh = put(store / "ab" / ("ab" + "f" * 62 + ".tar"), age=time.time())
        found = store / "ab" / (KEYS[0] + ".tar")
        touch(found)
        prune(root, store, days=0)
        assert fresh.exists() and found.exists()
        assert not (store / "ab" / (KEYS[2] + ".npy")).exists(), "made before, and not asked for"
    time.sleep(0.01)
    assert prune(root, store, days=0)[0] >= 2
    assert not fresh.exists() and not found.exists()


def test_a_killed_stage_holds_nothing(root: Path) -> None:
    store = root / ".c2p/store"
    code = "import os, sys; from pathlib import Path; from c2p.data.pruning import running\n"
    code += "with running(Path(sys.argv[1])): os._exit(9)"
    folder = Path(__file__).resolve().parents[2]
    killed = subprocess.run([sys.executable, "-c", code, str(store)], cwd=folder)
    assert killed.returncode == 9 and len(list((store / "running").iterdir())) == 1
    assert prune(root, store, days=0)[0] == 6


def test_command(root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(["store", "list"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert rows[1] == ["pieces", "6", "0.0", "2", "0.0"]
    assert main(["store", "prune"]) == 0
    assert capsys.readouterr().out == "3 files removed, 0.0 MB\n"
    assert main(["store", "prune", "--days", "-1"]) == 2
    monkeypatch.setenv("C2P_STORE", "s3://bucket/store")
    assert main(["store", "list"]) == 2
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith("c2p: --days: got -1.0; allowed") and said[1].startswith("c2p: C2P_STORE: got s3://")
