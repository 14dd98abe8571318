"""A stage by name: find its module, call its `run`, and say what went wrong in one line.

A stage is a module `tasks.<name>` with `run(params, root, map_, **item)`: `root` is the project's folder, `map_`
says how parallel work runs, and `item` holds the values of a matrix in dvc.yaml as texts, as in
`python -m tasks pretrain seed=0`.
"""

import contextlib
import importlib
import inspect
import logging
import os
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import tasks
from c2p.data.pruning import running
from c2p.params import load
from c2p.timings import timed
from c2p.training.steps import TrainingError
from tasks.shard_map import Map, WorkerDied
from tasks.store import Store

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Call:
    """A stage and the values of its matrix item."""

    stage: str
    item: Mapping[str, str] = field(default_factory=dict)


def stage_names() -> list[str]:
    """Names of the modules in `tasks` that define `run`, sorted; none is imported."""
    paths = [path for folder in tasks.__path__ for path in Path(folder).glob("*.py")]
    return sorted(path.stem for path in paths if "\ndef run(" in path.read_text(encoding="utf-8"))


def parse(arguments: list[str]) -> Call:
    """Understand `STAGE [key=value ...]`.

    Raises ValueError: no such stage, or an argument that isn't key=value.
    """
    names = stage_names()
    if not arguments or arguments[0] not in names:
        got = arguments[0] if arguments else "nothing"
        raise ValueError(f"stage: got {got}; allowed: {', '.join(names)}")
    pairs = [argument.partition("=") for argument in arguments[1:]]
    for key, equals, _ in pairs:
        if not (equals and key.isidentifier()):
            raise ValueError(f"{arguments[0]}: got argument {key!r}; allowed: key=value")
    return Call(arguments[0], {key: value for key, _, value in pairs})


def parse_command(command: str) -> Call | None:
    """Understand a stage's command in dvc.yaml; None: it isn't `python -m tasks ...`.

    Raises ValueError as parse does.
    """
    words = shlex.split(command)
    return parse(words[3:]) if words[:3] == ["python", "-m", "tasks"] else None


def run_stage(call: Call, *, root: Path, map_: Map) -> None:
    """Run a stage's body with the project's parameters, and note what it cost (c2p.timings).

    Raises ValueError: matrix keys that the stage doesn't know or misses; and whatever the body raises.
    """
    body = importlib.import_module(f"tasks.{call.stage}").run
    known = list(inspect.signature(body).parameters)[3:]
    if sorted(call.item) != sorted(known):
        raise ValueError(f"{call.stage}: got keys {sorted(call.item)}; allowed: {sorted(known)}")
    params = load(root / "params.yaml")
    store = Store(root)
    store.sweep()
    busy = running(store.base) if isinstance(store.base, Path) else contextlib.nullcontext()
    with busy, timed(root, call.stage, call.item):
        body(params, root, map_, **call.item)


def exit_code(error: Exception) -> int:
    """2 for what the user gave (ValueError, OSError), 1 for a failure."""
    return 2 if isinstance(error, ValueError | OSError) else 1


def report(error: Exception) -> int:
    """Log an error, in one line where the user can mend it, else with its traceback; return the exit code."""
    if exit_code(error) == 2 or isinstance(error, WorkerDied | TrainingError):
        text = " ".join(str(error).split()) or type(error).__name__
        logger.error("%s", text, exc_info=logger.isEnabledFor(logging.DEBUG))
    elif isinstance(error, ModuleNotFoundError):
        text = f"{sys.executable}: {error}; activate the environment (source .venv/bin/activate) or install with make"
        logger.error("%s", text, exc_info=logger.isEnabledFor(logging.DEBUG))
    else:
        logger.error("%s: %s", type(error).__name__, error, exc_info=error)
    return exit_code(error)


def configure_logging() -> None:
    """Send the project's log lines to standard error; C2P_LOG sets the level (info).

    Raises ValueError: C2P_LOG is not a level.
    """
    level = os.environ.get("C2P_LOG", "info").upper()
    allowed = ("DEBUG", "INFO", "WARNING", "ERROR")
    if level not in allowed:
        raise ValueError(f"C2P_LOG: got {level.lower()!r}; allowed: {', '.join(allowed).lower()}")
    logging.basicConfig(format="%(asctime)s %(levelname)-7s %(message)s", datefmt="%H:%M:%S", level=logging.WARNING)
    for name in ("c2p", "tasks", "flows"):
        logging.getLogger(name).setLevel(level)
