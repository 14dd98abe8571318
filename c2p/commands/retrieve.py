"""`c2p retrieve`: find shapes in a folder or archive by a text, by another shape, or by a picture."""

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from c2p.commands.classify import add_encoder_options, encoder_place, picture_name

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

    from c2p.data.shapes import Shape
    from c2p.encoder import Encoder
    from c2p.evaluation.retrieval import Collection, Found
    from c2p.models.preprocessing import Preprocessing

PICTURE = "gallery.png"
NAMED = 10
"""Unusable shapes that are named; --json names them all."""


def add_to(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser("retrieve", help="find shapes by text, shape or picture", description=__doc__)
    parser.add_argument("text", nargs="?", metavar="TEXT", help='what to look for, e.g. "an armchair"')
    parser.add_argument(
        "--in", dest="place", required=True, type=Path, metavar="PLACE", help="folder, zip or tar of meshes and clouds"
    )
    parser.add_argument("--shape", metavar="FILE", help="look for shapes like this mesh or cloud")
    parser.add_argument("--image", metavar="FILE", help="look for what a picture shows; wants the encoder's teacher")
    parser.add_argument("--up", choices=("y", "z"), default="y", help="up axis of the files (y)")
    parser.add_argument("--shape-up", choices=("y", "z"), help="up axis of the file of --shape (that of --up)")
    parser.add_argument("--top", type=int, default=10, metavar="N", help="results (10)")
    parser.add_argument(
        "--show", nargs="?", const=PICTURE, metavar="FILE", help=f"draw the results, as .png or .html ({PICTURE})"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "--index", type=Path, metavar="FILE", help="where features are kept (.c2p/retrieval here, by content)"
    )
    add_encoder_options(parser)
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    """Print rank, cosine and name of the nearest shapes; exit code 1 if a process that reads was killed."""
    _check(options)
    out = picture_name("--show", options.show, (".png", ".html")) if options.show else None
    from c2p.data.shapereading import ReadersDied
    from c2p.models.encoder_folder import find_folder, find_preprocessing, find_teacher

    place = encoder_place(options)
    folder = find_folder(place)
    settings = find_preprocessing(folder, options.params)
    query = _open_query(options, settings)

    @cache
    def encoder() -> "Encoder":
        from c2p.encoder import load  # PyTorch takes seconds: processes read shapes meanwhile

        return load(folder, settings=options.params, teacher=options.teacher or find_teacher(place))

    try:
        collection = _collection(options, folder, settings, encoder)
    except ReadersDied as error:
        print(f"c2p: {error}", file=sys.stderr)
        return 1
    from c2p.evaluation.retrieval import rank

    found = rank(collection, _feature(encoder(), query), options.top)
    _print(options, collection, found)
    if out:
        _draw(out, options, settings, query, collection, found)
        print(f"{out}: the query and {len(found)} results", file=sys.stderr if options.json else sys.stdout)
    return 0


def _check(options: argparse.Namespace) -> None:
    given = [value for value in (options.text, options.shape, options.image) if value is not None]
    if len(given) != 1 or not given[0].strip():
        raise ValueError(f"query: got {len(given)} of TEXT, --shape and --image; allowed: exactly one, not empty")
    if options.top < 1:
        raise ValueError(f"--top: got {options.top}; allowed: at least 1")
    if options.index is not None and (options.index.is_dir() or not options.index.absolute().parent.is_dir()):
        raise ValueError(
            f"--index: {options.index}: a folder, or in a folder that is not there; allowed: a file's name"
        )


def _open_query(options: argparse.Namespace, settings: "Preprocessing") -> "str | Shape | Image":
    if options.shape is not None:
        from c2p.data.shapes import open_shape

        return open_shape(options.shape, settings.render, up=options.shape_up or options.up)
    if options.image is not None:
        from c2p.models.photographs import read_photograph

        return read_photograph(options.image)
    return str(options.text)


def _collection(
    options: argparse.Namespace, folder: Path, settings: "Preprocessing", encoder: Callable[[], "Encoder"]
) -> "Collection":
    """The shapes to search with their features; those that were not known are encoded."""
    from c2p.data.pruning import touch
    from c2p.data.shapereading import Reading
    from c2p.evaluation import retrieval
    from c2p.workers import worker_count

    key = retrieval.index_key(folder, settings, options.up)
    path = options.index or retrieval.default_path(key, Path(".c2p"))
    index = retrieval.read_index(path, key)
    reading = Reading(settings.render, settings.sample.points, options.up)
    with _progress() as advance:
        collection = retrieval.search_ready(
            options.place,
            index,
            reading,
            lambda: lambda clouds: encoder().encode_points(clouds, normalise=False),
            workers=worker_count(),
            advance=advance,
        )
    if path.exists():
        touch(path)  # what is asked for is kept by `c2p store prune`
    if not collection.addresses:
        address, reason = collection.unusable[0]
        number = len(collection.unusable)
        raise ValueError(f"{options.place}: no usable shape among {number}, e.g. {collection.name(address)}: {reason}")
    return collection


def _feature(encoder: "Encoder", query: "str | Shape | Image") -> "np.ndarray":
    from c2p.data.shapes import Shape

    if isinstance(query, str):
        return encoder.encode_text(query)[0]
    if isinstance(query, Shape):
        return encoder.encode_points(query.points)[0]
    return encoder.encode_images(query)[0]


def _print(options: argparse.Namespace, collection: "Collection", found: "list[Found]") -> None:
    unusable = [{"file": collection.name(address), "reason": reason} for address, reason in collection.unusable]
    if options.json:
        results = [{"rank": hit.rank, "cosine": hit.cosine, "file": collection.name(hit.address)} for hit in found]
        told = {"shapes": len(collection.addresses), "encoded": collection.encoded, "unusable": unusable}
        print(json.dumps({"query": _title(options), **told, "results": results}, indent=2, ensure_ascii=False))
        return
    for hit in found:
        print(f"{hit.rank:4} {hit.cosine:7.3f}  {collection.name(hit.address)}")
    for row in unusable[:NAMED]:
        print(f"not used: {row['file']}: {row['reason']}", file=sys.stderr)
    if len(unusable) > NAMED:
        print(f"not used: {len(unusable) - NAMED} more; --json names them all", file=sys.stderr)
    print(_note(collection), file=sys.stderr)


def _note(collection: "Collection") -> str:
    known = f"{len(collection.addresses):,} shapes in {collection.place}"
    unusable = f", {len(collection.unusable):,} that can't be used" if collection.unusable else ""
    return f"{known}{unusable}; {collection.encoded:,} read now"


def _title(options: argparse.Namespace) -> str:
    return str(options.text or options.shape or options.image)


def _draw(
    out: Path,
    options: argparse.Namespace,
    settings: "Preprocessing",
    query: "str | Shape | Image",
    collection: "Collection",
    found: "list[Found]",
) -> None:
    from c2p.data.files import write_atomic, write_text
    from c2p.data.shapes import Shape, open_shape
    from c2p.evaluation import search_gallery as gallery
    from c2p.evaluation.portraits import shape_views, thumbnail

    views, render = settings.zeroshot.views, settings.render
    hits, shown = [], None
    for hit in found:
        shape = open_shape(hit.address, render, up=options.up)
        pictures = shape_views(shape, render, views, gallery.TILE)
        hits.append(gallery.Hit(hit.rank, hit.cosine, collection.name(hit.address), pictures))
    if isinstance(query, Shape):
        shown = shape_views(query, render, views, gallery.TILE)
    elif not isinstance(query, str):
        shown = thumbnail(query, gallery.QUERY_TILE)[None]
    asked = gallery.Query(_title(options), shown)
    note = f"{len(found)} nearest of {len(collection.addresses):,} shapes in {collection.place}"
    if out.suffix.lower() == ".html":
        write_text(out, gallery.gallery_page(asked, hits, note))
    else:
        write_atomic(out, gallery.gallery_sheet(asked, hits, note).save)


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None]]:
    """A bar on a terminal."""
    if not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from tqdm import tqdm

    with tqdm(desc="shapes", unit="shape", leave=False) as bar:

        def advance(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield advance
