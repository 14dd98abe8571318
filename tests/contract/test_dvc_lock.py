"""An entry of dvc.lock is written as DVC writes it, whatever stood there."""

import json
from pathlib import Path

import pytest
from dvc.utils import strictyaml
from dvc.utils.serialize import dumps_yaml, load_yaml, modify_yaml, parse_yaml
from toy_project import Project

from tasks import dvc_lock
from tasks.dvc_lock import HEAD, read_lock, with_entry


def entry(name: str, *, size: int = 1, **more: object) -> dict[str, object]:
    deps, outs = ([{"path": f"{kind}/{name}", "hash": "md5", "md5": "0" * 32, "size": size}] for kind in ("in", "out"))
    return {name: {"cmd": f"python -m tasks {name}", "deps": deps, "params": {"params.yaml": more}, "outs": outs}}


def by_dvc(path, text: str, new: dict[str, object]) -> str:  # type: ignore[no-untyped-def]
    """The way of dvc.dvcfile.Lockfile.dump_stages."""
    path.write_text(text, encoding="utf-8")
    with modify_yaml(path) as data:
        if not data:
            data.update({"schema": "2.0"})
        data["stages"] = data.get("stages") or {}
        data["stages"].update(new)
    return str(path.read_text(encoding="utf-8"))


LONG = "a line of many words that is far longer than what a YAML library writes on one line " * 3
LOCK = dumps_yaml({"schema": "2.0", "stages": {**entry("a", note=LONG), **entry("b@1"), **entry("b@10"), **entry("c")}})
NEW = [
    entry("a", size=7),
    entry("b@1", size=7, note=LONG, numbers=[0, 1.5, 1e-9, True, None], text="- odd: 'x'\n  c:\nd"),
    entry("c", size=7),
    entry("zz", kinds={"nested": {"deep": ["x", {"y": ""}]}}),
    entry("yes", texts=["no", "1", "1e3", "0x1", "~", " ", "é漢"]),
    entry("with: colon"),
]


@pytest.mark.parametrize("new", NEW, ids=lambda new: next(iter(new)))
@pytest.mark.parametrize("text", [LOCK, HEAD], ids=["full", "empty"])
def test_an_entry_is_written_to_dvcs_bytes(tmp_path, text: str, new: dict[str, object]) -> None:  # type: ignore[no-untyped-def]
    assert with_entry(text, new) == by_dvc(tmp_path / "dvc.lock", text, new)


@pytest.mark.parametrize(
    "text",
    [
        LOCK.replace("  b@1:\n", "  b@1:  # by hand\n", 1),
        LOCK + "datasets: []\n",
        "# by hand\n" + LOCK,
        LOCK.removesuffix("\n"),
        LOCK.replace("  c:\n", "  'c':\n", 1),
        "schema: '2.0'\nstages: {}\n",
        "stages:\n  a: {}\n",
        LOCK + "<<<<<<< HEAD\n",
        "",
    ],
)
def test_what_dvc_does_not_write_so_is_left_to_it(text: str) -> None:
    assert with_entry(text, entry("c", size=7)) is None


def test_a_lock_that_somebody_commented_keeps_the_comment(project: Project) -> None:
    """DVC's own way is taken for it."""
    from test_seam import bring

    bring(project)
    path = project.root / "dvc.lock"
    path.write_text("# ours\n" + path.read_text(encoding="utf-8"), encoding="utf-8")
    project.replace("params.yaml", "points: 1024", "points: 512")
    assert "ran" in bring(project).values()
    assert path.read_text(encoding="utf-8").startswith("# ours\n")


def test_what_was_written_is_read_as_dvc_reads_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parsed = []
    monkeypatch.setattr(dvc_lock, "parse_yaml", lambda text, *_: parsed.append(text) or parse_yaml(text, ""))
    monkeypatch.setattr(dvc_lock, "_last", [])
    path, text = tmp_path / "dvc.lock", HEAD
    for new in [*NEW, *NEW[:2]]:
        strictyaml.load(str(path)) if path.exists() else read_lock(text, str(path))
        text = with_entry(text, new) or ""
        path.write_text(text, encoding="utf-8")
        read = strictyaml.load(str(path))[0]
        assert json.dumps(read) == json.dumps(load_yaml(path)), "the same values in the same order"
        read["stages"].clear()
    assert parsed.count(text) == 0, "the whole was parsed again"
    path.write_text(text.replace("size: 7", "size: 8"), encoding="utf-8")
    assert strictyaml.load(str(path))[0] == load_yaml(path), "somebody else wrote it"
    assert strictyaml.load(str(path), round_trip=True)[0] == load_yaml(path)


def test_an_empty_lock_is_read_as_dvc_reads_it(tmp_path: Path) -> None:
    for text in ("", HEAD, "schema: '2.0'\n"):
        path = tmp_path / "dvc.lock"
        path.write_text(text, encoding="utf-8")
        assert strictyaml.load(str(path))[0] == load_yaml(path)
