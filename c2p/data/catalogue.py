"""Catalogue of the public collections: where each file is offered, what it must be, and who may have it."""

from dataclasses import dataclass

from c2p.data.vocabulary import SHAPENET_SYNSETS


@dataclass(frozen=True)
class RemoteFile:
    """One file of a collection."""

    collection: str
    name: str
    """Path below the raw folder's collection."""
    urls: tuple[str, ...] = ()
    """HTTP mirrors, tried in turn."""
    hub: str = ""
    """Dataset repository on the Hugging Face hub that holds the file under its name."""
    sha256: str = ""
    """Known digest; empty: trusted on first use and recorded in sources.json."""
    terms: str = ""
    """Where to get access when the file is not free to download."""


_POINT_BERT = "https://raw.githubusercontent.com/Julie-tang00/Point-BERT/master/data/ShapeNet55-34/ShapeNet-55"
_SHAPENET_TERMS = "accept the terms at https://huggingface.co/datasets/ShapeNet/ShapeNetCore and set HF_TOKEN"

SHAPENET = (
    *(
        RemoteFile("shapenet", f"{synset}.zip", hub="ShapeNet/ShapeNetCore", terms=_SHAPENET_TERMS)
        for synset in SHAPENET_SYNSETS
    ),
    RemoteFile(
        "shapenet",
        "train.txt",
        (f"{_POINT_BERT}/train.txt",),
        sha256="dc3f73b9095ff1827633808330807e42d3d2d256fb03ace4ddb0baec69347153",
    ),
    RemoteFile(
        "shapenet",
        "val.txt",
        (f"{_POINT_BERT}/test.txt",),
        sha256="dd18af90b8de5246b91c6bc457370434a19e7322d1627ea0916605ec511ba918",
    ),
)
MODELNET40 = (
    RemoteFile(
        "modelnet40",
        "modelnet40_manually_aligned.tar",
        ("https://lmb.informatik.uni-freiburg.de/resources/datasets/ORION/modelnet40_manually_aligned.tar",),
    ),
)
MODELNET10 = (
    RemoteFile(
        "modelnet10",
        "ModelNet10.zip",
        (
            "http://3dvision.princeton.edu/projects/2014/3DShapeNets/ModelNet10.zip",
            "http://vision.princeton.edu/projects/2014/3DShapeNets/ModelNet10.zip",
        ),
    ),
)
SCANOBJECTNN = tuple(
    RemoteFile(
        "scanobjectnn", name, terms="fill in the form at https://hkust-vgd.github.io/scanobjectnn for h5_files.zip"
    )
    for name in (
        f"{folder}/{split}_objectdataset{variant}.h5"
        for folder, variant in (("main_split_nobg", ""), ("main_split", ""), ("main_split", "_augmentedrot_scale75"))
        for split in ("training", "test")
    )
)
COLLECTIONS = {"shapenet": SHAPENET, "modelnet40": MODELNET40, "modelnet10": MODELNET10, "scanobjectnn": SCANOBJECTNN}
"""Files of each collection; ModelNet40 is the orientation-aligned version of Sedaghat et al. that the paper uses."""
