"""`c2p store`: what the content-keyed store of finished pieces holds, and removing what nobody needs."""

import argparse
import os
from pathlib import Path
from typing import Any

DAYS = 7.0


def add_to(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser("store", help="count or prune the store of finished pieces", description=__doc__)
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    for name, function, text in (
        ("list", run_list, "what the store holds, and what of it may go"),
        ("prune", run_prune, "remove pieces that no output links to and no run has asked for in some days"),
    ):
        action = actions.add_parser(name, help=text, description=f"{text}.")
        action.add_argument("--days", type=float, default=DAYS, help=f"days without use ({DAYS:g})")
        action.set_defaults(command=function)


def run_list(options: argparse.Namespace) -> None:
    """Print a row for every kind of piece."""
    from c2p.data.pruning import survey

    print(f"{'':<14}{'files':>8}{'MB':>12}{'may go':>10}{'MB':>12}")
    for row in survey(*_places(options), days=options.days):
        print(f"{row.name:<14}{row.files:>8}{row.size / 1e6:>12.1f}{row.free_files:>10}{row.free_size / 1e6:>12.1f}")


def run_prune(options: argparse.Namespace) -> None:
    """Remove what may go and say how much."""
    from c2p.data.pruning import prune

    count, size = prune(*_places(options), days=options.days)
    print(f"{count} files removed, {size / 1e6:.1f} MB")


def _places(options: argparse.Namespace) -> tuple[Path, Path]:
    """The project's folder and its store."""
    from c2p.cli import project_root
    from c2p.data.places import is_url, to_path

    root, address = project_root(), os.environ.get("C2P_STORE", "")
    if not 0 <= options.days < float("inf"):
        raise ValueError(f"--days: got {options.days}; allowed: a number of at least 0")
    if is_url(address):
        raise ValueError(f"C2P_STORE: got {address}; only a folder can be pruned: give the bucket a rule that expires")
    return root, root / (to_path(address) if address else ".c2p/store")
