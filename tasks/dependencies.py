"""`python -m tasks.dependencies`: the code that the stages of dvc.yaml depend on, up to date after new imports."""

import re
from collections.abc import Iterator
from pathlib import Path

from c2p.data.files import write_text
from tasks.closure import ROOT, import_closure

_STAGE = re.compile(r"  (\w+):$")
_CODE = re.compile(r"( {4,6}- )(c2p|tasks)/\S+\.py$")
"""Six spaces as we write them, four as DVC does when it rewrites the file (`dvc freeze`)."""


def with_dependencies(graph: str, *, root: Path = ROOT) -> str:
    """The text of a dvc.yaml whose stages depend on exactly the Python files of their import closures.

    Other lines stay as they are; the files stand where the first of a stage's Python files stood.
    Raises ValueError: a stage without a module.
    """
    return "".join(_lines(graph.splitlines(keepends=True), root))


def _lines(lines: list[str], root: Path) -> Iterator[str]:
    stage, written = "", ""
    for line in lines:
        if found := _STAGE.match(line):
            stage = found[1]
        code = _CODE.match(line)
        if not code:
            yield line
        elif stage != written:
            yield from (f"{code[1]}{path.as_posix()}\n" for path in import_closure(f"tasks.{stage}", root=root))
            written = stage


if __name__ == "__main__":
    path = ROOT / "dvc.yaml"
    write_text(path, with_dependencies(path.read_text(encoding="utf-8")))
