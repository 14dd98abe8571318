"""What the benchmark sets are when whole: sizes of their splits, and the axes their files are written in.

Sizes: CLIP2Point section 5.1 (ModelNet10, ModelNet40) and the h5 files of ScanObjectNN as every published result on
them counts its test objects. The training files of ScanObjectNN have no size here: its paper counts 2,902 objects
before some were left out of the files, and no publisher states what is left; every class has to be there all the same.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from c2p.data.models import UpAxis


@dataclass(frozen=True)
class Official:
    """A benchmark set as published."""

    sizes: Mapping[str, int]
    """Objects of each split whose number is known."""
    up: UpAxis
    """Up axis of the files; z is turned by (x, y, z) -> (-y, z, -x), c2p.geometry.meshes.rotate_up."""


SHAPENET_UP: UpAxis = "y"
"""ShapeNetCore.v2 is y up with the front to +z, the frame of everything here: CLIP2Point's published code takes it as
it is."""
MODELNET_UP: UpAxis = "z"
"""Meshes of ModelNet10 and of the aligned ModelNet40 stand on the xy plane and face -x: CLIP2Point's published code
turns their points by (x, y, z) -> (-y, z, -x), after which y is up and +z is the front as in ShapeNetCore.v2."""
SCANOBJECTNN_UP: UpAxis = "y"
"""Clouds of ScanObjectNN are y up: CLIP2Point's published code takes them as they are. They have no common front."""

OFFICIAL: dict[str, Official] = {
    "modelnet10": Official({"train": 3_991, "test": 908}, MODELNET_UP),
    "modelnet40": Official({"train": 9_843, "test": 2_468}, MODELNET_UP),
    "scanobjectnn_obj_only": Official({"test": 581}, SCANOBJECTNN_UP),
    "scanobjectnn_obj_bg": Official({"test": 581}, SCANOBJECTNN_UP),
    "scanobjectnn_pb_t50_rs": Official({"test": 2_882}, SCANOBJECTNN_UP),
}


def check_sizes(name: str, found: Mapping[str, int], path: Path) -> None:
    """Hold the number of objects in each split against the official one.

    Raises ValueError: another number.
    """
    for split, expected in OFFICIAL[name].sizes.items():
        if found.get(split, 0) != expected:
            raise ValueError(
                f"{path}: {name} has {found.get(split, 0):,} {split} objects; expected: {expected:,}; fetch the "
                "official files again, or bring other files as download.meshes or download.clouds"
            )
