"""dvc.yaml against the stages' code: every file that can change a stage's bytes is among its dependencies."""

import ast
import inspect
import re
import subprocess
import sys
from dataclasses import fields
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml

from c2p.params import Params
from tasks.closure import import_closure
from tasks.dependencies import with_dependencies
from tasks.stage import parse_command, stage_names

ROOT = Path(__file__).resolve().parents[2]
GRAPH: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]


def local_dependencies(stage: str) -> list[Path]:
    return [Path(dependency) for dependency in GRAPH[stage].get("deps", []) if "${" not in dependency]


UPSTREAM = {
    "download": "",
    "render": "download",
    "sample": "render",
    "shards": "download render sample",
    "benchmarks": "download shards",
    "teacher": "shards",
    "features": "shards teacher",
    "pretrain": "shards features teacher",
    "select": "pretrain teacher",
    "cross_only": "shards features teacher",
    "zeroshot": "select teacher benchmarks features shards",
    "fewshot": "select teacher benchmarks",
    "fullshot": "select teacher benchmarks",
    "ablations": "select teacher benchmarks cross_only",
    "cg3d_clip": "features shards teacher",
    "cg3d": "cg3d_clip shards",
    "cg3d_evaluate": "benchmarks shards cg3d cg3d_clip",
    "cg3d_ablations": "benchmarks shards cg3d_clip",
    "cg3d_finetune": "benchmarks cg3d",
    "cg3d_scenes": "benchmarks cg3d cg3d_clip",
    "tables": "zeroshot fewshot fullshot ablations cg3d_evaluate cg3d_ablations cg3d_finetune cg3d_scenes "
    "benchmarks shards select teacher",
}
"""What the design says each stage reads from, in the order of the graph."""


def test_the_graph_is_the_design_and_the_picture_in_the_docs() -> None:
    command = [sys.executable, "-m", "dvc", "dag", "--mermaid", "--collapse-foreach-matrix"]
    drawn = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    names = dict(re.findall(r'(node\d+)\["(\w+)"\]', drawn))
    edges = {(names[one], names[other]) for one, other in re.findall(r"(node\d+)-->(node\d+)", drawn)}
    assert edges == {(source, stage) for stage, sources in UPSTREAM.items() for source in sources.split()}
    assert list(GRAPH) == list(UPSTREAM), "in this order `dvc stage list` reads"
    assert all(stage["desc"] for stage in GRAPH.values())
    assert f"```mermaid\n{drawn.expandtabs(4)}\n```" in (ROOT / "docs/dvc.md").read_text()


def test_every_stage_has_a_module_and_the_other_way_round() -> None:
    assert sorted(GRAPH) == stage_names()


@pytest.mark.parametrize("stage", GRAPH)
def test_command_calls_the_stage_with_its_matrix_keys(stage: str) -> None:
    call = parse_command(GRAPH[stage]["cmd"])
    assert call is not None
    assert call.stage == stage
    assert sorted(call.item) == sorted(list(inspect.signature(import_module(f"tasks.{stage}").run).parameters)[3:])
    assert sorted(call.item) == sorted(GRAPH[stage].get("matrix", {}))


@pytest.mark.parametrize("stage", GRAPH)
def test_dependencies_cover_the_import_closure(stage: str) -> None:
    dependencies = local_dependencies(stage)
    missing = [
        path.as_posix()
        for path in import_closure(f"tasks.{stage}")
        if not any(path == dependency or dependency in path.parents for dependency in dependencies)
    ]
    assert missing == []


def test_dependencies_are_brought_up_to_date_where_they_stand() -> None:
    text = (ROOT / "dvc.yaml").read_text()
    assert with_dependencies(text) == text, "run python -m tasks.dependencies"
    stale = text.replace("      - c2p/geometry/meshes.py\n", "      - c2p/geometry/gone.py\n")
    assert stale != text and with_dependencies(stale) == text
    narrow = re.sub(r"^  ( +- )", r"\1", text, flags=re.MULTILINE)
    assert with_dependencies(narrow.replace("c2p/geometry/meshes.py", "c2p/gone.py")) == narrow, "as DVC writes it"


@pytest.mark.parametrize("stage", GRAPH)
def test_code_dependencies_exist(stage: str) -> None:
    code = [path for path in local_dependencies(stage) if path.parts[0] in ("c2p", "tasks", "flows")]
    assert Path(f"tasks/{stage}.py") in code
    assert [path for path in code if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("stage", GRAPH)
def test_parameters_that_the_body_reads_are_listed(stage: str) -> None:
    listed = {entry.partition(".")[0] for entry in GRAPH[stage].get("params", []) if isinstance(entry, str)}
    sections = {field.name for field in fields(Params)}
    assert listed <= sections
    tree = ast.parse((ROOT / "tasks" / f"{stage}.py").read_text())
    read = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "params"
    }
    assert read & sections <= listed
