"""Events that say what happened to the project's artifacts, for automations to react to. Prefect is imported late."""

from pathlib import Path

from tasks.dvc_stage import Outcome


def stage_done(name: str, outcome: Outcome, *, root: Path, seconds: float) -> None:
    """Emit `c2p.stage.ran`, `.restored` or `.current` for a stage of the project at `root`."""
    from prefect.events import emit_event

    emit_event(
        f"c2p.stage.{outcome}",
        resource={"prefect.resource.id": f"c2p.stage.{name}", "prefect.resource.name": name, "c2p.root": str(root)},
        payload={"seconds": round(seconds, 3)},
    )
