"""Archives that lie elsewhere: below the folder or URL that C2P_ARCHIVES names, laid out `<collection>/<file>`.

An archive of meshes found there is neither fetched nor copied but read in place. sources.json keeps its size and the
digest of its index, and nothing of where it lies: that is a fact of the machine, and may differ on the next one.
"""

import os
from typing import TypedDict

from c2p.data.archive import open_archive
from c2p.data.places import Place, exists, join, size, to_place

VARIABLE = "C2P_ARCHIVES"
COLLECTIONS = ("shapenet", "modelnet10", "modelnet40")
"""Collections whose archives are read in place; files of other ones are copied."""
ENDINGS = (".zip", ".tar", ".tar.gz", ".tgz")


class Known(TypedDict):
    """What sources.json keeps of an archive."""

    bytes: int
    index_sha256: str


def find(file: str) -> Place | None:
    """Where a file `<collection>/<name>` lies below C2P_ARCHIVES; None: not there, or the variable is not set.

    Raises OSError: the URL can't be used.
    """
    base = os.environ.get(VARIABLE, "")
    place = join(to_place(base), *file.split("/")) if base else None
    return place if place is not None and exists(place) else None


def read_in_place(file: str) -> bool:
    """Whether a file is an archive that needs no copy."""
    return file.partition("/")[0] in COLLECTIONS and file.lower().endswith(ENDINGS)


def describe(place: Place) -> Known:
    """What tells whether an archive is still the same; only its index is read."""
    return {"bytes": size(place), "index_sha256": open_archive(place).index_digest()}


def locate(file: str, known: Known) -> Place:
    """Where an archive lies that the download stage found elsewhere.

    Raises ValueError: it isn't there any more, or has changed. OSError: the URL can't be used.
    """
    place = find(file)
    if place is None:
        base = os.environ.get(VARIABLE, "")
        raise ValueError(
            f"{file}: not below {VARIABLE} ({base or 'which is not set'}), where the download stage found it; "
            f"set {VARIABLE}, or fetch it with `dvc repro -f download`"
        )
    if describe(place) != known:
        raise ValueError(f"{place}: not the archive that the download stage found; run `dvc repro -f download`")
    return place
