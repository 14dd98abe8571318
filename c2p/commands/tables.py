"""`c2p tables`: print the result tables."""

import argparse
from typing import Any


def add_to(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser("tables", help="print the result tables", description=__doc__)
    parser.add_argument(
        "numbers", nargs="*", type=int, choices=range(1, 6), metavar="N", help="tables 1 to 5; all if absent"
    )
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> None:
    """Print results/table<N>.md."""
    from c2p.cli import project_root

    folder = project_root() / "results"
    for number in options.numbers or range(1, 6):
        path = folder / f"table{number}.md"
        if not path.is_file():
            raise ValueError(f"{path}: no such table; build it with `dvc repro tables`")
        print(path.read_text(encoding="utf-8"))
