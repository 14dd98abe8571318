"""`c2p data` as a user meets it, on a collection that a local server offers."""

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from fileserver import FileServer, Resource, serving

from c2p.cli import main
from c2p.data import transfer
from c2p.data.catalogue import COLLECTIONS, Collection, RemoteFile

ROOT = Path(__file__).resolve().parent.parent
CONTENT = bytes(range(256)) * 4096


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    shutil.copyfile(ROOT / "profiles/demo.yaml", tmp_path / "params.yaml")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(transfer, "PAUSES_S", (0.0,))
    return tmp_path


@pytest.fixture
def toys(project: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    with serving() as server:
        known = RemoteFile(
            "toys",
            "known.bin",
            (server.url("k", Resource(CONTENT, etag='"1"')),),
            size=len(CONTENT),
            sha256=hashlib.sha256(CONTENT).hexdigest(),
        )
        unknown = RemoteFile("toys", "unknown.bin", (server.url("u", Resource(CONTENT[::-1], etag='"1"')),))
        whole = RemoteFile("toys", "whole.bin", note="an old one")
        toys = Collection("toys", "Toys", (known, unknown), "MIT", "free", "Me, Toys", instead=(whole,))
        monkeypatch.setitem(COLLECTIONS, "toys", toys)
        yield server


def said(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().out


@pytest.mark.parametrize("columns", [80, 140])
def test_the_table_fits(
    toys: FileServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    assert main(["data", "list"]) == 0
    lines = said(capsys).splitlines()
    assert len(lines) == len(COLLECTIONS) + 2 and max(map(len, lines)) <= columns
    assert [line.split()[0] for line in lines[1:-1]] == list(COLLECTIONS)
    column = lines[0].index("LICENCE")
    assert all(line[column - 1] == " " and line[column] != " " for line in lines[1:-1])


@pytest.mark.parametrize("name", list(COLLECTIONS))
def test_everything_about_a_collection(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["data", "list", name]) == 0
    out = said(capsys)
    collection = COLLECTIONS[name]
    plain = " ".join(out.split())
    assert all(text in plain for text in (collection.title, collection.licence, collection.access, collection.citation))
    for file in collection.files + collection.instead:
        assert f" {file.name} " in out and file.sha256 in out
    unbroken = [line for line in out.splitlines() if not any(mark in line for mark in ("http", "sha256", "folder"))]
    assert max(map(len, unbroken)) <= 80


def test_from_nothing_to_verified(toys: FileServer, project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "check", "toys"]) == 0 and "0 files here" in said(capsys)
    assert main(["data", "fetch", "toys/unknown.bin"]) == 0
    assert "1 files, 1.0 MB to come" in said(capsys)
    assert main(["data", "list", "toys"]) == 0
    state = {line.split()[0]: line for line in said(capsys).splitlines() if line.startswith("  ")}
    assert state["known.bin"].endswith("absent") and state["unknown.bin"].endswith("verified")
    assert main(["data", "fetch", "toys"]) == 0
    assert "2/2 toys/unknown.bin 1.0 MB" in said(capsys)
    assert len(toys.ranges()) == 2, "what is here is not fetched again"
    assert main(["data", "list"]) == 0
    assert "toys " in (out := said(capsys)) and out.count(" 2/2 ") == 2
    assert main(["data", "check"]) == 0
    assert "2 files here: 0 wrong" in said(capsys)


def test_check_finds_what_has_changed(toys: FileServer, project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["data", "fetch", "toys"])
    for name in ("known.bin", "unknown.bin"):
        (project / ".c2p/downloads/toys" / name).write_bytes(CONTENT[1:])
    capsys.readouterr()
    assert main(["data", "check"]) == 1
    out = said(capsys)
    assert out.count("WRONG") == 2 and "the catalogue says" in out and "catalogue.lock says" in out
    assert (project / ".c2p/downloads/toys/known.bin").exists(), "checking removes nothing"
    assert main(["data", "list", "toys"]) == 0 and "verified" not in said(capsys)


def test_a_broken_fetch_shows_how_far_it_got(
    toys: FileServer, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    toys.resources["k"].cuts = [len(CONTENT) // 2, 0]
    assert main(["data", "fetch", "toys"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("c2p: toys/known.bin: ") and error.count("\n") == 1
    main(["data", "list", "toys"])
    assert "50% here" in said(capsys)
    assert main(["data", "fetch", "toys"]) == 0
    assert f"bytes={len(CONTENT) // 2}-" in toys.ranges()


def test_fetch_without_names_is_what_the_parameters_need(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "fetch"]) == 0 and "needs no download" in said(capsys)
    text = (project / "params.yaml").read_text()
    params = text.replace("source: toy", "source: shapenet", 1)
    assert params != text
    (project / "params.yaml").write_text(params)
    from c2p.commands.data import _needed

    assert _needed(project)[0] == "shapenet" and "scanobjectnn" in _needed(project)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["list", "nope"], "allowed: shapenet, modelnet40"),
        (["check", "toys/nope"], "no such file; `c2p data list toys` shows them"),
        (["fetch", "scanobjectnn"], "fill in the form"),
    ],
)
def test_mistakes_are_one_line(
    toys: FileServer, project: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], says: str
) -> None:
    assert main(["data", *arguments]) == 2
    error = capsys.readouterr().err
    assert says in error and error.count("\n") == 1 and error.startswith("c2p: ")


def test_outside_a_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["data", "list"]) == 2 and "no dvc.yaml here" in capsys.readouterr().err
