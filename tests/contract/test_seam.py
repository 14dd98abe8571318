"""What the seam promises about DVC: these tests hold its internals still."""

import json
import os
import subprocess
import sys
import threading
from typing import Any

import pytest
from toy_project import STAGES, Project

from tasks.busy import Busy
from tasks.dvc_stage import Outcome, plan, reproduce
from tasks.shard_map import serial
from tasks.stage import parse_command, run_stage


def execute_in(project: Project, command: str) -> None:
    call = parse_command(command)
    if call:
        run_stage(call, root=project.root, map_=serial)
    else:
        subprocess.run(command, shell=True, check=True, cwd=project.root)


def bring(project: Project, *targets: str, **options: bool) -> dict[str, Outcome]:
    """Bring the project up to date through the seam."""

    def execute(command: str) -> None:
        execute_in(project, command)

    names = plan(targets, root=project.root)
    return {name: reproduce(name, execute, root=project.root, **options) for name in names}


def test_plan_is_the_graph_upstream_first(project: Project) -> None:
    needs = plan(root=project.root)
    names = list(needs)
    assert sorted(names) == sorted(STAGES)
    assert needs["count"] == ["grow"]
    assert names.index("grow") < names.index("count")
    assert names.index("vary@2") < names.index("shell")
    assert list(plan(["count"], root=project.root)) == ["grow", "count"]
    assert sorted(plan(["vary"], root=project.root)) == ["vary@0", "vary@1", "vary@2"]


def test_plan_of_an_unknown_stage_is_one_line(project: Project) -> None:
    with pytest.raises(ValueError, match="nothing-of-the-kind") as caught:
        plan(["nothing-of-the-kind"], root=project.root)
    assert "\n" not in str(caught.value)


def test_lock_is_byte_for_byte_that_of_dvc_repro(project: Project) -> None:
    assert set(bring(project).values()) == {"ran"}
    ours = project.lock
    (project.root / "dvc.lock").unlink()
    for path in ("data", ".dvc/cache", ".dvc/tmp", ".c2p", "metrics"):
        subprocess.run(["rm", "-rf", project.root / path], check=True)
    project.run("dvc", "repro")
    assert project.lock == ours
    assert project.made().count("count") == 2


def test_each_way_in_skips_what_the_other_finished(project: Project) -> None:
    project.run("dvc", "repro")
    made = project.made()
    assert set(bring(project).values()) == {"current"}
    assert project.made() == made
    bring(project, force=True)
    made = project.made()
    output = project.run("dvc", "repro")
    assert output.count("didn't change, skipping") == len(STAGES)
    assert project.made() == made


def test_changed_parameter_reruns_downstream_only_and_flipping_back_restores(project: Project) -> None:
    bring(project)
    before, lock = project.made(), project.lock
    project.replace("params.yaml", "points: 1024", "points: 512")
    outcomes = bring(project)
    assert {name for name, outcome in outcomes.items() if outcome != "current"} == {"grow", "count"}
    assert sorted(project.made()[len(before) :]) == ["0", "1", "2", "3", "4", "5", "count"]
    assert json.loads((project.root / "metrics/count.json").read_text())["total"] == 6 * 512

    project.replace("params.yaml", "points: 512", "points: 1024")
    made = project.made()
    outcomes = bring(project)
    assert (outcomes["grow"], outcomes["count"]) == ("restored", "restored")
    assert project.made() == made
    assert project.lock == lock
    assert json.loads((project.root / "metrics/count.json").read_text())["total"] == 6 * 1024


def test_unrelated_parameter_reruns_nothing(project: Project) -> None:
    bring(project)
    project.replace("params.yaml", "template: image of a {}", "template: a {}")
    assert set(bring(project).values()) == {"current"}


def test_failing_body_leaves_the_lock_and_keeps_its_cause(project: Project) -> None:
    bring(project)
    lock = project.lock
    project.write("fail", "download.meshes: got 'x'; allowed: a folder")
    project.replace("params.yaml", "points: 1024", "points: 512")
    with pytest.raises(ValueError, match=r"download\.meshes: got 'x'; allowed: a folder") as caught:
        bring(project)
    assert isinstance(caught.value.__cause__, KeyError)
    assert project.lock == lock
    (project.root / "fail").unlink()
    assert bring(project)["grow"] == "ran"


