"""How a shape becomes what an encoder reads: settings that lie beside its weights, so that the folder is enough."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

from c2p import params
from c2p.data.files import write_json
from c2p.models.folder import ModelError

PREPROCESSING_FILE = "c2p_config.json"


@dataclass(frozen=True)
class Preprocessing:
    """The sections of the parameters that say how shapes, views and texts reach an encoder."""

    render: params.Render
    """RGB views and points drawn from a mesh's surface."""
    sample: params.Sample
    """Farthest points a cloud."""
    depth: params.Depth
    """Depth maps."""
    zeroshot: params.Zeroshot
    """Views of an object, and prompts of a class."""


def preprocessing_of(settings: params.Params) -> Preprocessing:
    """The sections among all parameters."""
    return Preprocessing(settings.render, settings.sample, settings.depth, settings.zeroshot)


def write_preprocessing(settings: params.Params, folder: Path) -> Path:
    """Write the sections beside an encoder; the same settings give the same bytes."""
    return write_json(folder / PREPROCESSING_FILE, dataclasses.asdict(preprocessing_of(settings)))


def read_preprocessing(folder: Path) -> Preprocessing:
    """Read the sections that lie beside an encoder.

    Raises ModelError: there are none, or other ones than this version of c2p knows.
    """
    path = folder / PREPROCESSING_FILE
    otherwise = "make the encoder again with `dvc repro select`, or give the parameters it was trained with"
    if not path.is_file():
        raise ModelError(f"{folder}: no {PREPROCESSING_FILE} there, which says how shapes are drawn; {otherwise}")
    try:
        return params.build_sections(Preprocessing, json.loads(path.read_text(encoding="utf-8")))
    except params.ParameterError as error:
        reason = str(error).partition(";")[0]
        raise ModelError(f"{path}: {reason}; it is another version's or damaged: {otherwise}") from None
    except ValueError as error:  # JSON's and UTF-8's own
        raise ModelError(f"{path}: not JSON ({error}); {otherwise}") from None
