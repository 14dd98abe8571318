"""`c2p history`: what every evaluated checkpoint reached, from metrics/history.parquet."""

import argparse
from pathlib import Path
from typing import Any

FILE = Path("metrics/history.parquet")


def add_to(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser("history", help="accuracy of every evaluated checkpoint", description=__doc__)
    parser.add_argument("--file", type=Path, default=FILE, help=f"the history ({FILE})")
    parser.add_argument("--set", dest="dataset", metavar="NAME", help="this benchmark set alone")
    parser.add_argument("--last", type=int, metavar="N", help="the last N rows alone")
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="draw them there too")
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> None:
    """Print the rows as a table, oldest first."""
    from c2p.evaluation.history import format_history, read_history

    if options.last is not None and options.last < 1:
        raise ValueError(f"--last: got {options.last}; allowed: a whole number of at least 1")
    rows = read_history(options.file)
    if not rows:
        raise ValueError(f"{options.file}: no history; `python -m flows.reevaluate` begins one")
    sets = sorted({row["dataset"] for row in rows})
    if options.dataset is not None and options.dataset not in sets:
        raise ValueError(f"--set: got {options.dataset!r}; allowed: {', '.join(sets)}")
    shown = [row for row in rows if options.dataset in (None, row["dataset"])][-(options.last or len(rows)) :]
    print("\n".join(format_history(shown)))
    if options.plot is not None:
        from c2p.evaluation.trend import draw_trend

        draw_trend(options.plot, shown)
