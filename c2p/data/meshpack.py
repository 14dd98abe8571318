"""A user's folder or archive of meshes, taken over as one archive."""

import shutil
import zipfile
from pathlib import Path

from c2p.data.archive import Archive
from c2p.data.files import write_atomic

EPOCH = (1980, 1, 1, 0, 0, 0)


def take_meshes(path: Path, folder: Path) -> Path:
    """Copy an archive, or pack a folder into `<name>.zip`, below `folder`; same content, same bytes.

    Raises ValueError: no such path, or not a folder, zip or tar. Links that leave the folder are not followed.
    """
    if path.is_dir():
        return write_atomic(folder / f"{path.resolve().name}.zip", lambda temporary: _pack(path, temporary))
    if not path.is_file():
        raise ValueError(
            f"download.meshes: got {str(path)!r}; no such folder or archive; "
            "set it with: c2p profile use meshes --set download.meshes=PATH"
        )
    Archive(path)
    return write_atomic(folder / path.name, lambda temporary: _copy(path, temporary))


def _pack(source: Path, target: Path) -> None:
    root = source.resolve()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for path in sorted(source.rglob("*")):
            if path.is_file() and path.resolve().is_relative_to(root):
                info = zipfile.ZipInfo(path.relative_to(source).as_posix(), EPOCH)
                archive.writestr(info, path.read_bytes())


def _copy(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)
