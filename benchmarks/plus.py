"""What each ingredient of the preset `plus` is worth: `python -m benchmarks.plus` after a finished `make demo`.

Every ingredient is changed alone around a base, with the demo's shapes, teacher and encoder, and judged by zero-shot
accuracy on the validation split of the pre-training collection, from all ten views and, since that saturates, as the
mean of each view by itself. No benchmark set is read. What helped is then put together and held against the base on a
collection of other shapes, with seeds that chose nothing. Finished runs are kept in .c2p/plus and not repeated, so the
work can be done in pieces (--minutes). Writes benchmarks/results/plus-ablations.json
"""

import argparse
import dataclasses
import json
import logging
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from scipy import stats
from torch import Tensor

from benchmarks.ingredients import (
    BASE,
    OTHER_SEEDS,
    PROMPTS,
    ROOT,
    SEEDS,
    TOGETHER,
    VARIANTS,
    VIEWS,
    Changes,
    has_own_teacher,
    parameters,
    project_of,
)
from benchmarks.machine import machine
from c2p.data.files import sha256, write_json
from c2p.geometry.views import view_set
from c2p.models.depth_encoder import DepthEncoder
from c2p.training.history import ACCURACY
from c2p.training.pretrain import pretrain
from c2p.training.select import validate
from tasks.closure import code_digest
from tasks.layout import Layout
from tasks.store import key

RESULT = ROOT / "benchmarks/results/plus-ablations.json"

log = logging.getLogger(__name__)


