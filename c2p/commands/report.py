"""`c2p report`: the report with the seconds and memory of every stage's last run on this machine."""

import argparse
from pathlib import Path
from typing import Any


def add_to(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser("report", help="write the report with timings of this machine", description=__doc__)
    parser.add_argument("--out", type=Path, metavar="FILE", help="where to (.c2p/report.html)")
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> None:
    """Fill results/report.html with the timings below .c2p/timings and say where it lies."""
    from c2p.cli import project_root
    from c2p.data.files import write_text
    from c2p.evaluation.timetable import fill_timings
    from c2p.timings import read_timings

    root = project_root()
    page = root / "results" / "report.html"
    if not page.is_file():
        raise ValueError(f"{page}: no such report; build it with `dvc repro tables`")
    out = options.out or root / ".c2p" / "report.html"
    if out.resolve() == page.resolve():
        raise ValueError(f"--out: got {out}, which belongs to the stage tables; name another file")
    print(write_text(out, fill_timings(page.read_text(encoding="utf-8"), read_timings(root))))
