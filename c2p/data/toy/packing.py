"""Archives with the same bytes for the same members, numbers as text, and the seeds of made collections."""

import zipfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from c2p.data.files import write_atomic

_DATE = (2020, 1, 1, 0, 0, 0)
_STORED = (".jpg", ".png")
_LEVEL = 3


def write_zip(path: Path, members: Iterable[tuple[str, bytes]]) -> Path:
    """Write a zip atomically: members sorted by name, one fixed date, pictures stored and all else deflated."""

    def write(temporary: Path) -> None:
        with zipfile.ZipFile(temporary, "w") as archive:
            for name, data in sorted(members):
                entry = zipfile.ZipInfo(name, _DATE)
                entry.external_attr = 0o644 << 16
                entry.compress_type = zipfile.ZIP_STORED if name.endswith(_STORED) else zipfile.ZIP_DEFLATED
                archive.writestr(entry, data, compresslevel=_LEVEL)

    return write_atomic(path, write)


def rows(line: str, values: np.ndarray) -> str:
    """Return one line of text a row of `values` (R, D), by a %-format such as `v %.6f %.6f %.6f\\n`."""
    return (line * len(values)) % tuple(values.reshape(-1).tolist())


def model_id(seed: int, *, collection: str, category: str, split: str, index: int) -> str:
    """Return 32 hexadecimal digits, different for every model of every collection; read as a number, a shape's seed."""
    words = [seed, index, *f"{collection}/{category}/{split}".encode()]
    return "".join(f"{word:08x}" for word in np.random.SeedSequence(words).generate_state(4))
