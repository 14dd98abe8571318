"""Parameters of CG3D, the 3D encoder beside CLIP2Point (Hegde et al., ICCVW 2023): sections of params.yaml.

Published values are those of the paper or, where it is silent, of its published code.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from c2p.parameter_checks import (
    at_least,
    between,
    check_seeds,
    check_template,
    distinct,
    not_empty,
    positive,
    require,
)

TEMPLATE_SETS = ("clip-80", "clip-7")
"""Named sets of prompts (c2p.models.templates)."""


@dataclass(frozen=True)
class Cg3d:
    """Training of a 3D encoder on triplets of cloud, RGB view and caption."""

    run: bool
    """Off: every stage of CG3D leaves an empty result at once, and the tables say so (`--without cg3d`)."""
    seeds: tuple[int, ...]
    """One 3D encoder each (paper: one, seed unknown)."""
    clip: Literal["teacher", "student"]
    """The CLIP whose language the encoder learns: the pipeline's teacher, or, where that one's image tower is no vision
    transformer and takes no prompts (demo), a small one that is taught the teacher's image features beside the same
    text tower (paper: SLIP's ViT-B/16)."""
    tuned: Literal["prompts", "nothing", "everything"]
    """What learns in the image tower: its visual prompts (paper), nothing, or all its weights."""
    prompts: int
    """Prompts a block of the image tower (paper: 5)."""
    alignment: Literal["both", "image", "text"]
    """What the 3D encoder's features are drawn to (paper: both)."""
    alternate: bool
    """Steps train the 3D encoder and the image tower in turn (paper), or both at once on every batch."""
    templates: tuple[str, ...]
    """Captions of a model, one drawn at a step: texts with one {} for its class, or sets (paper: 62 of CLIP's)."""
    views: int
    """RGB views of a model that training draws from, the first of render.views (paper: 5)."""
    epochs: int
    """Paper: 100."""
    batch: int
    """Triplets a step (paper: 64)."""
    lr: float
    """Peak rate of the 3D encoder (AdamW; paper: 5e-5), and of the image tower where everything in it learns."""
    weight_decay: float
    """Of the same (paper: 0.05)."""
    prompt_lr: float
    """Peak rate of the prompts (SGD with momentum; paper: 2e-3)."""
    lr_min: float
    """Where the cosine ends (paper: 1e-6)."""
    warmup: float
    """Share of the steps over which the rates rise from 0."""
    clip_norm: float
    """Bound on the norm of the 3D encoder's gradient (paper: 10)."""
    temperature: float
    """Of InfoNCE; 0: the CLIP's own, learnt one (published code)."""
    scale: float
    """Augmentation: factors of each axis, from 1 / scale to scale (published code: 1.5)."""
    shift: float
    """Augmentation: largest shift along each axis, unit-sphere radii (published code: 0.2)."""
    clutter: float
    """Augmentation: probability of a cloud to have sides missing, other things around it, or both, as real scans have;
    0: none (published)."""
    clutter_cut: float
    """Largest share of its points that a cut takes away."""
    clutter_added: float
    """Largest share of points of other things in the end."""
    precision: Literal["float32", "bfloat16"]
    """Of the matrix products; weights, optimisers and losses stay in float32."""
    checkpoint_every: int
    """Epochs between validated checkpoints."""
    keep_last: int
    """Newest checkpoints that are kept."""
    keep_best: int
    """Checkpoints kept for their validation accuracy; of equals, the ones trained longer."""

    def __post_init__(self) -> None:
        at_least(self, prompts=0, views=1, epochs=1, batch=2, checkpoint_every=1, keep_last=1, keep_best=1)
        positive(self, "lr", "prompt_lr", "clip_norm")
        require(0 <= self.lr_min <= self.lr, "cg3d.lr_min", self.lr_min, f"0 to cg3d.lr ({self.lr})")
        between(self, 0, 1, "weight_decay")
        require(0 <= self.warmup < 1, "cg3d.warmup", self.warmup, "0 to less than 1")
        require(self.temperature >= 0, "cg3d.temperature", self.temperature, "at least 0")
        require(self.scale >= 1, "cg3d.scale", self.scale, "at least 1 (1: none)")
        require(self.shift >= 0, "cg3d.shift", self.shift, "at least 0 (0: none)")
        between(self, 0, 1, "clutter")
        for name in ("clutter_cut", "clutter_added"):
            require(0 <= getattr(self, name) < 1, f"cg3d.{name}", getattr(self, name), "0 to less than 1")
        not_empty(self, "seeds", "templates")
        distinct(self, "seeds")
        check_seeds(self, "seeds")
        for number, text in enumerate(self.templates):
            if text not in TEMPLATE_SETS:
                check_template(f"cg3d.templates[{number}]", text, f", or one of {', '.join(TEMPLATE_SETS)}")


@dataclass(frozen=True)
class PointEncoder:
    """The 3D encoder: points to features of the CLIP's width."""

    SECTION: ClassVar[str] = "point_encoder"
    kind: Literal["transformer", "mlp"]
    """Point-BERT's transformer or PointMLP (paper: both)."""
    width: int
    """Transformer: width of its tokens (paper: 384). PointMLP: width before its first stage (paper: 64)."""
    depth: int
    """Transformer: blocks (paper: 12). PointMLP: stages (paper: 4)."""
    neighbours: int
    """Points of a group (paper: 32; PointMLP: 24)."""
    heads: int
    """Transformer: attention heads (paper: 6)."""
    groups: int
    """Transformer: groups of a cloud (paper: 64)."""
    token_width: int
    """Transformer: width of a group's code before it becomes a token (paper: 256)."""
    blocks: int
    """PointMLP: residual blocks before and again after the maximum over a group (paper: 2)."""

    def __post_init__(self) -> None:
        at_least(self, width=1, depth=1, neighbours=1, heads=1, groups=1, token_width=2, blocks=1)
        fits = self.kind != "transformer" or self.width % self.heads == 0
        require(fits, "point_encoder.width", self.width, f"a multiple of point_encoder.heads ({self.heads})")


@dataclass(frozen=True)
class Cg3dStudent:
    """The small vision transformer of cg3d.clip `student`."""

    SECTION: ClassVar[str] = "cg3d_student"
    size: int
    """Side of its pictures, pixels."""
    patch: int
    """Side of a patch, pixels."""
    width: int
    """Width of its tokens, in heads of 32."""
    layers: int
    epochs: int
    """Passes over all views of the training models."""
    batch: int
    """Views a step."""
    lr: float
    """Peak rate (AdamW, cosine)."""
    seed: int

    def __post_init__(self) -> None:
        at_least(self, size=8, patch=1, width=32, layers=1, epochs=1, batch=2)
        positive(self, "lr")
        check_seeds(self, "seed")
        require(self.size % self.patch == 0, "cg3d_student.patch", self.patch, f"a divisor of size ({self.size})")
        require(self.width % 32 == 0, "cg3d_student.width", self.width, "a multiple of 32")


@dataclass(frozen=True)
class Cg3dFinetune:
    """Supervised fine-tuning of the 3D encoder on fullshot.dataset: from CG3D's weights, and from scratch."""

    SECTION: ClassVar[str] = "cg3d_finetune"
    shares: tuple[float, ...]
    """Shares of each class's training objects, at least one object each; subsets are nested."""
    epochs: int
    """Passes over the objects taken."""
    least_steps: int
    """Where so many passes make fewer steps, as many more are made."""
    batch: int
    """Objects a step at most; the batches of an epoch are nearly equal."""
    lr: float
    """Peak rate (AdamW, cosine), of encoder and head."""
    weight_decay: float
    seeds: tuple[int, ...]
    """Each draws its subset and its head's start, and takes a 3D encoder: that of its position, modulo their number."""

    def __post_init__(self) -> None:
        at_least(self, epochs=1, least_steps=1, batch=2)
        positive(self, "lr")
        between(self, 0, 1, "weight_decay")
        not_empty(self, "shares", "seeds")
        distinct(self, "shares", "seeds")
        check_seeds(self, "seeds")
        for number, share in enumerate(self.shares):
            require(0 < share <= 1, f"cg3d_finetune.shares[{number}]", share, "more than 0, up to 1")


@dataclass(frozen=True)
class Cg3dAblations:
    """The recipe of the section cg3d with one part changed at a time, each variant trained from its start."""

    SECTION: ClassVar[str] = "cg3d_ablations"
    seeds: tuple[int, ...]
    """Every variant is trained with each of them."""
    epochs: int
    """Of each training; the last one is taken."""
    held_out_classes: int
    """Classes whose models no variant is trained on, drawn by the hash of their names: what the image tower knew of
    them before, it may forget. 0: none; then only classes that tuning saw are asked about."""

    def __post_init__(self) -> None:
        at_least(self, epochs=1, held_out_classes=0)
        not_empty(self, "seeds")
        distinct(self, "seeds")
        check_seeds(self, "seeds")


@dataclass(frozen=True)
class Cg3dScenes:
    """Made scenes: test objects of fewshot.dataset on a floor, segmented, named and searched by text."""

    SECTION: ClassVar[str] = "cg3d_scenes"
    scenes: int
    """Scenes that are scored, of test objects."""
    tuning_scenes: int
    """Scenes of validation shapes, on which the clustering is chosen."""
    objects: int
    """Objects a scene."""
    floor_points: int
    """Points of the floor; an object has those of its cloud (sample.points)."""
    gap: float
    """Least distance between points of two objects, in the unit of an object's sphere before scaling."""
    scale: float
    """Objects are scaled by 1 / scale to scale."""
    noise: float
    """Standard deviation of every coordinate about the surface, in the same unit."""
    turns: int
    """Turns about the up axis at which a segment is encoded; the best cosine over them counts."""
    methods: tuple[Literal["dbscan", "hdbscan"], ...]
    """Clusterings to choose from."""
    reaches: tuple[float, ...]
    """DBSCAN's radii to choose from, in spacings of the cloud's points."""
    neighbours: tuple[int, ...]
    """Points of a dense neighbourhood, to choose from."""
    queries: tuple[str, ...]
    """Texts that the report's view lights up beside the classes' names; may be empty."""
    seed: int
    """Of the choice of objects, their places, turns and sizes."""

    def __post_init__(self) -> None:
        at_least(self, scenes=1, tuning_scenes=1, objects=1, floor_points=0, turns=1)
        positive(self, "gap")
        require(self.scale >= 1, "cg3d_scenes.scale", self.scale, "at least 1 (1: all of one size)")
        require(self.noise >= 0, "cg3d_scenes.noise", self.noise, "at least 0 (0: none)")
        not_empty(self, "methods", "reaches", "neighbours")
        distinct(self, "methods", "reaches", "neighbours", "queries")
        require(min(self.reaches) > 0, "cg3d_scenes.reaches", list(self.reaches), "numbers above 0")
        require(
            min(self.neighbours) > 0, "cg3d_scenes.neighbours", list(self.neighbours), "whole numbers of at least 1"
        )
        require(all(text.strip() for text in self.queries), "cg3d_scenes.queries", list(self.queries), "texts")
        check_seeds(self, "seed")
