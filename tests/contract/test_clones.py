"""A clone of the project, DVC's remote and an empty cache: what runs there, what is fetched, what stays away."""

import contextlib
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_seam import execute_in
from toy_project import STAGES, Project, git, make_project

import tasks
from tasks.dvc_stage import Outcome, plan, reproduce


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A finished project, committed, its data and notes of runs pushed to a remote."""
    folder = tmp_path_factory.mktemp("clones")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("DVC_SITE_CACHE_DIR", "DVC_GLOBAL_CONFIG_DIR"):
            patch.setenv(name, str(folder / name))
        project = make_project(folder / "project")
        patch.setattr(tasks, "__path__", [*tasks.__path__, str(project.root / "tasks")])
        bring(project)
        project.run("dvc", "remote", "add", "-d", "storage", str(folder / "remote"))
        project.run("dvc", "push", "--run-cache")
        git(project.root, "add", "-A")
        git(project.root, "commit", "-qm", "done")
        yield project
        for name in ("grow", "count", "vary"):
            sys.modules.pop(f"tasks.{name}", None)
            vars(tasks).pop(name, None)


@pytest.fixture
def pushed(finished: Project, tmp_path: Path) -> Project:
    """The finished project, for this test to change: its remote too."""
    shutil.copytree(finished.root, tmp_path / "project", symlinks=True)
    shutil.copytree(finished.root.parent / "remote", tmp_path / "remote")
    project = Project(tmp_path / "project")
    project.replace(".dvc/config", str(finished.root.parent / "remote"), str(tmp_path / "remote"))
    git(project.root, "commit", "-qam", "its own remote")
    return project


def bring(project: Project, *targets: str, pull: bool = False) -> dict[str, Outcome]:
    """Bring a project up to date as the flow does."""
    with contextlib.chdir(project.root):
        names = plan(targets, root=project.root, pull=pull)
        return {name: one(project, name, pull=pull) for name in names}


def one(project: Project, name: str, **options: bool) -> Outcome:
    with contextlib.chdir(project.root):
        return reproduce(name, lambda command: execute_in(project, command), root=project.root, **options)


def clone(project: Project, folder: Path) -> Project:
    """A clone in a folder of its own, without anything that git doesn't carry."""
    git(folder.parent, "clone", "-q", str(project.root), str(folder))
    return Project(folder)


def present(project: Project) -> set[str]:
    return {path.name for path in (project.root / "data").glob("*") if path.name != ".gitignore"}


def test_nothing_has_to_run_or_to_be_fetched(pushed: Project, tmp_path: Path) -> None:
    there = clone(pushed, tmp_path / "there")
    assert bring(there, pull=True) == dict.fromkeys(STAGES, "current")
    assert there.made() == [] and present(there) == set() and there.lock == pushed.lock
    output = there.run("dvc", "repro", "--pull", "--allow-missing")
    assert output.count("didn't change, skipping") == len(STAGES)
    assert there.made() == [] and present(there) == set() and there.lock == pushed.lock


def test_a_change_fetches_what_its_stages_read(pushed: Project, tmp_path: Path) -> None:
    there = clone(pushed, tmp_path / "there")
    for project in (pushed, there):
        project.replace("params.yaml", "\n  size: 224", "\n  size: 112")
    bring(pushed)
    outcomes = bring(there, pull=True)
    assert {name for name, outcome in outcomes.items() if outcome != "current"} == {"count"}
    assert there.made() == ["count"] and present(there) == {"grown"}
    assert there.lock == pushed.lock
    assert (there.root / "metrics/count.json").read_bytes() == (pushed.root / "metrics/count.json").read_bytes()


def test_a_lost_output_that_no_remote_has_is_made_again(pushed: Project, tmp_path: Path) -> None:
    there = clone(pushed, tmp_path / "there")
    (there.root / "metrics/count.json").unlink()
    assert bring(there, pull=True)["count"] == "ran"
    assert there.made() == ["count"] and present(there) == {"grown"} and there.lock == pushed.lock
    assert (there.root / "metrics/count.json").read_bytes() == (pushed.root / "metrics/count.json").read_bytes()


