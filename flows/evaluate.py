"""Flow `evaluate`: one encoder, zero-shot on benchmark sets, a task a set.

As a deployment it runs on the project's server; `python -m flows.evaluate [ENCODER]` runs it in this process. Numbers
are those of the stage zeroshot: the same code, device and cache of features.
"""

if __name__ == "__main__":  # both take seconds: the server that the run may need, and the imports below
    from flows.garbage import postpone
    from flows.temporary import serve_here

    serve_here()
    postpone()

import argparse
import functools
import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from prefect import flow
from prefect.artifacts import create_table_artifact
from prefect.states import Failed
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from c2p.params import load
from flows.gpu import hold_gpus
from flows.parts import part
from flows.terminal import leave, run_here
from tasks.layout import Layout
from tasks.shard_map import WorkerDied, WorkerPool
from tasks.stage import configure_logging

logger = logging.getLogger("flows.evaluate")

J = TypeVar("J")
R = TypeVar("R")

ENCODER = "models/depth_encoder"
METHODS = ("clip2point",)
SETS_AT_A_TIME: TaskRunner[Any] = ThreadPoolTaskRunner(max_workers=4)
"""Tasks that wait for worker processes at a time; C2P_WORKERS says how many of those compute."""


@flow(name="evaluate", persist_result=False, task_runner=SETS_AT_A_TIME)
def evaluate(encoder: str = ENCODER, sets: list[str] | None = None, methods: list[str] | None = None) -> Any:
    """Evaluate an encoder zero-shot and publish a table of accuracies; returns metrics by set and method.

    Args:
        encoder: folder in open_clip's local-dir layout, e.g. models/depth_encoder/seed-1; the default is the selected
            one.
        sets: names of benchmark sets in data/benchmarks; none means all there are.
        methods: slugs as `c2p evaluate --methods list` prints them, of those that take no training objects; none means
            clip2point alone.
    """
    from c2p.evaluation.evaluate import evaluate as evaluate_encoder  # brings torch, which deploying does without

    configure_logging()
    root = Path.cwd()
    layout = Layout(root)
    try:
        found = evaluate_sets(
            {
                path.stem: functools.partial(
                    evaluate_encoder,
                    load(root / "params.yaml"),
                    path,
                    encoder=root / encoder,
                    clip_dir=layout.clip,
                    slugs=methods or METHODS,
                    shots=[0],
                    seeds=[0],
                    cache=layout.evaluation,
                )
                for path in find_sets(root, sets)
            }
        )
    except (ValueError, OSError, WorkerDied) as error:
        return Failed(message=str(error), data=error)
    rows = [
        _row(name, slug, metrics["set"], values)
        for name, metrics in found.items()
        for slug, values in metrics["shots"]["0"].items()
    ]
    create_table_artifact(rows, key="evaluation", description=f"{encoder}, zero-shot, top-1 in percent")
    return {name: metrics["shots"]["0"] for name, metrics in found.items()}


def find_sets(root: Path, names: Sequence[str] | None) -> list[Path]:
    """Files of benchmark sets.

    Raises ValueError: there is no such set, or none at all.
    """
    made = {path.stem: path for path in sorted(Layout(root).benchmarks.glob("*.parquet"))}
    if not made:
        raise ValueError(f"{Layout(root).benchmarks}: no benchmark sets; make them with `dvc repro benchmarks`")
    for name in names or ():
        if name not in made:
            raise ValueError(f"sets: got {name!r}; allowed: {', '.join(made)}")
    return [made[name] for name in dict.fromkeys(names or made)]


def evaluate_sets(works: Mapping[str, Callable[..., R]]) -> dict[str, R]:
    """Run a task for each name, several at a time; each of `works` takes a `device` and a `map_` over worker processes.

    A GPU is held meanwhile, as the stage zeroshot holds one. Raises what the first that failed raised, once all have
    ended.
    """
    from c2p.models.device import compute_device  # brings torch as well

    with hold_gpus("evaluation", 1), WorkerPool() as pool:
        given: dict[str, Any] = {"device": str(compute_device()), "map_": functools.partial(_in_workers, pool)}
        futures = {name: part.submit(name, functools.partial(work, **given)) for name, work in works.items()}
        try:
            for future in futures.values():
                future.wait()
        except BaseException:  # Ctrl-C or a cancelled run: the tasks' threads must not wait for workers
            pool.stop()
            raise
        return {name: future.result() for name, future in futures.items()}


def _in_workers(
    pool: WorkerPool, function: Callable[[J], R], jobs: Sequence[J], /, *, names: Sequence[str] | None = None
) -> list[R]:
    """Run jobs in the pool's processes, which other tasks use at the same time: a `Map`."""
    with ThreadPoolExecutor(pool.workers) as threads:
        return list(threads.map(functools.partial(pool.run, function), jobs))


def _row(name: str, slug: str, sizes: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, str]:
    """A row of the artifact, as people read it."""
    low, high = values["interval"]
    return {
        "set": name,
        "method": slug,
        "top-1": f"{values['mean']:.2f}",
        "95 % interval": f"{low:.2f} to {high:.2f}",
        "class mean": f"{values['class_mean']:.2f}",
        "chance": f"{sizes['chance']:.2f}",
        "objects": str(sizes["test"]),
    }


def main(arguments: Sequence[str]) -> int:
    """Run the flow in this process; return the exit code: 0, 2 for what the user gave, 1 for a failure."""
    parser = argparse.ArgumentParser(prog="python -m flows.evaluate", description=(__doc__ or "").strip())
    parser.add_argument("encoder", nargs="?", default=ENCODER, help=f"folder of a depth encoder ({ENCODER})")
    parser.add_argument("--sets", help="benchmark sets with commas between them; default: all")
    parser.add_argument("--methods", help=f"zero-shot methods with commas between them ({','.join(METHODS)})")
    given = parser.parse_args(arguments)
    return run_here(
        lambda: evaluate(given.encoder, _listed(given.sets), _listed(given.methods), return_state=True), _show
    )


def _show(found: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> None:
    for name, by_slug in found.items():
        for slug, values in by_slug.items():
            low, high = values["interval"]
            print(f"{name}, {slug}: {values['mean']:.2f} % ({low:.2f} to {high:.2f})")


def _listed(text: str | None) -> list[str] | None:
    return [word.strip() for word in text.split(",") if word.strip()] if text else None


if __name__ == "__main__":
    leave(main(sys.argv[1:]))
