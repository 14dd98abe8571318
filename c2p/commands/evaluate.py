"""`c2p evaluate`: any method on any benchmark set, with any encoder."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

METHODS = "pointclip,pointclip_v2,clip2point_without_pretraining,clip2point"
SETS = Path("data/benchmarks")


def add_to(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser("evaluate", help="any method on any benchmark set", description=__doc__)
    parser.add_argument(
        "encoder",
        nargs="?",
        type=Path,
        default=Path("models/depth_encoder"),
        metavar="ENCODER_FOLDER",
        help="depth encoder in open_clip's local-dir layout (models/depth_encoder)",
    )
    parser.add_argument(
        "--set", dest="dataset", required=True, metavar="NAME_OR_FILE", help=f"a set of {SETS}, or a file like them"
    )
    parser.add_argument(
        "--methods", default=METHODS, help=f"slugs with commas between them ({METHODS}); `list` prints them all"
    )
    parser.add_argument(
        "--shots", default="0", help="training objects a class, e.g. 0,1,16,all; 0: zero-shot, all: all there are (0)"
    )
    parser.add_argument("--seeds", default="0", help="of subsets and initial weights, e.g. 0,1,2 (0)")
    parser.add_argument("--clip", type=Path, default=Path("models/clip"), help="folder of the CLIP (models/clip)")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), help="depth maps, views, recipes")
    parser.add_argument("--cache", type=Path, default=Path(".c2p/evaluation"), help="features (.c2p/evaluation)")
    parser.add_argument("--workers", type=int, help="processes on a CPU (C2P_WORKERS, else all cores)")
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="write the metrics here too")
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    """Print a table of accuracies, and write them as JSON where a file is named; 1: a process was killed."""
    if options.methods == "list":
        print(_listing())
        return 0
    shots, seeds, path = parse_shots(options.shots), parse_seeds(options.seeds), find_set(options.dataset)
    from concurrent.futures.process import BrokenProcessPool

    from c2p.data.files import write_json
    from c2p.evaluation.evaluate import evaluate, undefined
    from c2p.models.device import compute_device
    from c2p.params import load
    from c2p.workers import worker_count

    slugs = list(dict.fromkeys(slug.strip() for slug in options.methods.split(",") if slug.strip()))
    if not slugs:
        raise ValueError("--methods: got nothing; allowed: slugs with commas between them, `list` prints them all")
    device = str(compute_device())
    workers = worker_count() if options.workers is None else options.workers
    if workers < 1:
        raise ValueError(f"--workers: got {workers}; allowed: a whole number of at least 1")
    try:
        metrics = evaluate(
            load(options.params),
            path,
            encoder=options.encoder,
            clip_dir=options.clip,
            slugs=slugs,
            shots=shots,
            seeds=seeds,
            cache=options.cache,
            device=device,
            map_=partial(_work, workers=1 if device.startswith("cuda") else workers),
        )
    except BrokenProcessPool:
        told = "a process was killed, often for lack of memory; what was finished is kept: run again with --workers 1"
        print(f"c2p: {told}", file=sys.stderr)
        return 1
    print("\n".join(table(path.stem, metrics)))
    if absent := undefined(slugs, shots):
        print(f"Not defined {'; '.join(absent)}.")
    if options.out is not None:
        write_json(options.out, metrics)
    return 0


def parse_shots(text: str) -> list[int | None]:
    """Numbers of training objects a class; None: all.

    Raises ValueError: something else.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(part == "all" or part.isdecimal() for part in parts):
        raise ValueError(f"--shots: got {text!r}; allowed: whole numbers and `all` with commas between them, e.g. 0,16")
    return list(dict.fromkeys(None if part == "all" else int(part) for part in parts))


def parse_seeds(text: str) -> list[int]:
    """Different whole numbers.

    Raises ValueError: something else.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and int(part) < 2**32 for part in parts):
        raise ValueError(
            f"--seeds: got {text!r}; allowed: whole numbers below 2^32 with commas between them, e.g. 0,1,2"
        )
    return list(dict.fromkeys(map(int, parts)))


def find_set(name: str) -> Path:
    """The benchmark file of a name below data/benchmarks, or the file itself.

    Raises ValueError: there is none.
    """
    path = Path(name) if name.endswith(".parquet") or os.sep in name else SETS / f"{name}.parquet"
    if path.is_file():
        return path
    made = ", ".join(sorted(file.stem for file in SETS.glob("*.parquet"))) or "none"
    raise ValueError(
        f"--set: {path}: no such set; made here: {made}; make those of download.benchmarks with `dvc repro benchmarks`"
    )


def table(dataset: str, metrics: dict[str, Any]) -> list[str]:
    """Lines of the table: a row a method and number of shots."""
    from c2p.evaluation.evaluate import label

    sizes = metrics["set"]
    head = ("method", "shots", "top-1", "95 % interval", "class mean", "seeds")
    rows = [head]
    for shots, by_slug in metrics["shots"].items():
        for slug, found in by_slug.items():
            spread = f" ± {found['std']:.2f}" if "std" in found else ""
            low, high = found["interval"]
            top1, interval = f"{found['mean']:.2f}{spread}", f"{low:.2f} to {high:.2f}"
            seeds = str(len(found.get("seeds", ())) or "–")
            rows.append((label(slug, shots), shots, top1, interval, f"{found['class_mean']:.2f}", seeds))
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))])
        for row in rows
    ]
    title = f"{dataset}: {sizes['test']} test objects in {sizes['classes']} classes, chance {sizes['chance']:.2f} %"
    return [title, *lines]


def _listing() -> str:
    from c2p.evaluation.methods import pick, slugs

    lines = []
    for slug in slugs():
        for learns in (False, True):
            if method := pick(slug, learns=learns):
                shots = "1, 2, ..., all" if learns else "0"
                lines.append(f"{slug:<32} shots {shots:<15} {method.label}")
    return "\n".join(lines)


def _work(
    function: Callable[[Any], Any], jobs: Sequence[Any], *, workers: int, names: Sequence[str] | None = None
) -> list[Any]:
    """Run jobs in processes, with a progress bar on a terminal."""
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    from tqdm import tqdm

    bar = partial(tqdm, total=len(jobs), disable=None, leave=False, desc=(names or [""])[0].split(" ")[0])
    if workers == 1 or len(jobs) == 1:
        return list(bar(map(function, jobs)))
    pool = ProcessPoolExecutor(min(workers, len(jobs)), mp_context=multiprocessing.get_context("spawn"))
    try:
        return list(bar(pool.map(function, jobs)))
    finally:
        pool.shutdown(cancel_futures=True)
