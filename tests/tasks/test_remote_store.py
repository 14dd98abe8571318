"""The data stages with their store on an S3 server: the bytes of a run on a disk, and nothing made or copied twice."""

from pathlib import Path

import pytest
import requests
from test_data_stages import STAGES, command, contents, make_project, run, set_params

from c2p.cli import main
from c2p.data import places
from c2p.data.files import sha256
from tasks.shard_map import WorkerPool
from tasks.store import Store, key


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project after all data stages, on this disk alone."""
    folder = make_project(tmp_path_factory.mktemp("local"))
    run(folder, *STAGES)
    return folder


def objects(url: str) -> list[str]:
    return places.walk(url)


def test_the_factory_leaves_the_same_bytes(
    local: Path, tmp_path: Path, s3: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("C2P_STORE", f"{s3}/store/")
    project = make_project(tmp_path / "first")
    with WorkerPool(2) as pool:
        run(project, *STAGES, map_=pool.map)
    assert contents(project) == contents(local)
    assert not (project / ".c2p" / "store").exists()
    made = objects(f"{s3}/store")
    assert [name for name in made if name.startswith("inputs/")] == [
        f"inputs/{(digest := sha256(project / 'given/mine.zip'))[:2]}/{digest}/mine.zip"
    ], "the parts that later stages read are found as the pieces they are"
    other = make_project(tmp_path / "second")
    run(other, *STAGES)
    assert contents(other) == contents(local)
    fresh = [name for name in objects(f"{s3}/store") if name not in made]
    assert fresh == [], "another machine finds everything"

    for path in (other / "data/shards").iterdir():
        places.upload(path, f"{s3}/shards/{path.name}", ".tmp")
    assert main(["shards", "verify", "--shards", f"{s3}/shards"]) == 0
    assert "15 samples in 4 shards: 0 problems" in capsys.readouterr().out
    assert main(["shards", "stats", "--shards", f"{s3}/shards/"]) == 0
    assert "9 train, 6 val" in capsys.readouterr().out
    assert main(["shards", "show", "--shards", f"{s3}/shards", "--out", str(tmp_path / "sheet.png")]) == 0
    assert (tmp_path / "sheet.png").stat().st_size > 0
    cut = (other / "data/shards/val-000001.tar").read_bytes()[:20_000]
    (tmp_path / "cut").write_bytes(cut)
    places.upload(tmp_path / "cut", f"{s3}/shards/val-000001.tar", ".tmp")
    places.remove(f"{s3}/shards/val-000000.tar")
    capsys.readouterr()
    assert main(["shards", "verify", "--shards", f"{s3}/shards"]) == 1
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "val-000000.tar: missing, 5 samples lost"
    assert said[1].startswith(f"{s3}/shards/val-000001.tar: cut short or damaged") and str(tmp_path) not in said[1]
    assert main(["shards", "verify", "--shards", f"{s3}/none"]) == 2
    assert capsys.readouterr().err == (
        f"c2p: {s3}/none/manifest.parquet: no such manifest; build the shards with `dvc repro shards`\n"
    )


def test_a_run_that_cannot_reach_its_store_says_so(
    local: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("C2P_STORE", "http://127.0.0.1:1/store")
    project = make_project(tmp_path)
    run(project, "download")
    with pytest.raises(places.PlaceUnreachable, match=r"http://127\.0\.0\.1:1/store") as error:
        run(project, "render")
    assert "\n" not in str(error.value)


def test_a_store_in_another_folder(local: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("C2P_STORE", f"file://{tmp_path}/elsewhere")
    project = make_project(tmp_path / "p")
    run(project, "download", "render")
    set_params(project, render={"max_reject_rate": 0.5})
    run(project, "render")
    assert sorted((project / "data/rgb").iterdir())[0].stat().st_nlink == 2, "linked, not copied"
    assert not (project / ".c2p/store").exists()
    monkeypatch.setenv("C2P_STORE", "relative")
    assert Store(project).path(key("x"), ".y").is_relative_to(project / "relative")


def test_a_shared_file_is_uploaded_once(tmp_path: Path, s3: str) -> None:
    store = Store(tmp_path, f"{s3}/store")
    (tmp_path / "archive.zip").write_bytes(b"archive")
    shared = store.share(tmp_path / "archive.zip")
    assert places.read_bytes(shared) == b"archive" and places.name_of(shared) == "archive.zip"
    known = places.state(shared)
    assert store.share(str(tmp_path / "archive.zip")) == shared and places.state(shared) == known
    assert store.share(f"{s3}/elsewhere.zip") == f"{s3}/elsewhere.zip"
    piece = store.get_or_make(key("x"), ".bin", lambda path: path.write_bytes(b"piece"))
    store.link(key("x"), ".bin", tmp_path / "out.bin")
    assert store.share(tmp_path / "out.bin") == piece
    store.forget(key("x"), ".bin")
    assert not places.exists(piece)
    assert places.read_bytes(store.share(tmp_path / "out.bin")) == b"piece", "what is gone is shared anew"


def test_pruning_between_runs_costs_no_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = make_project(tmp_path)
    run(project, "download", "render", "sample", "shards", "benchmarks")
    before = contents(project)
    (project / "dvc.yaml").touch()
    monkeypatch.chdir(project)
    assert main(["store", "prune", "--days", "0"]) == 0
    left = {path.suffix for path in (project / ".c2p/store").glob("??/*")}
    assert left == {".tar", ".parquet"}, "clouds of benchmarks are linked nowhere; parts and shards are"
    assert contents(project) == before
    run(project, "render", "sample", "shards", "benchmarks")
    assert contents(project) == before


def test_wrong_credentials_and_an_absent_bucket_are_one_line(
    tmp_path: Path, s3: str, s3_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = make_project(tmp_path)
    run(project, "download")
    monkeypatch.setenv("C2P_STORE", f"{s3}-none/store")
    code, said = command(project, "render")
    assert code == 2 and said.count("\n") == 1 and f"{s3}-none/store" in said and "nothing lies there" in said
    monkeypatch.setenv("C2P_STORE", f"{s3}/store")
    requests.post(f"{s3_server}/moto-api/reset-auth", data=b"0", timeout=10)  # from now on keys are checked
    try:
        code, said = command(project, "render")
    finally:
        requests.post(f"{s3_server}/moto-api/reset-auth", data=b"inf", timeout=10)
    assert code == 2 and said.count("\n") == 1 and "access denied" in said and "AWS_ACCESS_KEY_ID" in said
