"""The provenance that a run shows: read against real git repositories."""

import hashlib
import subprocess
from pathlib import Path

import pytest

from tasks.origin import commit_url, origin_markdown

LOCK = """schema: '2.0'
stages:
  grow:
    cmd: python -m tasks grow
    outs:
    - path: data/grown
      hash: md5
      md5: 0123456789abcdef0123456789abcdef.dir
      size: 2500000
      nfiles: 6
"""


def git(root: Path, *arguments: str) -> str:
    who = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "init.defaultBranch=main"]
    done = subprocess.run(["git", *who, *arguments], cwd=root, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    root.mkdir()
    (root / "dvc.lock").write_text(LOCK)
    (root / "params.yaml").write_text("sample: {points: 7}\n")
    git(root, "init", "-q")
    git(root, "add", ".")
    git(root, "commit", "-qm", "first")
    return root


def test_a_clean_commit_and_its_outputs(repository: Path) -> None:
    text = origin_markdown(repository)
    assert f"git commit: `{git(repository, 'rev-parse', 'HEAD')}` on main" in text
    assert "working tree: as committed" in text
    assert hashlib.sha256(LOCK.encode()).hexdigest() in text
    assert "| grow | data/grown | `0123456789abcdef0123456789abcdef.dir` | 2.5 MB |" in text
    assert "sample: {points: 7}" in text


def test_what_differs_from_the_commit_is_named(repository: Path) -> None:
    (repository / "params.yaml").write_text("sample: {points: 8}\n")
    git(repository, "mv", "dvc.lock", "other name.lock")
    (repository / "new file").write_text("")
    text = origin_markdown(repository)
    assert "working tree: 3 files differ" in text
    assert all(f"`{name}`" in text for name in ("params.yaml", "other name.lock", "new file"))
    assert "dvc.lock: SHA-256 no such file" in text


def test_a_pushed_commit_is_a_link_and_an_unpushed_one_is_not(repository: Path, tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "--bare", "remote")
    git(repository, "remote", "add", "origin", str(tmp_path / "remote"))
    git(repository, "push", "-qu", "origin", "main")
    commit = git(repository, "rev-parse", "HEAD")
    git(repository, "remote", "set-url", "origin", "https://me:secret@github.com/them/c2p.git")
    text = origin_markdown(repository)
    assert f"[`{commit}`](https://github.com/them/c2p/commit/{commit}) on main" in text
    assert "secret" not in text
    git(repository, "commit", "-q", "--allow-empty", "-m", "second")
    text = origin_markdown(repository)
    assert "(not pushed)" in text and "github.com" not in text


def test_without_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert "no git repository" in origin_markdown(tmp_path)


@pytest.mark.parametrize(
    ("remote", "url"),
    [
        ("git@github.com:them/c2p.git", "https://github.com/them/c2p/commit/abc"),
        ("https://token@gitlab.com/group/sub/c2p.git", "https://gitlab.com/group/sub/c2p/-/commit/abc"),
        ("ssh://git@codeberg.org/them/c2p", "https://codeberg.org/them/c2p/commit/abc"),
        ("https://bitbucket.org/them/c2p/", "https://bitbucket.org/them/c2p/commits/abc"),
        ("https://git.example.org/them/c2p.git", None),
        ("/srv/git/c2p.git", None),
        ("", None),
    ],
)
def test_address_of_a_commit(remote: str, url: str | None) -> None:
    assert commit_url(remote, "abc") == url