def test_forced_bodies_get_their_inputs_too(pushed: Project, tmp_path: Path) -> None:
    there = clone(pushed, tmp_path / "there")
    assert one(there, "count", force=True, pull=True) == "ran"
    assert there.made() == ["count"] and present(there) == {"grown"} and there.lock == pushed.lock


def test_dvc_by_force_makes_nothing_of_absent_inputs(pushed: Project, tmp_path: Path) -> None:
    there = clone(pushed, tmp_path / "there")
    output = there.run("dvc", "repro", "--pull", "--allow-missing", "-f", "-s", "count", code=255)
    assert "count: data/grown is not here; fetch it with `dvc pull data/grown`" in output
    assert there.made() == [] and there.lock == pushed.lock


def test_what_has_changed_upstream_and_is_not_here_runs_downstream(pushed: Project, tmp_path: Path) -> None:
    """A stage was brought up to date and pushed alone: those that read it must not pass for current elsewhere."""
    pushed.replace("params.yaml", "points: 1024", "points: 512")
    one(pushed, "grow")
    pushed.run("dvc", "push")
    git(pushed.root, "commit", "-qam", "grow alone")
    there = clone(pushed, tmp_path / "there")
    bring(pushed)
    outcomes = bring(there, pull=True)
    assert outcomes["grow"] == "current" and outcomes["count"] == "ran" and there.lock == pushed.lock


def test_the_run_of_another_clone_is_fetched_instead_of_repeated(pushed: Project, tmp_path: Path) -> None:
    there = clone(pushed, tmp_path / "there")
    pushed.replace("params.yaml", "seeds: [0, 1, 2]", "seeds: [0, 1, 2, 3]")
    bring(pushed, "vary")
    pushed.run("dvc", "push", "--run-cache")
    there.replace("params.yaml", "seeds: [0, 1, 2]", "seeds: [0, 1, 2, 3]")
    assert bring(there, "vary", pull=True)["vary@3"] == "restored"
    assert there.made() == [] and present(there) == {"vary-3.txt"}


def test_pull_from_a_remote_without_the_data_is_one_line(
    pushed: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = clone(pushed, tmp_path / "there")
    (there.root / "metrics/count.json").unlink()
    shutil.rmtree(tmp_path / "remote")
    with pytest.raises(ValueError, match="grown") as caught:
        bring(there, "count", pull=True)
    assert "data/grown is neither here nor on DVC's remote; run `dvc push`" in str(caught.value)
    there.run("dvc", "remote", "remove", "storage")
    with pytest.raises(ValueError, match="grown") as caught:
        bring(there, "count", pull=True)
    assert str(caught.value).isprintable(), "one line, and no colours"
    there.run("dvc", "remote", "add", "-d", "bucket", "s3://bucket/dvc")
    for name, value in {
        "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
        "AWS_MAX_ATTEMPTS": "1",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
    }.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=r"^DVC's remote: Could not connect .*127\.0\.0\.1:1"):
        bring(there, "count", pull=True)


def test_a_frozen_stage_does_not_run_again_whatever_changes(pushed: Project, tmp_path: Path) -> None:
    pushed.run("dvc", "freeze", "grow")
    git(pushed.root, "commit", "-qam", "grow is frozen")
    there = clone(pushed, tmp_path / "there")
    for project in (pushed, there):
        project.replace("params.yaml", "points: 1024", "points: 512")
        project.write("tasks/grow.py", (project.root / "tasks/grow.py").read_text() + "\n# another code\n")
    made = pushed.made()
    assert set(bring(pushed).values()) == {"current"} and pushed.made() == made
    assert one(pushed, "grow", force=True) == "current" and pushed.made() == made, "not even by force"
    assert set(bring(there, pull=True).values()) == {"current"} and there.made() == []
    there.run("dvc", "repro", "--pull", "--allow-missing")
    assert there.made() == [] and present(there) == set()
    there.run("dvc", "pull")
    there.run("dvc", "repro")
    assert there.made() == [] and "grown" in present(there) and there.lock == pushed.lock
    pushed.run("dvc", "unfreeze", "grow")
    assert bring(pushed)["grow"] == "ran"
