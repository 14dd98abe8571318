"""Class names of the data sets in label order, and ShapeNetCore's synsets.

Sources: the ModelNet, ScanObjectNN and ShapeNetCore label lists as CLIP2Point's published code uses them (ModelNet10
keeps the underscore of `night_stand`), and the ids that code leaves out of Point-BERT's ShapeNet-55 lists.
"""

MODELNET40: tuple[str, ...] = (
    "airplane",
    "bathtub",
    "bed",
    "bench",
    "bookshelf",
    "bottle",
    "bowl",
    "car",
    "chair",
    "cone",
    "cup",
    "curtain",
    "desk",
    "door",
    "dresser",
    "flower pot",
    "glass box",
    "guitar",
    "keyboard",
    "lamp",
    "laptop",
    "mantel",
    "monitor",
    "night stand",
    "person",
    "piano",
    "plant",
    "radio",
    "range hood",
    "sink",
    "sofa",
    "stairs",
    "stool",
    "table",
    "tent",
    "toilet",
    "tv stand",
    "vase",
    "wardrobe",
    "xbox",
)

MODELNET10: tuple[str, ...] = (
    "bathtub",
    "bed",
    "chair",
    "desk",
    "dresser",
    "monitor",
    "night_stand",
    "sofa",
    "table",
    "toilet",
)

SCANOBJECTNN: tuple[str, ...] = (
    "bag",
    "bin",
    "box",
    "cabinet",
    "chair",
    "desk",
    "display",
    "door",
    "shelf",
    "table",
    "bed",
    "pillow",
    "sink",
    "sofa",
    "toilet",
)

_SYNSET_NAMES: dict[str, str] = {
    "02691156": "airplane",
    "02747177": "ashcan",
    "02773838": "bag",
    "02801938": "basket",
    "02808440": "bathtub",
    "02818832": "bed",
    "02828884": "bench",
    "02843684": "birdhouse",
    "02871439": "bookshelf",
    "02876657": "bottle",
    "02880940": "bowl",
    "02924116": "bus",
    "02933112": "cabinet",
    "02942699": "camera",
    "02946921": "can",
    "02954340": "cap",
    "02958343": "car",
    "02992529": "cellular telephone",
    "03001627": "chair",
    "03046257": "clock",
    "03085013": "computer keyboard",
    "03207941": "dishwasher",
    "03211117": "display",
    "03261776": "earphone",
    "03325088": "faucet",
    "03337140": "file",
    "03467517": "guitar",
    "03513137": "helmet",
    "03593526": "jar",
    "03624134": "knife",
    "03636649": "lamp",
    "03642806": "laptop",
    "03691459": "loudspeaker",
    "03710193": "mailbox",
    "03759954": "microphone",
    "03761084": "microwave",
    "03790512": "motorcycle",
    "03797390": "mug",
    "03928116": "piano",
    "03938244": "pillow",
    "03948459": "pistol",
    "03991062": "pot",
    "04004475": "printer",
    "04074963": "remote control",
    "04090263": "rifle",
    "04099429": "rocket",
    "04225987": "skateboard",
    "04256520": "sofa",
    "04330267": "stove",
    "04379243": "table",
    "04401088": "telephone",
    "04460130": "tower",
    "04468005": "train",
    "04530566": "vessel",
    "04554684": "washer",
}

SHAPENET_SYNSETS: tuple[str, ...] = tuple(_SYNSET_NAMES)
"""Synset ids, ascending; SHAPENET has their names in the same order."""

SHAPENET: tuple[str, ...] = tuple(_SYNSET_NAMES.values())

BROKEN_SHAPENET_IDS: frozenset[str] = frozenset(
    {
        "03001627-udf068a6b",
        "03001627-u6028f63e",
        "03001627-uca24feec",
        "04379243-",
        "02747177-",
        "03001627-u481ebf18",
        "03001627-u45c7b89f",
        "03001627-ub5d972a1",
        "03001627-u1e22cc04",
        "03001627-ue639c33f",
    }
)
"""`<synset>-<model>` with the model id cut at its first '-'; is_broken_shapenet compares."""


def shapenet_name(synset: str) -> str:
    """Return the class name of a ShapeNetCore synset.

    Raises ValueError: not one of the 55 synsets.
    """
    try:
        return _SYNSET_NAMES[synset]
    except KeyError:
        known = f"{SHAPENET_SYNSETS[0]} to {SHAPENET_SYNSETS[-1]}"
        raise ValueError(f"{synset!r} is no ShapeNetCore synset; allowed: its {len(SHAPENET)} ids, {known}") from None


def is_broken_shapenet(key: str) -> bool:
    """Tell whether `key` (`<synset>-<model>`) is one of the models that CLIP2Point's published code leaves out."""
    synset, _, model = key.partition("-")
    return f"{synset}-{model.split('-')[0]}" in BROKEN_SHAPENET_IDS
