"""A user's files of labelled clouds, on a disk or behind a URL, taken over as they are."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from c2p.data.files import write_atomic
from c2p.data.places import Place, download, exists, name_of

_FOLDERS = {1: ("all",), 2: ("train", "test")}
"""Below the collection's folder, by the number of files: what is in each."""


def take_clouds(places: Sequence[Place], folder: Path) -> Path:
    """Copy one file of clouds, or a training and a test file, below `folder`.

    Raises ValueError: no such file. OSError: a URL that can't be used, no room.
    """
    for place in places:
        if not exists(place):
            raise ValueError(
                f"download.clouds: got {str(place)!r}; no such file; set it with: c2p profile use PROFILE "
                "--set 'download.clouds=[TRAIN.h5, TEST.h5]'"
            )
    for name, place in zip(_FOLDERS[len(places)], places, strict=True):
        write_atomic(folder / name / name_of(place), partial(download, place))
    return folder


def cloud_files(folder: Path) -> dict[str, Path]:
    """The files that take_clouds left in a folder: `all`, or `train` and `test`.

    Raises ValueError: there are none.
    """
    for names in _FOLDERS.values():
        found = {name: sorted((folder / name).glob("*")) for name in names}
        if all(len(paths) == 1 for paths in found.values()):
            return {name: paths[0] for name, paths in found.items()}
    raise ValueError(f"{folder}: no files of clouds; run the download stage (dvc repro -f download)")
