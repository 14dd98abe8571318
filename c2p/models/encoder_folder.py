"""Where an encoder lies, and how shapes are drawn for it: known before PyTorch is imported."""

from pathlib import Path

from c2p import params
from c2p.models.folder import ModelError, open_clip_folder
from c2p.models.hub import fetch_folder
from c2p.models.point_folder import find_point_clip, find_point_folder
from c2p.models.preprocessing import PREPROCESSING_FILE, Preprocessing, preprocessing_of, read_preprocessing

HUB = "hf-hub:"
"""What the name of a repository of the hub begins with."""


def find_folder(path: Path | str) -> Path:
    """The folder that a path or `hf-hub:OWNER/NAME` means, fetched where it is the hub's.

    A depth encoder's in open_clip's layout, or a 3D encoder's (c2p.models.point_folder).

    Raises ModelError: there is none.
    """
    if str(path).startswith(HUB):
        return fetch_folder(str(path).removeprefix(HUB), beside=(PREPROCESSING_FILE,))
    if not Path(path).exists():
        raise ModelError(f"{path}: no such folder; give an encoder's folder, or hf-hub:OWNER/NAME")
    return find_point_folder(Path(path)) or open_clip_folder(Path(path))


def find_preprocessing(folder: Path, settings: params.Params | Path | str | None) -> Preprocessing:
    """The settings given, or those beside the encoder.

    Raises ModelError, ParameterError: there are none, or they can't be read.
    """
    if settings is None:
        return read_preprocessing(folder)
    return preprocessing_of(settings if isinstance(settings, params.Params) else params.load(settings))


def find_teacher(path: Path | str) -> Path:
    """Where the pipeline puts the teacher of an encoder: the folder `clip` beside it, or beside all seeds' encoders.

    Of a 3D encoder: the CLIP whose language it speaks. It may not be there: the hub has none beside an encoder.
    """
    if not str(path).startswith(HUB) and (folder := find_point_folder(Path(path))) is not None:
        return find_point_clip(folder)
    beside = Path("models/clip") if str(path).startswith(HUB) else Path(path).parent / "clip"
    above = beside.parent.parent / "clip"
    return above if above.is_dir() and not beside.exists() else beside
