"""A stage's command that is not ours (torchrun, say), as a child process of the flow."""

import contextlib
import logging
import subprocess
from pathlib import Path

import psutil

logger = logging.getLogger(__name__)


def run_command(command: str, root: Path) -> None:
    """Run a command of dvc.yaml in a shell, its output as log lines; what interrupts this ends its processes.

    Raises RuntimeError: it ends with an exit code other than 0.
    """
    with subprocess.Popen(
        command, shell=True, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                logger.info("%s", line.rstrip())
        except BaseException:  # an interrupt, a cancelled run, a stage that is given up
            _kill_family(process.pid)
            raise
    if process.returncode:
        raise RuntimeError(f"{command}: exit code {process.returncode}")


def _kill_family(pid: int) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        shell = psutil.Process(pid)
        for member in [*shell.children(recursive=True), shell]:
            with contextlib.suppress(psutil.NoSuchProcess):
                member.kill()
