"""`c2p export`: the depth encoder and its text tower as ONNX files, held against PyTorch."""

import argparse
from pathlib import Path
from typing import Any


def add_to(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser("export", help="write the encoder as ONNX", description=__doc__)
    parser.add_argument(
        "--encoder", type=Path, default=Path("models/depth_encoder"), help="folder (models/depth_encoder)"
    )
    parser.add_argument("--out", type=Path, default=Path("model.onnx"), help="file to write (model.onnx)")
    parser.add_argument(
        "--what",
        choices=("visual", "text", "both"),
        default="visual",
        help="tower; both: OUT with -visual and -text before its ending (visual)",
    )
    parser.add_argument(
        "--tolerance", type=float, default=1e-3, help="largest difference between features that is borne (0.001)"
    )
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    """Write the files; exit code 1 if one does not compute what PyTorch does."""
    import sys

    if not 0 <= options.tolerance < float("inf"):
        raise ValueError(f"--tolerance: got {options.tolerance}; allowed: a finite number of at least 0")
    if options.out.suffix != ".onnx":
        raise ValueError(f"--out: got {options.out}; allowed: a file name that ends in .onnx")
    _need_export()
    from c2p.models.clip import load_clip
    from c2p.models.onnx import ExportError, What, export_onnx

    clip = load_clip(options.encoder)
    towers: tuple[What, ...] = ("visual", "text") if options.what == "both" else (options.what,)
    for what in towers:
        out = options.out
        path = out.with_name(f"{out.stem}-{what}{out.suffix}") if options.what == "both" else out
        try:
            made = export_onnx(clip, what, path, tolerance=options.tolerance)
        except ExportError as error:
            print(f"c2p: {error}", file=sys.stderr)
            return 1
        print(f"{made.path}: {made.inputs} -> features (N, {clip.width}), {made.path.stat().st_size / 1e6:.1f} MB")
        print(f"  largest difference from PyTorch {made.difference:.2e} (features up to {made.largest:.2f})")
    return 0


def _need_export() -> None:
    from importlib.util import find_spec

    missing = [name for name in ("onnx", "onnxruntime", "onnxscript") if find_spec(name) is None]
    if missing:
        raise ValueError(f"{', '.join(missing)} not installed: pip install -c constraints.txt -e '.[export]'")
