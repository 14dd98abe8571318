"""`c2p classify`: name a mesh or a point cloud in words of your own."""

import argparse
from pathlib import Path
from typing import Any


def add_to(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser("classify", help="zero-shot classification of meshes or clouds", description=__doc__)
    parser.add_argument(
        "files", nargs="+", metavar="FILE", help="mesh, ARCHIVE.zip:MEMBER, or .npy cloud of shape (P, 3)"
    )
    parser.add_argument("--labels", required=True, help="comma-separated names, e.g. chair,table,lamp")
    parser.add_argument("--up", choices=("y", "z"), default="y", help="up axis of the files (y)")
    parser.add_argument(
        "--encoder", type=Path, default=Path("models/depth_encoder"), help="folder (models/depth_encoder)"
    )
    parser.add_argument(
        "--params", type=Path, default=Path("params.yaml"), help="depth and view settings (params.yaml)"
    )
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> None:
    """Print each file's labels with their probabilities, best first."""
    from c2p.evaluation.classify import classify_clouds, load_cloud
    from c2p.models.clip import load_clip
    from c2p.params import load

    labels = [label.strip() for label in options.labels.split(",") if label.strip()]
    if len(labels) < 2:
        raise ValueError(f"--labels: got {options.labels!r}; allowed: at least two names with commas between them")
    params = load(options.params)
    clouds = [load_cloud(path, params, up=options.up) for path in options.files]
    shares = classify_clouds(clouds, labels, load_clip(options.encoder), params)
    width = max(len(label) for label in labels)
    for path, row in zip(options.files, shares, strict=True):
        print(path)
        for share, label in sorted(zip(row, labels, strict=True), reverse=True):
            print(f"  {label:<{width}} {100 * share:5.1f} %  {'#' * round(30 * share)}")
