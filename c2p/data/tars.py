"""Members of tars: written without anything that differs from run to run, read by offset."""

import io
import tarfile
from pathlib import Path

import numpy as np


def index_tar(path: Path) -> dict[str, list[tuple[str, int, int]]]:
    """Members of each sample of a tar: key -> (extension, offset of the data, size), in file order."""
    index: dict[str, list[tuple[str, int, int]]] = {}
    with tarfile.open(path) as file:
        for member in file:
            key, extension = member.name.split(".", 1)
            index.setdefault(key, []).append((extension, member.offset_data, member.size))
    return index


def read_range(path: Path, offset: int, size: int) -> bytes:
    """Bytes of one member.

    Raises ValueError: the file ends before the member does.
    """
    with path.open("rb") as file:
        file.seek(offset)
        data = file.read(size)
    if len(data) != size:
        raise ValueError(
            f"{path}: ends within a member; check it with `c2p shards verify`, rebuild with `dvc repro -f shards`"
        )
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
