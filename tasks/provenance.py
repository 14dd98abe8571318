"""Where results come from: for every stage, the data it read and wrote, its parameters and the code it rests on.

Read from dvc.yaml and dvc.lock as they stand. Digests of data, not of files of code, so that a comment changes nothing.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from c2p.evaluation.report import StageRecord
from tasks.closure import code_digest

DIGITS = 12
CODE = ("c2p", "tasks", "flows")


def stage_records(root: Path, *, but: str) -> list[StageRecord]:
    """Records of the stages that dvc.lock knows, in the order of dvc.yaml; matrix items by name.

    but: a stage to leave out: the one that is running, whose entry is of its last run.
    Raises ValueError: a file that is not YAML.
    """
    graph = _read(root / "dvc.yaml").get("stages", {})
    lock = _read(root / "dvc.lock").get("stages", {})
    return [
        _record(name, stage, entry)
        for stage_name, stage in graph.items()
        if stage_name != but
        for name, entry in sorted(lock.items())
        if name.partition("@")[0] == stage_name
    ]


def _record(name: str, stage: Mapping[str, Any], entry: Mapping[str, Any]) -> StageRecord:
    parameters = entry.get("params", {}).get("params.yaml", {})
    return StageRecord(
        name,
        stage.get("desc", ""),
        _digests(entry.get("deps", [])),
        _digests(entry.get("outs", [])),
        tuple((key, _plain(value)) for key, value in _flat(parameters).items()),
        code_digest(f"tasks.{name.partition('@')[0]}")[:DIGITS],
    )


def _digests(entries: list[Mapping[str, Any]]) -> tuple[tuple[str, str], ...]:
    """(path, first digits of the digest) of data."""
    return tuple(
        (entry["path"], str(entry.get("md5", "not recorded"))[:DIGITS])
        for entry in entries
        if entry["path"].split("/")[0] not in CODE
    )


def _flat(values: Mapping[str, Any], head: str = "") -> dict[str, Any]:
    """Nested parameters under dotted names, sorted."""
    found: dict[str, Any] = {}
    for key, value in sorted(values.items()):
        found |= _flat(value, f"{head}{key}.") if isinstance(value, Mapping) else {f"{head}{key}": value}
    return found


def _plain(value: Any) -> str:
    return "[" + ", ".join(map(_plain, value)) + "]" if isinstance(value, list) else str(value) or '""'


def _read(path: Path) -> dict[str, Any]:
    """A YAML file's content; empty where there is none."""
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except FileNotFoundError:
        return {}
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: not YAML ({' '.join(str(error).split())}); restore it with git") from error
