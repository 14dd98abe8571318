"""A look in a process of its own finds what DVC finds here, and gives way where it can't."""

import sys

import pytest
from test_seam import bring
from toy_project import STAGES, Project

from flows import look
from tasks.dvc_stage import plan


@pytest.fixture
def begun(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """The project, in which this process is, with no look begun."""
    monkeypatch.chdir(project.root)
    monkeypatch.setattr(look, "_begun", [])
    return project


def call_with(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["flows.pretrain_pipeline", *arguments])
    look.begin_look()


@pytest.mark.parametrize("targets", [[], ["count"], ["vary", "count"]])
def test_it_finds_what_dvc_finds_here(begun: Project, monkeypatch: pytest.MonkeyPatch, targets: list[str]) -> None:
    bring(begun, "grow", "vary@1")
    call_with(monkeypatch, *targets)
    expected: list[str] = []
    needs = plan(targets, root=begun.root, skip=expected.append)
    current: list[str] = []
    assert look.stages_to_run() == list(needs)[len(expected) :]
    assert look.plan_stages(targets, root=begun.root, skip=current.append) == needs
    assert current == expected
    assert look.stages_to_run() == []
    bring(begun)
    assert look.plan_stages([], root=begun.root, skip=current.append).keys() == set(STAGES), "it is used once"
    assert set(current) == set(STAGES)


def test_it_gives_way_to_what_only_the_run_can_tell(begun: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    call_with(monkeypatch, "nothing-of-the-kind")
    assert look.stages_to_run() == []
    with pytest.raises(ValueError, match="nothing-of-the-kind"):
        look.plan_stages(["nothing-of-the-kind"], root=begun.root)
    call_with(monkeypatch, "count")
    assert list(look.plan_stages(["grow"], root=begun.root)) == ["grow"], "another was looked for"
    call_with(monkeypatch, "--force", "count")
    assert look._begun == []


def test_it_is_no_part_of_a_folder_without_stages(begun: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    (begun.root / "dvc.yaml").unlink()
    call_with(monkeypatch)
    assert look._begun == []
