"""Prefect's start-up hook for this project: its home and server, and deployments by their bare name.

Prefect calls it on import when the working directory is the project's root (pyproject.toml allows it there), which
makes `prefect deployment run pretrain-pipeline` work as it stands.
"""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

from prefect.plugins import HookContext, SetupResult, register_hook

from tasks.project_server import HOME, running_url

_FLAGS = {"--prompt", "--no-prompt", "--watch", "--no-watch"}
"""Options of `prefect` and `prefect deployment run` that take no value; every other one does."""


@register_hook
def setup_environment(*, ctx: HookContext) -> SetupResult:
    """Keep Prefect's state in the project, silent towards the world, and find the project's server if it is up.

    What the user's environment sets stays. Child processes get the result by inheritance and must not ask again: a
    server loads Prefect inside its event loop, where hooks can't run.
    """
    sys.argv[1:] = complete_deployment(sys.argv[1:])
    home = Path.cwd() / HOME
    home.mkdir(parents=True, exist_ok=True)
    wanted = {
        "PREFECT_HOME": str(home),
        "PREFECT_API_URL": running_url(Path.cwd()),
        "DO_NOT_TRACK": "1",
    }
    environment = {name: value for name, value in wanted.items() if value and name not in os.environ}
    return SetupResult(env={**environment, "PREFECT_PLUGINS_ENABLED": "false"})


def complete_deployment(arguments: list[str]) -> list[str]:
    """Write `deployment run NAME` as `deployment run NAME/NAME`; anything else stays as it is."""
    words = list(_words(arguments))
    if [word for _, word in words[:2]] != ["deployment", "run"] or len(words) < 3 or "/" in words[2][1]:
        return arguments
    position, name = words[2]
    return [*arguments[:position], f"{name}/{name}", *arguments[position + 1 :]]


def _words(arguments: list[str]) -> Iterator[tuple[int, str]]:
    """Yield what is neither an option nor an option's value, with its position."""
    position = 0
    while position < len(arguments):
        argument = arguments[position]
        if not argument.startswith("-"):
            yield position, argument
        elif argument not in _FLAGS and "=" not in argument:
            position += 1
        position += 1
