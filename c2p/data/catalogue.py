"""Catalogue of the public collections and weights: where each file is offered, what it must be, and who may have it.

Sizes and digests stand here only where they were published or computed from the file itself; an unknown size is 0 and
an unknown digest is empty: then the first copy is trusted and recorded (c2p.data.trust).
"""

from dataclasses import dataclass

from c2p.data.vocabulary import SHAPENET_SYNSETS


@dataclass(frozen=True)
class RemoteFile:
    """One file of a collection."""

    collection: str
    name: str
    """Path below the collection's folder."""
    urls: tuple[str, ...] = ()
    """HTTP mirrors of the same bytes, tried in turn."""
    hub: str = ""
    """Repository on the Hugging Face hub that holds it, `datasets/OWNER/NAME` or `OWNER/NAME`; tried first."""
    hub_name: str = ""
    """The file's name there, if it is another one."""
    size: int = 0
    """Bytes; 0: unknown."""
    sha256: str = ""
    """Hex digest; empty: unknown."""
    note: str = ""
    """What to know before using it."""

    @property
    def key(self) -> str:
        """`<collection>/<name>`, as the lock and the commands call it."""
        return f"{self.collection}/{self.name}"

    @property
    def offered(self) -> bool:
        """Whether anybody offers it for download; otherwise it is placed by hand."""
        return bool(self.urls or self.hub)


@dataclass(frozen=True)
class Collection:
    """A set of files under one licence."""

    name: str
    title: str
    files: tuple[RemoteFile, ...]
    licence: str
    """Licence, or the terms in a few words."""
    access: str
    """What one has to do to get it."""
    citation: str
    """The paper, as one line."""
    gated: bool = False
    """Whether access has to be asked for."""
    instead: tuple[RemoteFile, ...] = ()
    """Files each of which serves for all of `files`: the same data packed otherwise, placed by hand or fetched."""


def _openai(file: str, sha256: str, size: int = 0) -> RemoteFile:
    url = f"https://openaipublic.azureedge.net/clip/models/{sha256}/{file}"
    return RemoteFile(f"clip-{file.removesuffix('.pt').lower()}", file, (url,), sha256=sha256, size=size)


def _weights(title: str, *files: RemoteFile) -> Collection:
    return Collection(
        files[0].collection,
        title,
        files[:1],
        licence="MIT (OpenAI), Apache-2.0 (timm's copy)" if files[0].hub else "MIT (OpenAI)",
        access="free",
        citation="Radford et al., Learning Transferable Visual Models From Natural Language Supervision, ICML 2021",
        instead=files[1:],
    )


