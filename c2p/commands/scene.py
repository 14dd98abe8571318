"""`c2p scene`: cut a scene's cloud into segments, name them in words of your own, and light up what a text means."""

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from c2p.commands.classify import add_encoder_options, encoder_place, picture_name

if TYPE_CHECKING:
    import numpy as np

    from c2p.evaluation.scene_search import Search
    from c2p.evaluation.scene_segments import Clustering

PICTURE = "scene.html"
CHOSEN = Path("data/cg3d_scenes")
"""Where the stage leaves the clustering it chose."""
TURNS = 8


def add_to(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "scene", help="segments of a scene cloud, named and found by text", description=__doc__
    )
    parser.add_argument("file", metavar="FILE", help="cloud (npy, npz, ply, xyz, txt, pts, h5), or FILE.h5:3")
    parser.add_argument(
        "--labels", required=True, help="names with commas between them, e.g. chair,table,lamp; or @FILE, one a line"
    )
    parser.add_argument(
        "--query",
        action="append",
        default=[],
        metavar="TEXT",
        help="light up what fits it better than every label; repeatable",
    )
    parser.add_argument("--up", choices=("y", "z"), default="y", help="up axis of the file (y)")
    parser.add_argument(
        "--floor", choices=("auto", "none"), default="auto", help="look for a floor and set it aside (auto)"
    )
    parser.add_argument(
        "--method", choices=("hdbscan", "dbscan"), help=f"clustering (as chosen in {CHOSEN}, else hdbscan)"
    )
    parser.add_argument("--reach", type=float, help="radius of dbscan, in spacings of the points (the same, else 2)")
    parser.add_argument("--neighbours", type=int, help="points of a dense neighbourhood (the same, else 4)")
    parser.add_argument(
        "--turns", type=int, default=TURNS, help=f"turns at which a segment is encoded, the best counts ({TURNS})"
    )
    parser.add_argument(
        "--show",
        nargs="?",
        const=PICTURE,
        metavar="FILE",
        help=f"draw it: .html to turn and search, or .png ({PICTURE})",
    )
    parser.add_argument("--json", action="store_true", help="print JSON: every label and query of every segment")
    add_encoder_options(parser, model="cg3d")
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> None:
    """Print each segment with its likeliest names, and what every query lights up."""
    from c2p.evaluation.labels import read_labels

    out = picture_name("--show", options.show, (".html", ".png")) if options.show else None
    if options.turns < 1:
        raise ValueError(f"--turns: got {options.turns}; allowed: at least 1")
    labels, queries = read_labels(options.labels), _queries(options.query)
    points = _points(options)  # before PyTorch, which takes seconds: slips are told at once
    clustering = _clustering(options)
    from c2p.encoder import load
    from c2p.evaluation.scene_search import search_scene

    found = search_scene(
        points,
        load(encoder_place(options), settings=options.params, teacher=options.teacher),
        title=options.file,
        labels=labels,
        queries=queries,
        clustering=clustering,
        floor=options.floor == "auto",
        turns=options.turns,
    )
    if options.json:
        print(json.dumps(found.record(), indent=2, ensure_ascii=False))
    else:
        _print(found)
    if out:
        _draw(out, found)
        print(f"{out}: {found.segments} segments", file=sys.stderr if options.json else sys.stdout)


def _queries(texts: list[str]) -> list[str]:
    plain = [text.strip() for text in texts]
    if not all(plain):
        raise ValueError("--query: got an empty text; allowed: words")
    return list(dict.fromkeys(plain))


def _points(options: argparse.Namespace) -> "np.ndarray":
    from c2p.data.shapes import open_shape
    from c2p.models.encoder_folder import find_folder, find_preprocessing

    settings = find_preprocessing(find_folder(encoder_place(options)), options.params)
    shape = open_shape(options.file, settings.render, up=options.up)
    if shape.mesh is not None:
        raise ValueError(f"{options.file}: a mesh; allowed: a cloud (npy, npz, ply without faces, xyz, txt, pts, h5)")
    return shape.points


def _clustering(options: argparse.Namespace) -> "Clustering":
    from c2p.evaluation.scene_segments import Clustering, chosen_clustering

    given = {name: getattr(options, name) for name in ("method", "reach", "neighbours")}
    known = chosen_clustering(CHOSEN) or Clustering()
    return replace(known, **{name: value for name, value in given.items() if value is not None})


def _print(found: "Search") -> None:
    record = found.record()
    none = record["without_segment"]
    told = f", {none:,} in no segment" if none else ""
    print(f"{record['file']}: {record['points']:,} points, {record['floor']:,} on the floor{told}")
    width = max(len(segment["labels"][0]["label"]) for segment in record["segments"])
    for segment in record["segments"]:
        best, *others = segment["labels"][:3]
        rest = ", ".join(f"{label['label']} {100 * label['probability']:.0f} %" for label in others)
        print(
            f"  {segment['segment']:3}  {segment['points']:8,} points  {best['label']:<{width}} "
            f"{100 * best['probability']:5.1f} %   {rest}"
        )
    for query in record["queries"]:
        lit = ", ".join(f"{m} ({100 * query['scores'][m - 1]:.0f} %)" for m in query["segments"]) or "nothing"
        print(f"  “{query['text']}” lights up {lit}: {query['points']:,} points")


def _draw(out: Path, found: "Search") -> None:
    from c2p.data.files import write_atomic, write_text

    if out.suffix.lower() == ".html":
        from c2p.evaluation.scene_view import scene_page

        note = "Each segment's likeliest names. A name, or a text above, lights up what fits it best."
        write_text(out, scene_page([found.shown], found.words, title=Path(found.shown.title).name, note=note))
        return
    from c2p.evaluation.scene_picture import search_sheet

    sheet = search_sheet(found.shown, found.words)
    write_atomic(out, lambda path: sheet.save(path, "PNG"))
