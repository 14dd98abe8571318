"""`c2p profile`: list, show and use parameter files."""

import argparse
from typing import Any


def add_to(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser("profile", help="list, show or use a parameter profile", description=__doc__)
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="names and first lines of the profiles")
    listing.set_defaults(command=run_list)
    show = actions.add_parser("show", help="print a profile")
    show.add_argument("name")
    show.set_defaults(command=run_show)
    use = actions.add_parser("use", help="write params.yaml from a profile and say what changes")
    use.add_argument("name")
    use.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="e.g. download.meshes=PATH; repeatable"
    )
    use.set_defaults(command=run_use)


def run_list(options: argparse.Namespace) -> None:
    """Print every profile with the first line of its comment."""
    from c2p.cli import project_root
    from c2p.profiles import names, text_of

    root = project_root()
    for name in names(root):
        print(f"{name:<8} {text_of(root, name).splitlines()[0].lstrip('# ')}")


def run_show(options: argparse.Namespace) -> None:
    """Print one profile."""
    from c2p.cli import project_root
    from c2p.profiles import text_of

    print(text_of(project_root(), options.name), end="")


def run_use(options: argparse.Namespace) -> None:
    """Put a profile in place."""
    from c2p.cli import project_root
    from c2p.profiles import use

    changed = use(project_root(), options.name, options.set)
    for line in changed:
        print(f"  {line}")
    print(f"params.yaml is now profile {options.name} ({len(changed)} values changed); run it with: dvc repro")
