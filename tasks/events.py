"""Events that say what happened to the project's artifacts, for automations to react to. Prefect is imported late."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tasks.project_server import running_url


def stage_done(name: str, outcome: str, *, root: Path, seconds: float) -> None:
    """Emit `c2p.stage.ran`, `.restored` or `.current` for a stage of the project at `root`."""
    from prefect.events import emit_event

    emit_event(
        f"c2p.stage.{outcome}",
        resource={"prefect.resource.id": f"c2p.stage.{name}", "prefect.resource.name": name, "c2p.root": str(root)},
        payload={"seconds": round(seconds, 3)},
    )


def checkpoint_created(
    path: Path, *, root: Path, digest: str, seed: int, epoch: int, accuracy: float, selected: bool
) -> None:
    """Emit `c2p.checkpoint.created` for the selected encoder of a seed; nothing happens where no server listens.

    path: its weights; digest: their SHA-256; accuracy: on the validation split, percent; selected: whether the seed is
    the best one. A server listens where this is a flow's process, where PREFECT_API_URL names one, or where that of the
    project is up: `dvc repro` alone needs no Prefect.
    """
    if "prefect" not in sys.modules and not os.environ.get("PREFECT_API_URL"):
        if (address := running_url(root)) is None:
            return
        os.environ["PREFECT_API_URL"] = address
    from prefect.events import emit_event

    emit_event(
        "c2p.checkpoint.created",
        resource={
            "prefect.resource.id": f"c2p.checkpoint.seed-{seed}",
            "prefect.resource.name": path.relative_to(root).as_posix(),
            "c2p.root": str(root),
        },
        payload={
            "path": path.relative_to(root).as_posix(),
            "sha256": digest,
            "seed": seed,
            "epoch": epoch,
            "validation_accuracy": round(accuracy, 4),
            "selected": selected,
        },
    )


def accuracy_dropped(text: str, *, root: Path, dataset: str, points: float, payload: Mapping[str, Any]) -> None:
    """Emit `c2p.accuracy.dropped`: a checkpoint is worse on a benchmark set than one before.

    text: what people read of it; points: by how much, percent; payload: what else there is to tell, plain data.
    """
    from prefect.events import emit_event

    emit_event(
        "c2p.accuracy.dropped",
        resource={
            "prefect.resource.id": f"c2p.benchmark.{dataset}",
            "prefect.resource.name": dataset,
            "c2p.root": str(root),
        },
        payload={"message": text, "points": round(points, 4), **payload},
    )
