"""sources.json: which collections the raw folder holds, written by the download stage and read by the next ones."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from c2p.data import meshfolder, modelnet, shapenet
from c2p.data.elsewhere import Known, locate
from c2p.data.files import sha256, write_json
from c2p.data.models import Model, UpAxis
from c2p.data.places import Place

FILE = "sources.json"


@dataclass(frozen=True)
class Source:
    """One collection below the raw folder."""

    name: str
    """shapenet, modelnet10, modelnet40, scanobjectnn or meshes."""
    path: str
    """Archive, or folder of archives, relative to the raw folder."""
    up: UpAxis
    """Up axis of the files."""
    made: bool
    """Made by c2p: it may hold a part of the official classes."""


def write_sources(raw: Path, sources: list[Source], elsewhere: dict[str, Known] | None = None) -> Path:
    """Record the collections, the SHA-256 of every file below the raw folder, and the archives that lie elsewhere."""
    files = {str(p.relative_to(raw)): sha256(p) for p in sorted(raw.rglob("*")) if p.is_file() and p.name != FILE}
    record = {"sources": [asdict(s) for s in sources], "sha256": files}
    return write_json(raw / FILE, record | ({"elsewhere": elsewhere} if elsewhere else {}))


def read_source(raw: Path, name: str) -> Source:
    """The entry of one collection.

    Raises ValueError: the raw folder lacks it.
    """
    sources = {s["name"]: Source(**s) for s in _read(raw)["sources"]}
    if name not in sources:
        raise ValueError(f"{raw}: no collection {name!r}; there are: {', '.join(sources)}; run dvc repro download")
    return sources[name]


def list_source(raw: Path, name: str) -> tuple[list[Model], tuple[str, ...]]:
    """Models and class names (official label order) of a collection of meshes."""
    source = read_source(raw, name)
    known: dict[str, Known] = _read(raw).get("elsewhere", {})
    if name == "shapenet":
        archives = [locate(file, known[file]) for file in sorted(known) if file.startswith(f"{source.path}/")]
        return shapenet.list_models(raw / source.path, archives)
    path: Place = locate(source.path, known[source.path]) if source.path in known else raw / source.path
    if name == "meshes":
        return meshfolder.list_models(path, up=source.up)
    return modelnet.list_models(path, name=name, complete=not source.made)


def _read(raw: Path) -> dict[str, Any]:
    try:
        return dict(json.loads((raw / FILE).read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise ValueError(f"{raw / FILE}: no such file; run the download stage (dvc repro download)") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"{raw / FILE}: not JSON ({error}); run the download stage (dvc repro -f download)") from None
