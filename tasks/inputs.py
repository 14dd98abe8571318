"""A stage that DVC started although an input is absent: `dvc repro -f --allow-missing` does that, fetching nothing."""

import os
from pathlib import Path

import yaml


def check_inputs(root: Path) -> None:
    """Look for what dvc.yaml names as inputs of the stage that DVC runs in this process, if DVC runs one.

    Raises ValueError: one isn't there; the stage would make an output without it, and DVC record that.
    """
    name = os.environ.get("DVC_STAGE", "").partition("@")[0]
    if not name:
        return
    graph = yaml.safe_load((root / "dvc.yaml").read_text(encoding="utf-8"))
    inputs = graph["stages"].get(name, {}).get("deps", [])
    absent = [path for path in inputs if not (root / path).exists()]
    if absent:
        raise ValueError(
            f"{name}: {', '.join(absent)} is not here; fetch it with `dvc pull {' '.join(absent)}`, or run dvc repro "
            "without -f, which fetches what it needs"
        )
