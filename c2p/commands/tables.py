"""`c2p tables`: the result tables, from whatever metrics there are."""

import argparse
import sys
from pathlib import Path
from typing import Any

CG3D = ("cg3d_zeroshot", "cg3d_retrieval", "cg3d_ablations", "cg3d_finetune", "cg3d_scenes")
NAMES = ("1", "2", "3", "4", "5", "text", "shots", *CG3D)


def add_to(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser("tables", help="print the result tables", description=__doc__)
    parser.add_argument(
        "names",
        nargs="*",
        type=_name,
        metavar="NAME",
        help="1 to 5, text (the text's controls), shots (accuracy against shots), cg3d_zeroshot and the others of "
        "CG3D; all if absent",
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="write all of them there, .md and .csv, and cells.csv")
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> None:
    """Build the tables from metrics/, print them, and say which stages have not run."""
    from c2p.cli import project_root
    from c2p.evaluation.cells import stage_of
    from c2p.evaluation.contents import build_cells
    from c2p.evaluation.results import PROTOCOLS, dataset_names, read_metrics
    from c2p.evaluation.tables import build_tables, markdown, write_tables
    from c2p.params import load

    root = project_root()
    settings, metrics = load(root / "params.yaml"), read_metrics(root / "metrics")
    if not metrics:
        raise ValueError(f"{root / 'metrics'}: no metrics; make them with `dvc repro`")
    benchmarks = sorted((root / "data" / "benchmarks").glob("*.parquet"))
    names = dataset_names(settings, benchmarks, metrics)
    cells = build_cells(settings, metrics, names)
    for table in build_tables(settings, cells, names):
        if table.layout.table in (options.names or NAMES):
            print(markdown(table))
    if options.out:
        write_tables(options.out, settings, cells, names)
    for name in PROTOCOLS:
        if name not in metrics:
            print(f"c2p: there is no metrics/{name}.json: run `dvc repro {stage_of(name)}`", file=sys.stderr)


def _name(text: str) -> str:
    if text not in NAMES:
        raise argparse.ArgumentTypeError(f"got {text!r}; allowed: {', '.join(NAMES)}")
    return text
