"""A fresh toy project for each test."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from toy_project import Project, make_project

import tasks


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    """A fresh project; its toy stages can also be imported in this process as tasks.grow, tasks.count, tasks.vary."""
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "site"))
    monkeypatch.setenv("DVC_GLOBAL_CONFIG_DIR", str(tmp_path / "global"))
    project = make_project(tmp_path / "project")
    monkeypatch.setattr(tasks, "__path__", [*tasks.__path__, str(project.root / "tasks")])
    monkeypatch.chdir(project.root)
    yield project
    for name in ("grow", "count", "vary"):
        sys.modules.pop(f"tasks.{name}", None)
        vars(tasks).pop(name, None)
