"""Published numbers, percent top-1, with where they stand. Nothing else in the project states somebody's result."""

from dataclasses import dataclass

PAPER = "CLIP2Point, arXiv 2210.01055"
V2 = "PointCLIP V2, arXiv 2211.11682"
OPENSHAPE = "OpenShape, arXiv 2305.10764"
ISSUE = "issue 3 of github.com/tyhuang0428/CLIP2Point"
RELEASE = "github.com/ZrrSkywalker/PointCLIP"


@dataclass(frozen=True)
class Published:
    """Somebody's number."""

    value: float
    source: str


def _table(number: int, values: dict[tuple[str, str], float]) -> dict[tuple[str, str], Published]:
    return {key: Published(value, f"{PAPER}, Table {number}") for key, value in values.items()}


_ZEROSHOT = {
    "modelnet10": (30.23, 30.51, 66.63),
    "modelnet40": (20.18, 29.71, 49.38),
    "scanobjectnn_obj_only": (15.15, 28.40, 35.46),
    "scanobjectnn_obj_bg": (12.74, 23.92, 30.46),
    "scanobjectnn_pb_t50_rs": (14.12, 18.18, 23.32),
}
ZEROSHOT = _table(
    1,
    {
        (dataset, method): value
        for dataset, row in _ZEROSHOT.items()
        for method, value in zip(("pointclip", "clip2point_without_pretraining", "clip2point"), row, strict=True)
    },
) | {
    ("validation", "clip2point_without_pretraining"): Published(19.98, f"{PAPER}, section 5.1"),
    ("validation", "rgb_views"): Published(54.21, f"{PAPER}, section 5.1"),
    ("modelnet40", "pointclip_v2"): Published(55.14, f"{V2}, ViT-B/32"),
}
"""By dataset and method; the validation split is ShapeNet's."""

V2_LARGER = Published(64.26, f"{V2}, ViT-B/16")
"""Zero-shot ModelNet40."""
REEVALUATED = {
    "modelnet40": Published(49.5, OPENSHAPE),
    "scanobjectnn_obj_only": Published(25.5, OPENSHAPE),
}
"""CLIP2Point's released checkpoint, zero-shot, evaluated by others."""
CG3D = {
    "modelnet40": Published(48.7, OPENSHAPE),
    "scanobjectnn_obj_only": Published(42.5, OPENSHAPE),
    "objaverse_lvis": Published(5.0, OPENSHAPE),
}
"""CG3D's released checkpoint, zero-shot, evaluated by others."""
REPORTED = (Published(36.71, ISSUE), Published(32.70, ISSUE), Published(42.83, ISSUE))
"""Zero-shot ModelNet40 of those who trained anew with the published code; the last after mending a rotation."""
POINTCLIP_RELEASED = Published(86.71, RELEASE)
"""16-shot ModelNet40 of the released ResNet101 checkpoint."""

FEWSHOT_OTHERS = _table(
    2,
    {
        ("CrossPoint, DGCNN", "without"): 81.56,
        ("CrossPoint, DGCNN", "with"): 84.48,
        ("Point-MAE, Transformer", "without"): 79.70,
        ("Point-MAE, Transformer", "with"): 84.20,
        ("PointCLIP, ResNet101", "without"): 87.20,
    },
)
FEWSHOT = _table(2, {("pointclip", "without"): 83.83, ("clip2point", "without"): 87.46, ("clip2point", "with"): 89.21})
"""16-shot ModelNet40, by method and pre-training; the encoder is ViT-B/32."""

FULLSHOT_OTHERS = {
    ("MVCNN", "image, 12"): 90.1,
    ("SimpleView", "1,024, 6"): 93.4,
    ("MVTN", "2,048, 12"): 93.8,
    ("P2P: ResNet-101", "4,096, 40"): 93.1,
    ("P2P: ConvNeXt-L", "4,096, 40"): 93.2,
    ("P2P: HorNet-L", "4,096, 40"): 94.0,
    ("Transformer", "1,024, -"): 91.4,
    ("+ Point-BERT", "1,024, -"): 93.2,
    ("+ Point-MAE", "1,024, -"): 93.8,
}
"""Fully supervised ModelNet40, by method and data type (points, views); all of Table 3."""
FULLSHOT = {"pointclip": 92.1, "clip2point": 94.0}
FULLSHOT_SOURCE = f"{PAPER}, Table 3"

COMPONENTS = _table(
    4,
    {
        ("single", "inter"): 86.06,
        ("single", "global"): 87.32,
        ("dual", "inter"): 86.18,
        ("dual", "global"): 89.21,
    },
)
"""16-shot ModelNet40, by paths and adapter."""

RENDERING = _table(
    5,
    {
        (f"{task}_{aggregation}", str(dilation)): value
        for task, aggregation, row in (
            ("zeroshot", "weighted", (16.86, 17.63, 21.11)),
            ("zeroshot", "minimum", (24.87, 29.71, 28.36)),
            ("fewshot", "weighted", (83.91, 83.87, 84.08)),
            ("fewshot", "minimum", (86.47, 87.46, 87.40)),
        )
        for dilation, value in zip((1, 2, 4), row, strict=True)
    },
)
"""ModelNet40 without pre-training, by task, depth value and dilation R."""
RENDERING_DILATIONS = (1, 2, 4)

BOTH_PATHS_CLIP = Published(87.20, f"{PAPER}, section 5.6")
"""16-shot ModelNet40."""
CROSS_MODALITY_ONLY = Published(38.29, f"{PAPER}, section 5.6")
"""Zero-shot ModelNet40 after pre-training without the intra-modality loss."""
