"""Members of tars: written without anything that differs from run to run, read by offset."""

import io
import tarfile
from pathlib import Path

import numpy as np

from c2p.data import places
from c2p.data.places import Place

_END = bytes(2 * tarfile.BLOCKSIZE)
"""What a whole tar ends with."""
_REMEDY = "take DVC's copy back (dvc checkout --force) or make it again"


def index_tar(path: Path) -> dict[str, list[tuple[str, int, int]]]:
    """Members of each sample of a tar: key -> (extension, offset of the data, size), in file order.

    Raises ValueError: it is cut short or damaged. Readers take such a tar for a shorter one, without a word.
    """
    index: dict[str, list[tuple[str, int, int]]] = {}
    end = 0
    try:
        with tarfile.open(path, "r:") as file:
            for member in file:
                key, _, extension = member.name.partition(".")
                index.setdefault(key, []).append((extension, member.offset_data, member.size))
                end = member.offset_data + -(-member.size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
    except tarfile.TarError as error:
        raise ValueError(f"{path}: cut short or damaged ({error}); {_REMEDY}") from None
    with path.open("rb") as stream:
        stream.seek(end)
        if stream.read(len(_END)) != _END:
            raise ValueError(f"{path}: cut short or damaged after {end} bytes; {_REMEDY}")
    return index


def read_range(path: Place, offset: int, size: int) -> bytes:
    """Bytes of one member.

    Raises ValueError: the file ends before the member does.
    """
    data = places.read_range(path, offset, size)
    if len(data) != size:
        raise ValueError(f"{path}: ends within a member; {_REMEDY}")
    return data


def decode_npy(data: bytes) -> np.ndarray:
    """An array from .npy bytes; pickled objects are refused (ValueError)."""
    return np.load(io.BytesIO(data), allow_pickle=False)


def encode_npy(array: np.ndarray) -> bytes:
    """An array as .npy bytes."""
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def add_member(file: tarfile.TarFile, name: str, data: bytes) -> None:
    """Append a member whose header holds nothing that differs from run to run."""
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(data), 0o644
    file.addfile(info, io.BytesIO(data))
