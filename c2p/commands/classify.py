"""`c2p classify`: name meshes or point clouds in words of your own."""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from c2p.data.shapes import Shape
    from c2p.evaluation.classify import Classified

ENCODERS = {"clip2point": "models/depth_encoder", "cg3d": "models/cg3d"}
"""Where the pipeline puts the encoders of each model."""
PICTURE = "classify.png"
BARS = 12
"""Labels in a picture where --top does not say."""


def add_to(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser("classify", help="zero-shot classification of meshes or clouds", description=__doc__)
    parser.add_argument(
        "files",
        nargs="+",
        metavar="FILE",
        help="mesh (off, obj, glb, ply, stl), cloud (npy, npz, ply, xyz, txt, pts, h5), FILE.h5:3 for a cloud of "
        "several, or ARCHIVE.zip:MEMBER",
    )
    parser.add_argument(
        "--labels", required=True, help="names with commas between them, e.g. chair,table,lamp; or @FILE, one a line"
    )
    parser.add_argument("--up", choices=("y", "z"), default="y", help="up axis of the files (y)")
    parser.add_argument("--top", type=int, metavar="N", help="show the N most probable labels only")
    parser.add_argument(
        "--show",
        nargs="?",
        const=PICTURE,
        metavar="FILE.png",
        help=f"draw what the encoder saw, with the probabilities ({PICTURE})",
    )
    parser.add_argument("--json", action="store_true", help="print JSON: probabilities and cosines")
    add_encoder_options(parser)
    parser.set_defaults(command=run)


def add_encoder_options(parser: Any, *, model: str = "clip2point") -> None:
    """Options of commands that use an encoder; model: whose, where the options name none."""
    parser.add_argument(
        "--model",
        choices=tuple(ENCODERS),
        default=model,
        help=f"whose encoder where --encoder names none: depth maps' or points' ({model})",
    )
    parser.add_argument(
        "--encoder",
        metavar="FOLDER",
        help="depth encoder, a folder or hf-hub:OWNER/NAME, or 3D encoder, a folder of its own or of all seeds "
        "(models/depth_encoder; with --model cg3d: models/cg3d, the best seed)",
    )
    parser.add_argument(
        "--teacher",
        metavar="FOLDER",
        help="CLIP of the encoder, for pictures and for 3D encoders: folder or hf-hub:OWNER/NAME (that beside it)",
    )
    parser.add_argument(
        "--params",
        type=Path,
        help="parameters that say how shapes are drawn (those that lie beside the encoder's weights)",
    )


def encoder_place(options: argparse.Namespace) -> str:
    """The encoder that the options name."""
    return str(options.encoder or ENCODERS[options.model])


def picture_name(option: str, text: str, endings: tuple[str, ...]) -> Path:
    """The file to write a picture to.

    Raises ValueError: another ending, as where a mesh's name followed the option.
    """
    path = Path(text)
    if path.suffix.lower() not in endings:
        raise ValueError(f"{option}: got {text!r}; allowed: a name that ends in {' or '.join(endings)}")
    if path.is_dir() or not path.parent.is_dir():
        raise ValueError(f"{option}: {text}: a folder, or in a folder that is not there")
    return path


def run(options: argparse.Namespace) -> None:
    """Print each file's labels with their probabilities, best first."""
    from c2p.evaluation.labels import read_labels

    if options.top is not None and options.top < 1:
        raise ValueError(f"--top: got {options.top}; allowed: at least 1")
    out = picture_name("--show", options.show, (".png",)) if options.show else None
    labels = read_labels(options.labels)
    shapes = _open(options)  # before PyTorch, which takes seconds: slips are told at once
    from c2p.encoder import load
    from c2p.evaluation.classify import classification_sheet, classify_shapes

    encoder = load(encoder_place(options), settings=options.params, teacher=options.teacher)
    results = classify_shapes(encoder, shapes, labels)
    top = options.top or len(labels)
    if options.json:
        print(json.dumps([result.record(top) for result in results], indent=2, ensure_ascii=False))
    else:
        for result in results:
            _print(result, top)
    if out:
        from c2p.data.files import write_atomic

        write_atomic(out, classification_sheet(results, encoder, top=options.top or BARS).save)
        print(f"{out}: views, depth maps and probabilities", file=sys.stderr if options.json else sys.stdout)


def _open(options: argparse.Namespace) -> "list[Shape]":
    from c2p.data.shapes import open_shape
    from c2p.models.encoder_folder import find_folder, find_preprocessing

    settings = find_preprocessing(find_folder(encoder_place(options)), options.params).render
    return [open_shape(address, settings, up=options.up) for address in options.files]


def _print(result: "Classified", top: int) -> None:
    print(result.shape.name)
    order = result.order(top)
    width = max(len(result.labels[k]) for k in order)
    for k in order:
        share = result.probabilities[k]
        print(f"  {result.labels[k]:<{width}} {100 * share:5.1f} %  {'#' * round(30 * share)}".rstrip())
