"""Flow `reevaluate`: checkpoints that were not evaluated yet, into metrics/history.parquet, with an alarm for drops.

As a deployment it runs by a schedule (whatever has come since) and by event (the new checkpoint alone); see
prefect.yaml. `python -m flows.reevaluate [CHECKPOINT]` runs it in this process.
"""

if __name__ == "__main__":  # both take seconds: the server that the run may need, and the imports below
    from flows.garbage import postpone
    from flows.temporary import serve_here

    serve_here()
    postpone()

import argparse
import base64
import functools
import logging
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.states import Completed, Failed

from c2p.evaluation.history import Drop, Row, append_history, find_drops, format_history, read_history
from c2p.params import Params, load
from flows.evaluate import SETS_AT_A_TIME, evaluate_sets
from flows.terminal import leave, run_here
from tasks.checkpoints import (
    Checkpoint,
    Trial,
    checkpoint_at,
    evaluate_trial,
    frozen_trials,
    git_revision,
    selected_checkpoints,
)
from tasks.events import accuracy_dropped
from tasks.shard_map import Map, WorkerDied
from tasks.stage import configure_logging

logger = logging.getLogger("flows.reevaluate")

HISTORY = Path("metrics/history.parquet")
TREND = Path("plots/history.png")
MAX_DROP = 2.0
SHOWN = 200
"""Rows of the history in its artifact, the latest."""


class Dropped(Exception):
    """Checkpoints are worse than earlier ones; the message names them."""


@flow(name="reevaluate", persist_result=False, task_runner=SETS_AT_A_TIME)
def reevaluate(
    checkpoint: str | None = None,
    sha256: str | None = None,
    seed: int | None = None,
    epoch: int | None = None,
    max_drop: float = MAX_DROP,
) -> Any:
    """Evaluate what was not, append it to the history, draw the trend, and return the new rows.

    The run ends `Cached` where everything was evaluated already, `Superseded` where the checkpoint it was started for
    has been replaced, `Waiting` where there is no benchmark set or no checkpoint yet, and `AccuracyDropped`, a failure,
    where a new row is more than max_drop below the best before.

    Args:
        checkpoint: an encoder's folder or its weights; none means the selected one of every seed.
        sha256: of those weights as they were when the run was asked for; none means whatever they are.
        seed: of pre-training; none means what the project knows of it.
        epoch: of that checkpoint; likewise.
        max_drop: points of percent against the best before of the same set, objects and seed.
    """
    configure_logging()
    root = Path.cwd()
    failure: Exception | None = None
    todo: list[Trial] = []
    try:
        params = load(root / "params.yaml")
        given = _find(root, checkpoint, sha256, seed, epoch)
        with frozen_trials(root, params, given) as trials:
            if not trials:
                return _ended("Waiting", "no checkpoint or no benchmark set yet; the schedule evaluates what comes")
            if sha256 is not None and trials[0].sha256 != sha256:
                return _ended("Superseded", f"{checkpoint}: other weights than {sha256[:12]} lie there by now")
            keys = {row["key"] for row in read_history(root / HISTORY)}
            todo = [trial for trial in trials if trial.key not in keys]
            logger.info("%d of %d evaluations are in the history already", len(trials) - len(todo), len(trials))
            if not todo:
                return _ended("Cached", f"all {len(trials)} evaluations are in the history already")
            settings: dict[str, Any] = {"root": root, "params": params, "max_drop": max_drop}
            settings |= {"when": datetime.now(UTC).replace(microsecond=0), "git_rev": git_revision(root)}
            works = {trial.name: functools.partial(evaluate_into_history, trial, **settings) for trial in todo}
            evaluate_sets(works)
    except FileNotFoundError as error:
        return _ended("Waiting", f"{error.filename}: being made at this moment; the schedule evaluates it")
    except (ValueError, OSError, WorkerDied) as error:
        failure = error
    return _end(root, {trial.key for trial in todo}, max_drop, failure)


def evaluate_into_history(
    trial: Trial,
    *,
    root: Path,
    params: Params,
    when: datetime,
    git_rev: str,
    max_drop: float,
    device: str,
    map_: Map,
) -> None:
    """Evaluate a trial, append it and raise the alarm at once: what is finished outlives a kill."""
    row = evaluate_trial(trial, root=root, params=params, when=when, git_rev=git_rev, device=device, map_=map_)
    known = read_history(root / HISTORY)
    if append_history(root / HISTORY, [row]):
        for drop in find_drops([row], known, points=max_drop):
            _tell(drop, root)


