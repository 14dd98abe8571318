"""`c2p doctor`: what is installed, which renderer and device will serve, which data are present."""

import argparse
import importlib.util
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = (
    "torch",
    "torchvision",
    "open_clip_torch",
    "prefect",
    "dvc",
    "trimesh",
    "embreex",
    "numba",
    "pyarrow",
    "webdataset",
    "h5py",
)

NEEDED_RENDERERS = {"raster": "numba", "embree": "embreex"}
"""Backends that every installation has, and the packages they stand on."""


def add_to(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser("doctor", help="what is installed and which data are present", description=__doc__)
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    """Print the findings; exit code 1 if something needed is missing."""
    print(f"python      {platform.python_version()} on {platform.system()} {platform.machine()}")
    missing = [name for name in PACKAGES if not _print_version(name)]
    if "torch" not in missing:
        _print_device()
    _print_renderers(missing)
    root = Path.cwd()
    _print_params(root)
    for folder in ("data/raw", "data/shards", "models/clip", "models/depth_encoder", "results"):
        files = [p for p in (root / folder).rglob("*") if p.is_file()] if (root / folder).is_dir() else []
        size = sum(p.stat().st_size for p in files) / 1e6
        print(f"{folder:<22}{f'{len(files)} files, {size:.1f} MB' if files else 'absent'}")
    if missing:
        print(f"missing: {', '.join(missing)}; install with: pip install -c constraints.txt -e .")
    return 1 if missing else 0


def _print_version(name: str) -> bool:
    try:
        print(f"{name:<18}{version(name)}")
    except PackageNotFoundError:
        print(f"{name:<18}missing")
        return False
    return True


def _print_device() -> None:
    import torch

    if torch.cuda.is_available():
        memory = torch.cuda.get_device_properties(0).total_memory / 1e9
        print(f"device      {torch.cuda.get_device_name()} ({memory:.0f} GB)")
    else:
        print(f"device      CPU, {torch.get_num_threads()} threads")


def _print_renderers(missing: list[str]) -> None:
    states = {backend: "missing" if name in missing else "ready" for backend, name in NEEDED_RENDERERS.items()}
    found = importlib.util.find_spec("pytorch3d") is not None
    states["pytorch3d"] = "importable" if found else "not installed (optional)"
    states["warp"] = _warp_state() if importlib.util.find_spec("warp") is not None else "not installed (optional)"
    print("renderer    " + "; ".join(f"{backend} {state}" for backend, state in states.items()))


def _warp_state() -> str:
    from c2p.rendering import warp
    from c2p.rendering.device import RendererUnavailable

    try:
        return f"ready on {warp.device()}"
    except RendererUnavailable as error:
        return f"not usable ({error})"


def _print_params(root: Path) -> None:
    from c2p.params import ParameterError, load

    try:
        print(f"profile     {load(root / 'params.yaml').profile}")
    except ParameterError as error:
        print(f"profile     {error}")
