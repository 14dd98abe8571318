"""DVC's look at the stages for a run at a terminal, by a process of its own beside the imports of the run itself.

To import DVC and to look takes a second, and a run in which nothing is to be done needs nothing else of DVC. Nothing is
imported here that takes long.
"""

import atexit
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any


class Look:
    """A process that looks."""

    def __init__(self, targets: Sequence[str]) -> None:
        """`targets`: of tasks.dvc_stage.plan."""
        self.targets = list(targets)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "flows.look", *targets],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # a Ctrl-C is for the run, at whose end this one ends
        )
        atexit.register(self._process.kill)

    @cached_property
    def found(self) -> dict[str, Any] | None:
        """What `_look` prints, on its last line; None: it failed."""
        output = self._process.communicate()[0]
        return None if self._process.returncode else dict(json.loads(output.splitlines()[-1]))


_begun: list[Look] = []


def begin_look() -> None:
    """Begin to look at the stages that the command line names, unless an option says that there is more to it."""
    if Path("dvc.yaml").is_file() and not any(argument.startswith("-") for argument in sys.argv[1:]):
        _begun.append(Look(sys.argv[1:]))


def stages_to_run() -> list[str]:
    """What the look that was begun finds to run, in order; empty: nothing, or there is none, or it failed."""
    found = _begun[-1].found if _begun else None
    return [*found["needs"]][len(found["current"]) :] if found else []


def plan_stages(
    targets: Sequence[str], *, root: Path, pull: bool = False, skip: Callable[[str], None] | None = None
) -> dict[str, list[str]]:
    """As tasks.dvc_stage.plan: of the look that was begun for the same targets, once; else, or if it failed, here."""
    look = _begun.pop() if _begun else None
    found = look.found if look and look.targets == list(targets) and not pull else None
    if found is None:
        from tasks.dvc_stage import plan

        return plan(targets, root=root, pull=pull, skip=skip)
    if skip:
        for name in found["current"]:
            skip(name)
    needs: dict[str, list[str]] = found["needs"]
    return needs


def _look(targets: Sequence[str]) -> int:
    """Print what tasks.dvc_stage.plan gives as JSON: "needs", and "current": the stages it skipped."""
    from tasks.dvc_stage import plan

    current: list[str] = []
    try:
        needs = plan(targets, root=Path.cwd(), skip=current.append)
    except Exception:  # whoever asked looks again, and says what is wrong
        return 1
    print(json.dumps({"needs": needs, "current": current}))
    return 0


if __name__ == "__main__":
    sys.exit(_look(sys.argv[1:]))