def publish(root: Path) -> None:
    """Draw the trend, and publish it and the history as artifacts."""
    from c2p.evaluation.trend import draw_trend

    rows = read_history(root / HISTORY)
    picture = draw_trend(root / TREND, rows).read_bytes()
    inline = base64.b64encode(picture).decode()  # artifacts of pictures take an address only
    create_markdown_artifact(
        f"![Accuracy of every checkpoint](data:image/png;base64,{inline})", key="history-trend", description=str(TREND)
    )
    create_table_artifact(_table(rows[-SHOWN:]), key="history", description=f"The latest of {len(rows)} rows")


def _find(
    root: Path, checkpoint: str | None, sha256: str | None, seed: int | None, epoch: int | None
) -> list[Checkpoint]:
    if checkpoint is None:
        if sha256 or seed is not None or epoch is not None:
            raise ValueError("checkpoint: got nothing, but sha256, seed or epoch; allowed: these with a checkpoint")
        return selected_checkpoints(root)
    return [checkpoint_at(root, checkpoint, seed=seed, epoch=epoch)]


def _end(root: Path, keys: set[str], max_drop: float, failure: Exception | None) -> Any:
    """Publish what a run has added to the history; the run's state, or the new rows."""
    rows = read_history(root / HISTORY)
    new = [row for row in rows if row["key"] in keys]
    if new:
        publish(root)
    if failure is not None:
        return Failed(message=str(failure), data=failure)
    if drops := find_drops(new, [row for row in rows if row["key"] not in keys], points=max_drop):
        message = "; ".join(map(str, drops))
        return Failed(name="AccuracyDropped", message=message, data=Dropped(message))
    return new


def _ended(name: str, message: str) -> Any:
    logger.info("%s: %s", name, message)
    return Completed(name=name, message=message, data=[])


def _tell(drop: Drop, root: Path) -> None:
    logger.warning("%s", drop)
    told = ("accuracy", "low", "high", "objects", "seed", "epoch", "checkpoint", "sha256", "git_rev", "data_rev")
    payload = {name: drop.row[name] for name in told} | {
        "best": drop.best["accuracy"],
        "best_sha256": drop.best["sha256"],
        "best_within_interval": drop.is_within_interval,
    }
    accuracy_dropped(str(drop), root=root, dataset=drop.row["dataset"], points=drop.points, payload=payload)


def _table(rows: Sequence[Row]) -> list[dict[str, str]]:
    """Rows of the artifact, the latest first."""
    return [
        {
            "when (UTC)": f"{row['when']:%Y-%m-%d %H:%M}",
            "set": row["dataset"],
            "top-1": f"{row['accuracy']:.2f}",
            "95 % interval": f"{row['low']:.2f} to {row['high']:.2f}",
            "objects": str(row["objects"]),
            "checkpoint": row["checkpoint"],
            "epoch": "" if row["epoch"] is None else str(row["epoch"]),
            "weights": row["sha256"][:12],
            "git": row["git_rev"],
        }
        for row in reversed(rows)
    ]


def main(arguments: Sequence[str]) -> int:
    """Run the flow in this process; return the exit code: 0, 2 for what the user gave, 1 for a failure or a drop."""
    parser = argparse.ArgumentParser(prog="python -m flows.reevaluate", description=(__doc__ or "").strip())
    parser.add_argument("checkpoint", nargs="?", help="an encoder's folder; default: the selected one of every seed")
    parser.add_argument("--max-drop", type=float, default=MAX_DROP, help=f"points that are no alarm yet ({MAX_DROP:g})")
    given = parser.parse_args(arguments)
    return run_here(lambda: reevaluate(given.checkpoint, max_drop=given.max_drop, return_state=True), _show)


def _show(new: Sequence[Row]) -> None:
    if new:
        print("\n".join(format_history(new)))
    print(f"{len(new)} new evaluations; all of them: c2p history")


if __name__ == "__main__":
    leave(main(sys.argv[1:]))