def test_missing_dependency_is_one_line(project: Project) -> None:
    bring(project, "grow")
    (project.root / "tasks/count.py").unlink()
    with pytest.raises((ValueError, FileNotFoundError), match=r"tasks/count\.py") as caught:
        bring(project, "count")
    assert "\n" not in str(caught.value)


def test_foreign_lock_on_an_output_is_a_readable_busy(project: Project) -> None:
    foreign = {"pid": os.getppid(), "cmd": "dvc repro grow"}
    lock = {"write": {str(project.root / "data/grown"): foreign}, "read": {}}
    (project.root / ".dvc/tmp").mkdir()
    project.write(".dvc/tmp/rwlock", json.dumps(lock))
    with pytest.raises(Busy, match="busy") as caught:
        bring(project, "grow")
    message = str(caught.value)
    assert "\n" not in message
    assert all(part in message for part in ("grow", "data/grown", str(os.getppid()), "dvc repro grow"))
    assert not (project.root / "dvc.lock").exists()


def test_output_is_locked_while_the_body_runs(project: Project) -> None:
    seen = []

    def execute(command: str) -> None:
        seen.append(json.loads((project.root / ".dvc/tmp/rwlock").read_text()))
        execute_in(project, command)

    reproduce("grow", execute, root=project.root)
    assert seen[0]["write"] == {str(project.root / "data/grown"): {"pid": os.getpid(), "cmd": " ".join(sys.argv)}}
    assert str(project.root / "tasks/grow.py") in seen[0]["read"]
    assert json.loads((project.root / ".dvc/tmp/rwlock").read_text()).get("write", {}) == {}


def test_lock_of_a_killed_process_is_taken_over(project: Project) -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    lock = {"write": {str(project.root / "data/grown"): {"pid": child.pid, "cmd": "dvc repro"}}, "read": {}}
    (project.root / ".dvc/tmp").mkdir()
    project.write(".dvc/tmp/rwlock", json.dumps(lock))
    assert bring(project, "grow") == {"grow": "ran"}


def test_held_project_lock_is_waited_for_and_said(project: Project, caplog: pytest.LogCaptureFixture) -> None:
    from dvc.repo import Repo

    waiting = threading.Event()
    held = Repo(str(project.root))
    held.lock.lock()

    class Watch:
        def filter(self, record: object) -> bool:
            waiting.set()
            return True

    caplog.handler.addFilter(Watch())
    release = threading.Thread(target=lambda: (waiting.wait(30), held.lock.unlock()))
    release.start()
    assert plan(["grow"], root=project.root) == {"grow": []}
    release.join()
    assert "waiting" in caplog.text


def test_two_threads_two_stages_are_both_recorded(project: Project) -> None:
    meeting = threading.Barrier(2, timeout=30)

    def execute(command: str) -> None:
        meeting.wait()
        execute_in(project, command)

    outcomes: dict[str, Outcome] = {}

    def work(name: str) -> None:
        outcomes[name] = reproduce(name, execute, root=project.root)

    threads = [threading.Thread(target=work, args=(name,)) for name in ("grow", "vary@1")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes == {"grow": "ran", "vary@1": "ran"}
    assert b"  grow:" in project.lock
    assert b"  vary@1:" in project.lock
    assert set(bring(project, "grow", "vary@1").values()) == {"current"}


def test_what_comes_later_is_looked_at_up_to_the_first_that_has_changed(project: Project) -> None:
    bring(project)
    names = list(plan(root=project.root))
    skipped: list[str] = []

    def execute(command: str) -> None:
        execute_in(project, command)

    options: dict[str, Any] = {"root": project.root, "skip": skipped.append}
    assert reproduce(names[0], execute, later=names[1:], **options) == "current"
    assert skipped == names[1:]
    project.replace("params.yaml", "points: 1024", "points: 512")
    changed = plan(["count"], root=project.root)  # grow, and what counts it
    others = [name for name in names if name not in changed]
    skipped.clear()
    assert reproduce("grow", execute, later=["vary@0", "count", *others], **options) == "ran"
    assert skipped == ["vary@0"], "count must run, and what follows is for the next look"
    skipped.clear()
    assert reproduce("count", execute, later=["nothing-of-the-kind", *others], **options) == "ran"
    assert skipped == []
