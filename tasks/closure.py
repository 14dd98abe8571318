"""Which of the project's files a module's behaviour rests on: its static import closure.

Read from the syntax tree, so lazy imports inside functions count and nothing is executed. A stage's dependencies in
dvc.yaml must cover its closure (a test checks it), and pieces in the store carry its digest in their key.
"""

import ast
import functools
import hashlib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("c2p", "tasks", "flows")
MACHINERY = frozenset(
    Path(name)
    for name in (
        "c2p/__init__.py",
        "c2p/cg3d_params.py",
        "c2p/data/places.py",
        "c2p/data/pruning.py",
        "c2p/parameter_checks.py",
        "c2p/params.py",
        "c2p/timings.py",
        "c2p/workers.py",
        "tasks/closure.py",
        "tasks/events.py",
        "tasks/machine.py",
        "tasks/progress.py",
        "tasks/ranks.py",
        "tasks/shard_map.py",
        "tasks/stage.py",
        "tasks/store.py",
    )
)
"""Files that carry work, check parameters or lend names: a change there is no reason to make anything again."""


def import_closure(*modules: str, root: Path = ROOT) -> list[Path]:
    """Return the project's files that importing `modules` can execute, sorted, relative to `root`.

    Packages' `__init__` files count where they hold more than a docstring and constants, or a name is taken from them;
    `MACHINERY` doesn't count.

    Raises ValueError: a module that is not one of the project's.
    """
    found: set[Path] = set()
    waiting = list(modules)
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        path = _file(name, root)
        if path is None:
            raise ValueError(f"{name}: no such module in {', '.join(PACKAGES)}")
        if path.name != "__init__.py" or name in modules or _does_something(path):
            found.add(path.relative_to(root))
        waiting.extend(_parents(name))
        for imported, from_package in _imports(path, name, root):
            waiting.append(imported)
            if from_package:
                found.add(_existing(imported, root).relative_to(root))
    return sorted(found - MACHINERY)


@functools.cache
def code_digest(*modules: str, root: Path = ROOT) -> str:
    """SHA-256 over the syntax trees of the modules' import closure: comments and layout don't count.

    Give the stage's own module first and whatever it picks by name at run time (a renderer) after it.
    """
    digest = hashlib.sha256()
    for path in import_closure(*modules, root=root):
        tree = ast.dump(ast.parse((root / path).read_text(encoding="utf-8")))
        digest.update(f"{path.as_posix()}\0{tree}\0".encode())
    return digest.hexdigest()


def _file(name: str, root: Path) -> Path | None:
    if name.partition(".")[0] not in PACKAGES:
        return None
    base = root.joinpath(*name.split("."))
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file():
            return path
    return None


def _existing(name: str, root: Path) -> Path:
    path = _file(name, root)
    assert path is not None
    return path


def _parents(name: str) -> Iterator[str]:
    parts = name.split(".")
    for length in range(1, len(parts)):
        yield ".".join(parts[:length])


def _does_something(path: Path) -> bool:
    body = ast.parse(path.read_text(encoding="utf-8")).body
    return not all(isinstance(node, ast.Assign | ast.AnnAssign | ast.Expr) for node in body)


def _imports(path: Path, name: str, root: Path) -> Iterator[tuple[str, bool]]:
    """Yield the project's modules that a file imports, and whether a name is taken from a package's own file."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, False) for alias in node.names if _file(alias.name, root))
        elif isinstance(node, ast.ImportFrom):
            source = _absolute(node, package)
            for alias in node.names:
                if _file(f"{source}.{alias.name}", root):
                    yield f"{source}.{alias.name}", False
                elif _file(source, root):
                    yield source, True


def _absolute(node: ast.ImportFrom, package: str) -> str:
    if not node.level:
        return node.module or ""
    parts = package.split(".")
    base = parts[: len(parts) - node.level + 1]
    return ".".join([*base, node.module] if node.module else base)
