"""The classifiers the tables compare, one row each: the one list of what can be evaluated.

A slug may stand for two rows, one that needs no training objects (zero-shot) and one that learns from some: `pick` says
which of them a number of shots asks for.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from c2p import params

Path = Literal["clip", "depth"]
"""Whose features a path takes: the frozen CLIP's, or the pre-trained depth encoder's."""
Head = Literal["none", "global", "inter", "linear", "cache", "views"]
"""What stands on the features: nothing but the prompts, CLIP2Point's global-view adapter (Eq. 16), PointCLIP's
inter-view adapter (Eq. 2 to 4), a linear probe, Tip-Adapter's cache, or searched view weights."""

ADAPTER_VIEWS = "ten"
"""Views of every adapter (section 5.2), and of the controls beside them."""
VALIDATION = "validation"
"""Name of the benchmark file that holds the pre-training collection's validation split."""


@dataclass(frozen=True)
class Method:
    """One classifier."""

    slug: str
    """Its key in the metrics."""
    label: str
    """What people read."""
    drawing: Literal["pointclip", "pointclip_v2", "clip2point", "rgb"]
    """PointCLIP's or PointCLIP V2's projection, CLIP2Point's depth maps (Eq. 13, 14), or renders of the mesh."""
    paths: tuple[Path, ...]
    """One path, or two for the dual-path structure (Eq. 17 to 19)."""
    head: Head = "none"
    searched_on_test: bool = False
    """Whether test labels decide something: not comparable with anything, and in no claim."""

    @property
    def pretrained(self) -> bool:
        """Whether image-depth pre-training had a part in it."""
        return "depth" in self.paths

    @property
    def learns(self) -> bool:
        """Whether it needs training objects: k-shot and fully supervised; else it is zero-shot."""
        return self.head != "none" and not self.searched_on_test

    @property
    def adapts(self) -> bool:
        """Whether it trains an adapter of the papers, epoch by epoch."""
        return self.head in ("global", "inter")

    def views(self, settings: params.Params, dataset: str) -> str:
        """Name of the view set it sees a dataset from.

        Validation models are seen zero-shot from all the views that were rendered of them.
        """
        if self.drawing == "pointclip_v2":
            return "tilted"
        if self.head not in ("none", "views"):
            return ADAPTER_VIEWS
        return settings.render.views if dataset == VALIDATION else settings.zeroshot.views


POINTCLIP = Method("pointclip", "PointCLIP", "pointclip", ("clip",))
POINTCLIP_V2 = Method("pointclip_v2", "PointCLIP V2, our prompts", "pointclip_v2", ("clip",))
"""Its prompts and view weights were tuned on test sets; here the weights are equal and the prompts are
POINTCLIP_V2_TEMPLATES or the user's own."""
WITHOUT = Method("clip2point_without_pretraining", "CLIP2Point w/o pre-training", "clip2point", ("clip",))
WITH = Method("clip2point", "CLIP2Point w/ pre-training", "clip2point", ("depth",))

ZEROSHOT = (POINTCLIP, POINTCLIP_V2, WITHOUT, WITH)
"""Table 1."""

SEARCHED_ON_TEST = Method(
    "pointclip_searched_on_test",
    "PointCLIP, view weights searched on the test set, not comparable",
    "pointclip",
    ("clip",),
    "views",
    searched_on_test=True,
)
"""As PointCLIP's published number was got (REFERENCE: 20.18 instead of 19.33)."""

CROSS_ONLY = Method("clip2point_cross_only", "CLIP2Point, cross-modality loss only", "clip2point", ("depth",))
"""The text's control: its depth encoder is another one, pre-trained without the intra-modality loss (section 5.6)."""

RGB_VIEWS = Method("rgb_views", "CLIP on RGB views", "rgb", ("clip",))
"""The text's control on the validation split; its features come from the pre-training shards, not from a benchmark."""

ADAPTED = (
    Method("pointclip", "PointCLIP", "pointclip", ("clip",), "inter"),
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

REMAINING = (
    Method("single_inter_clip", "Single path CLIP, inter-view adapter", "clip2point", ("clip",), "inter"),
    Method("single_global_clip", "Single path CLIP, global-view adapter", "clip2point", ("clip",), "global"),
    Method("dual_inter_clip", "Dual path, both CLIP, inter-view adapter", "clip2point", ("clip", "clip"), "inter"),
)
"""The combinations of paths and adapters that no table has."""

CONTROLS = (
    Method("pointclip_v2", "PointCLIP V2, inter-view adapter", "pointclip_v2", ("clip",), "inter"),
    Method(
        "pointclip_searched_on_shots",
        "PointCLIP, view weights searched on the training shots",
        "pointclip",
        ("clip",),
        "views",
    ),
    Method("linear_probe_clip", "Linear probe on CLIP's features", "clip2point", ("clip",), "linear"),
    Method("linear_probe_depth", "Linear probe on the depth encoder's features", "clip2point", ("depth",), "linear"),
    Method("tip_adapter_clip", "Tip-Adapter on CLIP's features", "clip2point", ("clip",), "cache"),
    Method("tip_adapter_depth", "Tip-Adapter on the depth encoder's features", "clip2point", ("depth",), "cache"),
)
"""What controls.methods may add to the few-shot and the fully supervised tables."""

METHODS = (*ZEROSHOT, SEARCHED_ON_TEST, *ADAPTED, *COMPONENTS, *REMAINING, *CONTROLS)
"""All that can be evaluated on any benchmark file."""

RENDERING_FEWSHOT = ADAPTED[1]
"""Table 5's k-shot rows: a single path without pre-training, so that only the depth maps differ."""

AGGREGATIONS: tuple[Literal["weighted", "minimum"], ...] = ("weighted", "minimum")
"""Depth values of Table 5: Eq. 12 and Eq. 14."""


def rendering_slug(task: Literal["zeroshot", "fewshot"], aggregation: str, dilation: int) -> str:
    """Key in the metrics of one cell of Table 5."""
    return f"{task}_{aggregation}_r{dilation}"


def find(methods: Iterable[Method], slug: str) -> Method:
    """The method with this slug."""
    return next(method for method in methods if method.slug == slug)


def slugs() -> list[str]:
    """Slugs of all methods, in the order of the tables, each once."""
    return list(dict.fromkeys(method.slug for method in METHODS))


def pick(slug: str, *, learns: bool) -> Method | None:
    """The row of a slug that needs training objects, or the one that needs none; None: it is not defined so.

    Raises ValueError: no such slug.
    """
    rows = [method for method in METHODS if method.slug == slug]
    if not rows:
        raise ValueError(f"method: got {slug!r}; allowed: {', '.join(slugs())}")
    return next((row for row in rows if row.learns == learns), None)
