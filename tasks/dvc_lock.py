"""One entry of dvc.lock written as DVC writes it, without taking all others through its YAML library.

That round trip costs up to a second a stage in a graph of this size. Here the entry's lines take the place of the
former ones, to the bytes that DVC would leave; a file that looks any different from DVC's own writing is left to DVC.
And what this process has read or written last is not parsed again for every stage.
"""

import copy
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from dvc.stage import PipelineStage
from dvc.stage.serialize import to_lockfile
from dvc.utils import strictyaml
from dvc.utils.serialize import dumps_yaml, parse_yaml

from c2p.data.files import write_text
from tasks.quick_yaml import parse

HEAD = "schema: '2.0'\nstages:\n"
_KEY = re.compile(r"^  [^ \n].*:$", re.MULTILINE)
_made: list[str] = []
"""The text that this process has last made, which needs no second look when the next stage finds it."""


@dataclass(frozen=True)
class _Lock:
    """A lock file's text and what it says."""

    text: str
    content: dict[str, Any]


_last: list[_Lock] = []
"""The one that this process has last read or made."""


def read_lock(text: str, path: str, typ: str = "safe") -> Any:
    """DVC's parse_yaml, in whose place it stands where DVC reads its own files."""
    if typ != "safe" or Path(path).name != "dvc.lock":
        return parse_yaml(text, path, typ)
    if not (_last and _last[0].text == text):
        _last[:] = [_Lock(text, parse_yaml(text, path))]
    return copy.deepcopy(_last[0].content)


strictyaml.parse_yaml = read_lock


def write_entry(stage: PipelineStage) -> None:
    """Note in dvc.lock what a stage read and made: `stage.dump(update_pipeline=False)`, quicker and atomic."""
    lockfile = stage.dvcfile._lockfile
    path = Path(lockfile.path)
    before = path.read_text(encoding="utf-8") if path.is_file() else HEAD
    after = with_entry(before, to_lockfile(stage))
    if after is None:
        stage.dump(update_pipeline=False)
    elif after != before:
        write_text(path, after)
        stage.repo.scm_context.track_file(lockfile.relpath)


def with_entry(text: str, entry: dict[str, Any]) -> str | None:
    """dvc.lock's text with a stage's entry {name: values} in the place of its former one, else at the end.

    None: the text isn't as DVC writes it (comments, other keys, another style).
    """
    starts = [match.start() for match in _KEY.finditer(text, len(HEAD))]
    if not _is_dvcs(text, starts):
        return None
    block = dumps_yaml({"schema": "2.0", "stages": entry}).removeprefix(HEAD)
    key = block[: block.index("\n") + 1]
    found = [number for number, start in enumerate(starts) if text.startswith(key, start)]
    begin, end = len(text), len(text)
    if found:
        begin, end = starts[found[0]], [*starts, len(text)][found[0] + 1]
    after = text[:begin] + block + text[end:]
    _made[:] = [after]
    if _last and _last[0].text == text:
        before, new = _last[0].content, parse_yaml(HEAD + block, "dvc.lock")
        _last[:] = [_Lock(after, before | {"stages": (before["stages"] or {}) | new["stages"]})]
    return after


def _is_dvcs(text: str, starts: list[int]) -> bool:
    """Whether a lock file holds stages alone, each at one of these places."""
    if [text] == _made:
        return True
    if not text.startswith(HEAD) or starts[:1] not in ([], [len(HEAD)]) or not text.endswith("\n") or "#" in text:
        return False
    try:
        content = parse(text)
    except yaml.YAMLError:
        return False
    names = [text[start : text.index("\n", start)].strip().removesuffix(":") for start in starts]
    return set(content) == {"schema", "stages"} and [_written(name) for name in content["stages"] or {}] == names


def _written(name: Any) -> str:
    """A key as DVC writes it."""
    return dumps_yaml({name: 0}).removesuffix(": 0\n")