_SHAPENET_PAGE = "https://huggingface.co/datasets/ShapeNet/ShapeNetCore"
_LISTS = tuple(
    f"https://raw.githubusercontent.com/{repository}/master/data/ShapeNet55-34/ShapeNet-55"
    for repository in ("Julie-tang00/Point-BERT", "yuxumin/PoinTr")
)
_SHAPENET = Collection(
    "shapenet",
    "ShapeNetCore.v2, one zip a synset, and Point-BERT's ShapeNet-55 lists",
    (
        *(RemoteFile("shapenet", f"{s}.zip", hub="datasets/ShapeNet/ShapeNetCore") for s in SHAPENET_SYNSETS),
        RemoteFile(
            "shapenet",
            "train.txt",
            tuple(f"{base}/train.txt" for base in _LISTS),
            size=1_924_338,
            sha256="dc3f73b9095ff1827633808330807e42d3d2d256fb03ace4ddb0baec69347153",
        ),
        RemoteFile(
            "shapenet",
            "val.txt",
            tuple(f"{base}/test.txt" for base in _LISTS),
            size=482_488,
            sha256="dd18af90b8de5246b91c6bc457370434a19e7322d1627ea0916605ec511ba918",
        ),
    ),
    licence="non-commercial research and education (ShapeNet's terms); lists: MIT",
    access=f"ask for access at {_SHAPENET_PAGE} (name, advisor, affiliation; answered by hand), then set HF_TOKEN",
    citation="Chang et al., ShapeNet: An Information-Rich 3D Model Repository, arXiv 1512.03012, 2015",
    gated=True,
)
_MODELNET_TERMS = "academic research only; the models' authors keep their rights"
_MODELNET_PAPER = "Wu et al., 3D ShapeNets: A Deep Representation for Volumetric Shapes, CVPR 2015"
_MODELNET40 = Collection(
    "modelnet40",
    "ModelNet40, orientation-aligned by hand (Sedaghat et al.), the version the paper uses",
    (
        RemoteFile(
            "modelnet40",
            "modelnet40_manually_aligned.tar",
            ("https://lmb.informatik.uni-freiburg.de/resources/datasets/ORION/modelnet40_manually_aligned.tar",),
        ),
    ),
    licence=_MODELNET_TERMS,
    access="free",
    citation=f"{_MODELNET_PAPER}; Sedaghat et al., Orientation-boosted Voxel Nets for 3D Object Recognition, BMVC 2017",
    instead=(
        RemoteFile(  # packed anew by others; size and digest are those the hub tells
            "modelnet40",
            "modelnet40_manually_aligned.tar.gz",
            hub="datasets/cminst/ModelNet40",
            size=9_982_720_000,
            sha256="4a989e86d263118f8bcdc50f71134585db1cafe5b52a93c677e5a096bb864b32",
        ),
        RemoteFile("modelnet40", "modelnet40_manually_aligned.zip"),
        RemoteFile(
            "modelnet40",
            "ModelNet40.zip",
            sha256="42dc3e656932e387f554e25a4eb2cc0e1a1bd3ab54606e2a9eae444c60e536ac",
            note="Princeton's ModelNet40, not the aligned version the published numbers are on",
        ),
    ),
)
_MODELNET10 = Collection(
    "modelnet10",
    "ModelNet10",
    (
        RemoteFile(
            "modelnet10",
            "ModelNet10.zip",
            (
                "https://3dvision.princeton.edu/projects/2014/3DShapeNets/ModelNet10.zip",
                "http://3dvision.princeton.edu/projects/2014/3DShapeNets/ModelNet10.zip",
                "http://vision.princeton.edu/projects/2014/3DShapeNets/ModelNet10.zip",
            ),
            size=473_402_300,
            sha256="9d8679435fc07d1d26f13009878db164a7aa8ea5e7ea3c8880e42794b7307d51",
        ),
    ),
    licence=_MODELNET_TERMS,
    access="free",
    citation=_MODELNET_PAPER,
)
_SCANOBJECTNN = Collection(
    "scanobjectnn",
    "ScanObjectNN: OBJ_ONLY, OBJ_BG, PB_T50_RS",
    tuple(
        RemoteFile("scanobjectnn", f"{folder}/{split}_objectdataset{variant}.h5")
        for folder, variant in (("main_split_nobg", ""), ("main_split", ""), ("main_split", "_augmentedrot_scale75"))
        for split in ("training", "test")
    ),
    licence="terms of use, in the form",
    access="fill in the form at https://hkust-vgd.github.io/scanobjectnn; it leads to h5_files.zip",
    citation="Uy et al., Revisiting Point Cloud Classification: A New Benchmark Dataset and Classification Model on "
    "Real-World Data, ICCV 2019",
    gated=True,
    instead=(RemoteFile("scanobjectnn", "h5_files.zip", size=13_099_259_542),),
)

COLLECTIONS: dict[str, Collection] = {
    collection.name: collection
    for collection in (
        _SHAPENET,
        _MODELNET40,
        _MODELNET10,
        _SCANOBJECTNN,
        _weights(
            "OpenAI's CLIP ViT-B/32, the teacher of the profiles paper, code and plus",
            RemoteFile(
                "clip-vit-b-32",
                "open_clip_model.safetensors",
                hub="timm/vit_base_patch32_clip_224.openai",
            ),
            _openai("ViT-B-32.pt", "40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af", 353_976_522),
        ),
        _weights(
            "OpenAI's CLIP RN50, PointCLIP's zero-shot tower",
            _openai("RN50.pt", "afeb0e10f9e5a86da6080e35cf09123aca3b358a0c3e3b6c78a7b63bc04b6762"),
        ),
        _weights(
            "OpenAI's CLIP RN101, PointCLIP's few-shot tower",
            _openai("RN101.pt", "8fa8567bab74a42d41c5915025a8e4538c3bdbe8804a470a72f30b0d94fab599"),
        ),
        _weights(
            "OpenAI's CLIP ViT-B/16",
            _openai("ViT-B-16.pt", "5806e77cd80f8b59890b7e101eabd078d9fb84e6937f9e85e4ecb61988df416f"),
        ),
        _weights(
            "OpenAI's CLIP ViT-L/14",
            _openai("ViT-L-14.pt", "b8cca3fd41ae0c99ba7e8951adf17d267cdb84cd88be6f7c2e0eca1737a03836"),
        ),
    )
}
"""Every collection by its name; ModelNet40 is the version the paper uses."""


def weights_of(model: str, pretrained: str) -> Collection | None:
    """The weights that an open_clip model name and tag mean, if the catalogue has them."""
    return COLLECTIONS.get(f"clip-{model.removesuffix('-quickgelu').lower()}") if pretrained == "openai" else None
