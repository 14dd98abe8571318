"""DVC's experiments on the project, in the workspace and in a temporary copy, and where they find finished pieces."""

import csv
import json
from pathlib import Path

import pytest
from toy_project import Project, git

PIECES = 6


@pytest.fixture
def committed(project: Project) -> Project:
    """A finished project, committed."""
    project.run("dvc", "repro")
    git(project.root, "config", "user.name", "t")
    git(project.root, "config", "user.email", "t@example.org")
    git(project.root, "add", "-A")
    git(project.root, "commit", "-qm", "done")
    return project


def pieces(project: Project) -> int:
    return sum(1 for _ in (project.root / ".c2p/store").glob("??/*.txt"))


def experiments(project: Project) -> dict[str, dict[str, str]]:
    """The rows of `dvc exp show` by name, with the columns that differ."""
    said = project.run("dvc", "exp", "show", "--only-changed", "--csv")
    return {
        row["Experiment"] or row["rev"]: row for row in csv.DictReader(said[said.index("Experiment,") :].splitlines())
    }


def test_experiments_share_the_store_that_is_named(committed: Project) -> None:
    """A temporary copy has no `.c2p` of its own making: C2P_STORE names the project's, and no piece is made twice."""
    store = str(committed.root / ".c2p/store")
    made = committed.made()
    committed.run("dvc", "exp", "run", "--temp", "-n", "small", "-S", "sample.points=512", C2P_STORE=store)
    assert pieces(committed) == 2 * PIECES
    assert committed.made() == made, "the workspace was not touched"

    committed.run("dvc", "exp", "run", "-n", "here", "-S", "sample.points=512", "--force", "grow")
    assert committed.made() == made, "every piece was found"

    rows = experiments(committed)
    totals = {name: row.get("total") for name, row in rows.items()}
    assert totals["small"] == str(PIECES * 512) and totals["master"] == str(PIECES * 1024)
    said = committed.run("dvc", "exp", "diff", "--json", "master", "small")
    difference = json.loads(said.splitlines()[-1])
    assert difference["params"]["params.yaml"]["sample.points"]["new"] == 512
    assert difference["metrics"][str(Path("metrics/count.json"))]["total"]["diff"] == -PIECES * 512
