"""The `c2p` command."""

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

DESCRIPTION = "From 3D meshes to a depth encoder that speaks CLIP's language."
EPILOG = (
    "The pipeline itself runs by `make demo`, `dvc repro` or the Prefect deployment `pretrain-pipeline`; see README.md."
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code: 0, 2 for what the user gave, 1 for a failure."""
    options = build_parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    try:
        code = int(options.command(options) or 0)
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # the reader, `head` say, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ValueError, OSError) as error:
        print(f"c2p: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def build_parser() -> argparse.ArgumentParser:
    """The command's grammar; imports nothing heavy."""
    from c2p.commands import (
        classify,
        data,
        doctor,
        evaluate,
        export,
        history,
        profile,
        push,
        render,
        report,
        retrieve,
        scene,
        shards,
        store,
        tables,
    )

    parser = argparse.ArgumentParser("c2p", description=DESCRIPTION, epilog=EPILOG)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for module in (
        *(profile, doctor, data, shards, store, render),
        *(classify, retrieve, scene, evaluate, history, tables, report, export, push),
    ):
        module.add_to(commands)
    return parser


def project_root() -> Path:
    """The current folder, which has to be the project's.

    Raises ValueError: it is not.
    """
    root = Path.cwd()
    if not (root / "dvc.yaml").is_file():
        raise ValueError(f"{root}: no dvc.yaml here; go to the project's folder and run the command again")
    return root


if __name__ == "__main__":
    sys.exit(main())