def main() -> None:
    """Run what is missing, and write the table of what has been run with all seeds."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.plus", description=__doc__)
    parser.add_argument("--minutes", type=float, default=1e9, help="start no run after so many minutes (no limit)")
    parser.add_argument("--workers", type=int, default=1, help="runs at a time, on a thread each (1)")
    parser.add_argument("--out", type=Path, default=RESULT, help=f"file to write ({RESULT.relative_to(ROOT)})")
    given = parser.parse_args()
    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S", level=logging.INFO)
    runs = [(name, VARIANTS[name], seed) for name in VARIANTS for seed in SEEDS]
    runs += [(f"{name} (together)", TOGETHER[name], seed) for name in TOGETHER for seed in OTHER_SEEDS]
    missing = [run for run in runs if not _place(*run[1:]).is_file()]
    for _, changes, _ in missing:
        project_of(parameters(changes))
    until = time.time() + 60 * given.minutes
    with ProcessPoolExecutor(given.workers, get_context("spawn"), torch.set_num_threads, (1,)) as pool:
        for name, result in zip((name for name, *_ in missing), pool.map(_run, missing, repeat(until)), strict=True):
            log.info("%s: %s", name, result or "not run")
    if all(_place({}, seed).is_file() for seed in SEEDS):
        result = table()
        write_json(given.out, result)
        print(report(result))


def _run(work: tuple[str, Changes, int], until: float) -> dict[str, Any] | None:
    """Do one run and keep its result; None: there is no time left for it."""
    _, changes, seed = work
    if time.time() > until:
        return None
    result = run(changes, seed)
    write_json(_place(changes, seed), result)
    return result


def run(changes: Changes, seed: int) -> dict[str, Any]:
    """Train one variant with one seed; its validation accuracies, percent, and its seconds."""
    params = parameters(changes)
    project = project_of(params)
    rotations, ten = (
        torch.as_tensor(view_set(name).rotations, dtype=torch.float32) for name in (params.render.views, "ten")
    )
    encoder, begin = DepthEncoder.of_teacher(project.layout.clip), time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        pretrain(
            encoder,
            torch.from_numpy(project.train.points),
            torch.from_numpy(project.features()),
            dataclasses.replace(params.pretrain, checkpoint_every=params.pretrain.epochs),
            params.depth,
            rotations,
            seed=seed,
            folder=Path(folder),
        )
    seconds = time.monotonic() - begin

    def accuracy(prompts: str, views: Tensor) -> float:
        return validate(
            encoder,
            points=torch.from_numpy(project.val.points),
            labels=torch.from_numpy(project.val.labels),
            text=project.text(prompts),
            rotations=views,
            depth=params.depth,
        )[ACCURACY]

    accuracies = {prompts: accuracy(prompts, ten) for prompts in ([*PROMPTS] if not changes else ["one prompt"])}
    accuracies[VIEWS] = statistics.mean(accuracy("one prompt", view[None]) for view in ten)
    return {"accuracies": accuracies, "seconds": round(seconds, 1)}


def table() -> dict[str, Any]:
    """Mean, spread and difference to the base, seed by seed, of what has been run with every seed."""
    base, project = parameters({}).pretrain, project_of(parameters({}))
    known = {name: _results(changes, SEEDS) for name, changes in VARIANTS.items()}
    last = {name: _results(changes, OTHER_SEEDS) for name, changes in TOGETHER.items()}
    missing = [name for name, runs in [*known.items(), *last.items()] if runs is None]
    ensembles = {
        prompts: [{"accuracies": {"one prompt": run["accuracies"][prompts]}} for run in known["base"] or []]
        for prompts in PROMPTS
    }
    return {
        "machine": machine(),
        "scale": {
            "shapes": "made by c2p",
            "training_shapes": len(project.train),
            "validation_shapes": len(project.val),
            "classes": len(project.manifest.classes),
            "teacher": "c2p-demo, trained in the demo",
            "steps": base.epochs * (len(project.train) // base.batch),
            "batch": base.batch,
        },
        "base": dict(BASE),
        "variants": _rows(known, VARIANTS, SEEDS),
        "prompts": _rows(ensembles, {name: {} for name in PROMPTS}, SEEDS),
        "together": _rows(last, TOGETHER, OTHER_SEEDS),
        "not_run": missing,
    }


def report(result: Mapping[str, Any]) -> str:
    """The tables for people, in Markdown: differences with the interval of a paired t-test at 95 %."""
    lines = []
    for part, first in (("variants", "changed alone"), ("prompts", "prompts"), ("together", "on other shapes")):
        lines += [f"| {first} | ten views, % | against the base | single views, % | against the base |"]
        lines += ["|---|---:|---:|---:|---:|"]
        for name, row in result[part].items():
            cells = []
            for kind in ("one prompt", VIEWS):
                if kind in row:
                    values = row[kind]
                    cells += [f"{values['mean']:.1f} ± {values['std']:.1f}"]
                    cells += [f"{values['difference']:+.1f} ± {values['half_interval']:.1f}"]
            lines.append(f"| {name} | {' | '.join(cells)} |")
        lines.append("")
    return "\n".join(lines)


def _rows(
    known: Mapping[str, list[dict[str, Any]] | None], changes: Mapping[str, Changes], seeds: Sequence[int]
) -> dict[str, Any]:
    base = next(iter(known.values())) or []
    return {
        name: {"changes": dict(changes[name]), "seeds": list(seeds)}
        | {
            kind: _row([run["accuracies"][kind] for run in runs], [run["accuracies"][kind] for run in base])
            for kind in ("one prompt", VIEWS)
            if kind in runs[0]["accuracies"]
        }
        | ({"seconds": [run["seconds"] for run in runs]} if "seconds" in runs[0] else {})
        for name, runs in known.items()
        if runs
    }


def _row(values: Sequence[float], base: Sequence[float]) -> dict[str, Any]:
    differences = [value - other for value, other in zip(values, base, strict=True)]
    half = stats.t.ppf(0.975, len(values) - 1) * statistics.stdev(differences) / len(values) ** 0.5
    return {
        "accuracies": [round(value, 2) for value in values],
        "mean": round(statistics.mean(values), 2),
        "std": round(statistics.stdev(values), 2),
        "difference": round(statistics.mean(differences), 2),
        "half_interval": round(float(half), 2),
    }


def _results(changes: Changes, seeds: Sequence[int]) -> list[dict[str, Any]] | None:
    """What the runs of all seeds gave; None: one is missing."""
    places = [_place(changes, seed) for seed in seeds]
    return [json.loads(place.read_text()) for place in places] if all(place.is_file() for place in places) else None


def _place(changes: Changes, seed: int) -> Path:
    """Where a run's result is kept: it rests on the parameters, the teacher and the code."""
    params, layout = parameters(changes), Layout(ROOT)
    recipe = [params.download, params.render, params.sample, params.depth]
    recipe += [dataclasses.replace(params.pretrain, seeds=(seed,)), not changes]
    made = [_sha256(layout.clip / "open_clip_model.safetensors"), code_digest("tasks.pretrain")]
    made += ["own teacher"] if has_own_teacher(params) else []
    return layout.store / "plus" / f"{key('plus', made, recipe)}.json"


@cache
def _sha256(path: Path) -> str:
    return sha256(path)


if __name__ == "__main__":
    main()
