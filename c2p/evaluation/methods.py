"""The classifiers the tables compare, one row each."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Path = Literal["clip", "depth"]
"""Whose features a path takes: the frozen CLIP's, or the pre-trained depth encoder's."""


@dataclass(frozen=True)
class Method:
    """One classifier."""

    slug: str
    """Its key in the metrics."""
    label: str
    """What people read."""
    drawing: Literal["pointclip", "clip2point", "rgb"]
    """PointCLIP's projection, CLIP2Point's depth maps (Eq. 13, 14), or renders of the mesh."""
    paths: tuple[Path, ...]
    """One path, or two for the dual-path structure (Eq. 17 to 19)."""
    adapter: Literal["none", "global", "inter"] = "none"
    """Zero-shot, CLIP2Point's global-view adapter (Eq. 16) or PointCLIP's inter-view adapter (Eq. 2 to 4)."""
    recipe: Literal["clip2point", "pointclip"] = "clip2point"
    """How the adapter trains, and which prompt it uses."""

    @property
    def pretrained(self) -> bool:
        """Whether image-depth pre-training had a part in it."""
        return "depth" in self.paths


ZEROSHOT = (
    Method("pointclip", "PointCLIP", "pointclip", ("clip",), recipe="pointclip"),
    Method("clip2point_without_pretraining", "CLIP2Point w/o pre-training", "clip2point", ("clip",)),
    Method("clip2point", "CLIP2Point w/ pre-training", "clip2point", ("depth",)),
)
"""Table 1."""

RGB_VIEWS = Method("rgb_views", "CLIP on RGB views", "rgb", ("clip",))
"""The text's control on the validation split."""

ADAPTED = (
    Method("pointclip", "PointCLIP", "pointclip", ("clip",), "inter", "pointclip"),
    Method("clip2point_without_pretraining", "CLIP2Point w/o pre-training", "clip2point", ("clip",), "global"),
    Method("clip2point", "CLIP2Point w/ pre-training", "clip2point", ("clip", "depth"), "global"),
)
"""Tables 2 and 3. Without pre-training it is a single path (section 5.6), with it the dual path."""

COMPONENTS = (
    Method("single_inter", "Single path, inter-view adapter", "clip2point", ("depth",), "inter"),
    Method("single_global", "Single path, global-view adapter", "clip2point", ("depth",), "global"),
    Method("dual_inter", "Dual path, inter-view adapter", "clip2point", ("clip", "depth"), "inter"),
    Method("dual_global", "Dual path, global-view adapter", "clip2point", ("clip", "depth"), "global"),
    Method("dual_global_clip", "Dual path, both paths CLIP", "clip2point", ("clip", "clip"), "global"),
)
"""Table 4, and the text's control with CLIP in both paths."""

RENDERING_ZEROSHOT = ZEROSHOT[1]
RENDERING_FEWSHOT = ADAPTED[1]
"""Table 5: a single path without pre-training, so that only the depth maps differ."""

AGGREGATIONS: tuple[Literal["weighted", "minimum"], ...] = ("weighted", "minimum")
"""Depth values of Table 5: Eq. 12 and Eq. 14."""


def rendering_slug(task: Literal["zeroshot", "fewshot"], aggregation: str, dilation: int) -> str:
    """Key in the metrics of one cell of Table 5."""
    return f"{task}_{aggregation}_r{dilation}"


def find(methods: Iterable[Method], slug: str) -> Method:
    """The method with this slug."""
    return next(method for method in methods if method.slug == slug)
