"""`c2p data`: the public collections and weights: what they are, what is here, and fetching them."""

import argparse
import shutil
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from c2p.data.catalogue import COLLECTIONS, Collection, RemoteFile

_WIDEST = 110
"""Columns of running text."""


def add_to(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser("data", help="list, check or fetch the public collections", description=__doc__)
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    for name, function, text in (
        ("list", run_list, "what there is, under which terms, and what is here; with names: every file, how to get it"),
        ("check", run_check, "read what is here and compare digests; exit code 1 if something differs"),
        ("fetch", run_fetch, "fetch what is missing; without names: what params.yaml needs"),
    ):
        action = actions.add_parser(name, help=text, description=f"{text}.")
        action.add_argument("names", nargs="*", metavar="NAME", help="a collection, or collection/file")
        action.set_defaults(command=function)


def run_list(options: argparse.Namespace) -> None:
    """Print a table of the collections, or all about the named ones."""
    from c2p.data.download import Downloads, under_way

    downloads = Downloads.of(_root())
    chosen = _chosen(options.names)
    if not options.names:
        _print_table(chosen, downloads)
    else:
        arriving = {key: (done, total) for key, done, total in under_way(downloads)}
        for collection, files in chosen:
            _print_collection(collection, files, downloads, arriving)


def run_check(options: argparse.Namespace) -> int:
    """Exit code 1 if a file differs; one that is not here is no fault."""
    from c2p.data.download import Downloads, check

    downloads = Downloads.of(_root())
    found = [
        file
        for collection, files in _chosen(options.names)
        for file in (*files, *(collection.instead if len(files) == len(collection.files) else ()))
        if downloads.path(file).is_file()
    ]
    wrong = 0
    for file in found:
        verdict = check(file, downloads)
        wrong += not verdict.sound
        print(f"{'ok' if verdict.sound else 'WRONG':<6} {file.key:<44} {verdict.text}")
    print(f"{len(found)} files here: {wrong} wrong")
    return 1 if wrong else 0


def run_fetch(options: argparse.Namespace) -> None:
    """Fetch, one file after the other."""
    from c2p.data.download import Downloads, check_room, fetch_any, wanted

    root = _root()
    downloads = Downloads.of(root)
    names = options.names or _needed(root)
    if not names:
        print("params.yaml needs no download: its shapes are your own or made by c2p")
        return
    entries: list[tuple[RemoteFile, ...]] = []
    for collection, files in _chosen(names):
        whole = len(files) == len(collection.files)
        entries += wanted(collection, downloads) if whole else [(file,) for file in files]
    need = check_room(entries, downloads)
    print(f"{len(entries)} files, {_size(need) or 'nothing'} to come")
    for number, choice in enumerate(entries, 1):
        path = fetch_any(choice, downloads)
        print(f"{number}/{len(entries)} {path.relative_to(downloads.folder)} {_size(path.stat().st_size)}", flush=True)


def _root() -> Path:
    from c2p.cli import project_root

    return project_root()


def _needed(root: Path) -> list[str]:
    """Names of what params.yaml needs."""
    from c2p.data.catalogue import weights_of
    from c2p.params import load

    params = load(root / "params.yaml")
    sets = [] if params.download.source == "toy" else [params.download.source, *params.download.benchmarks]
    weights = weights_of(params.teacher.model, params.teacher.pretrained)
    return list(dict.fromkeys([name for name in sets if name in COLLECTIONS] + ([weights.name] if weights else [])))


def _chosen(names: list[str]) -> list[tuple[Collection, tuple[RemoteFile, ...]]]:
    """Collections with the files that are meant; all of them without names.

    Raises ValueError: an unknown name.
    """
    chosen = []
    for name in names or list(COLLECTIONS):
        collection = COLLECTIONS.get(name.split("/")[0])
        if collection is None:
            raise ValueError(f"{name!r}: no such collection; allowed: {', '.join(COLLECTIONS)}")
        everything = collection.files + collection.instead
        files = collection.files if "/" not in name else tuple(file for file in everything if file.key == name)
        if not files:
            raise ValueError(f"{name!r}: no such file; `c2p data list {collection.name}` shows them")
        chosen.append((collection, files))
    return chosen


def _print_table(chosen: list[tuple[Collection, tuple[RemoteFile, ...]]], downloads: Any) -> None:
    room = max(20, shutil.get_terminal_size().columns - 51)
    print(f"{'NAME':<14}{'SIZE':>9} {'HERE':>6} {'VERIFIED':>8}  {'ACCESS':<10}LICENCE")
    for collection, _ in chosen:
        states = _present(collection, downloads)
        count = len(collection.files)
        here, sound = (f"{sum(state[which] for state in states)}/{count}" for which in (0, 1))
        sizes = [file.size for file in collection.files]
        size = _size(sum(sizes)) if all(sizes) else "?"
        access = "ask first" if collection.gated else "free"
        licence = textwrap.shorten(collection.licence, room, placeholder=" …")
        print(f"{collection.name:<14}{size:>9} {here:>6} {sound:>8}  {access:<10}{licence}")
    print("`c2p data list NAME` shows files, sources, terms and how to get access.")


def _print_collection(
    collection: Collection, files: tuple[RemoteFile, ...], downloads: Any, arriving: dict[str, tuple[int, int]]
) -> None:
    print(collection.name)
    for label, text in (
        ("what", collection.title),
        ("licence", collection.licence),
        ("access", collection.access),
        ("paper", collection.citation),
        ("folder", str(downloads.folder / collection.name)),
    ):
        for line in _wrapped(label, text):
            print(line)
    others = collection.instead if len(files) == len(collection.files) else ()
    width = max(len(file.name) for file in (*files, *others))
    for file in (*files, *others):
        name = f"{'or' if file in others else '  '} {file.name:<{width}}"
        print(f"{name} {_size(file.size) or '?':>9}  {_state(file, downloads, arriving)}")
        if file.sha256:
            print(f"   sha256 {file.sha256}")
        if file.note:
            print("\n".join(_wrapped("", file.note)))
        if len(files) <= 2:
            for source in ([f"https://huggingface.co/{file.hub}"] if file.hub else []) + list(file.urls):
                print(f"   {source}")
    print()


def _state(file: RemoteFile, downloads: Any, arriving: dict[str, tuple[int, int]]) -> str:
    from c2p.data.verified import is_verified

    path = downloads.path(file)
    if path.is_file():
        return "verified" if is_verified(path) else "here"
    if file.key in arriving:
        done, total = arriving[file.key]
        return f"{done / total:.0%} here" if total else f"{_size(done)} here"
    return "absent" if file.offered else "to place"


def _present(collection: Collection, downloads: Any) -> list[tuple[bool, bool]]:
    """Whether each file is here, and whether it was verified; a file that serves for all counts for all."""
    from c2p.data.verified import is_verified

    def state(file: RemoteFile) -> tuple[bool, bool]:
        path = downloads.path(file)
        return path.is_file(), path.is_file() and is_verified(path)

    best = max((state(file) for file in collection.instead), default=(False, False))
    return [max(state(file), best) for file in collection.files]


def _wrapped(label: str, text: str) -> Iterator[str]:
    width = min(shutil.get_terminal_size().columns, _WIDEST)
    yield from textwrap.wrap(
        text, width, initial_indent=f"  {label:<9}", subsequent_indent=" " * 11, break_long_words=False,
        break_on_hyphens=False,
    )  # fmt: skip


def _size(count: int) -> str:
    """Bytes for people; empty: none or unknown."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= scale:
            return f"{count / scale:.1f} {unit}"
    return f"{count} B" if count else ""
