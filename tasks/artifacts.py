"""Prefect artifacts: a stage's progress; tables, gallery and provenance at the end. Prefect is imported late."""

import json
import re
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from uuid import UUID

from tasks.origin import origin_markdown
from tasks.prefect_api import open_client
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


def publish_run(root: Path, rows: list[tuple[str, str, float]]) -> list[str]:
    """Publish what a run of the pipeline gave as artifacts of the current flow run; return their keys.

    rows: (stage, outcome, seconds). The gallery, whose pictures take a while to pack, comes when the report is new.
    """
    with ThreadPoolExecutor(1) as beside:  # it asks git, and what is sent keeps the server busy
        origin = beside.submit(origin_markdown, root)
        return _publish(_figures(root, rows, origin))


def _figures(
    root: Path, rows: list[tuple[str, str, float]], origin: Future[str]
) -> Iterator[tuple[str, str, str, str]]:
    """What there is to publish: type, key, data, description; the run's origin comes last."""
    table = [{"stage": name, "outcome": outcome, "seconds": f"{seconds:.1f}"} for name, outcome, seconds in rows]
    yield "table", "stages", json.dumps(table), "What each stage did"
    for path in sorted((root / "results").glob("*.md")):
        yield "markdown", _key(f"results-{path.stem}"), path.read_text(encoding="utf-8"), path.name
    report = root / "results" / "report.html"
    renewed = any(name == "tables" and outcome != "current" for name, outcome, _ in rows)
    if renewed and report.is_file():
        from tasks.gallery import gallery_markdown  # a run in which nothing is new need not load Pillow

        if gallery := gallery_markdown(report):
            yield "markdown", "gallery", gallery, "Shapes, their depth maps, and what they were taken for"
    yield "markdown", "provenance", origin.result(), "The exact code, parameters and data"


def _publish(found: Iterable[tuple[str, str, str, str]]) -> list[str]:
    """Send artifacts (type, key, data, description) of the current flow run; their keys."""
    from prefect.client.schemas.actions import ArtifactCreate
    from prefect.context import FlowRunContext

    context = FlowRunContext.get()
    assert context is not None and context.flow_run is not None
    keys = []
    with open_client() as client:
        for kind, key, data, description in found:
            client.create_artifact(
                ArtifactCreate(key=key, type=kind, data=data, description=description, flow_run_id=context.flow_run.id)
            )
            keys.append(key)
    return keys


def _key(text: str) -> str:
    """Artifact keys allow lower-case letters, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
