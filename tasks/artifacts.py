"""Prefect artifacts: progress of a stage's parts while it runs, and the tables at the end. Prefect is imported late."""

import re
import time
from pathlib import Path
from uuid import UUID

from tasks.progress import Listener

_SECONDS_BETWEEN_UPDATES = 1.0


class Progress:
    """A progress bar in the user interface, sent about once a second.

    Needs the context of a flow or task run.
    """

    def __init__(self, stage: str, total: int, unit: str = "parts") -> None:
        from prefect.artifacts import create_progress_artifact

        self._stage = stage
        self._total = total
        self._unit = unit
        self._sent = time.monotonic()
        artifact = create_progress_artifact(0.0, key=_key(f"{stage}-progress"), description=self._text(0))
        assert isinstance(artifact, UUID)
        self._artifact = artifact

    def show(self, done: int) -> None:
        """Tell how many parts are done."""
        from prefect.artifacts import update_progress_artifact

        now = time.monotonic()
        if done == self._total or now - self._sent >= _SECONDS_BETWEEN_UPDATES:
            self._sent = now
            update_progress_artifact(self._artifact, 100.0 * done / self._total, description=self._text(done))

    def _text(self, done: int) -> str:
        return f"{self._stage}: {done} of {self._total} {self._unit}"


def show_steps(stage: str) -> Listener:
    """Show a training's steps, told through `tasks.progress`, as the progress of a stage."""
    shown: list[Progress] = []

    def show(what: str, done: int, total: int) -> None:
        if not shown:
            shown.append(Progress(stage, total, "steps"))
        shown[0].show(done)

    return show


def publish_tables(root: Path) -> list[str]:
    """Publish results/*.md as Markdown artifacts of the current run; return their keys."""
    from prefect.artifacts import create_markdown_artifact

    keys = []
    for path in sorted((root / "results").glob("*.md")):
        keys.append(_key(f"results-{path.stem}"))
        create_markdown_artifact(path.read_text(encoding="utf-8"), key=keys[-1], description=path.name)
    return keys


def publish_summary(rows: list[tuple[str, str, float]]) -> None:
    """Publish what happened to each stage, rows of (stage, outcome, seconds), as a table artifact."""
    from prefect.artifacts import create_table_artifact

    table = [{"stage": name, "outcome": outcome, "seconds": f"{seconds:.1f}"} for name, outcome, seconds in rows]
    create_table_artifact(table, key="stages", description="What each stage did")


def _key(text: str) -> str:
    """Artifact keys allow lower-case letters, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
