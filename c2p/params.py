"""Parameters: frozen dataclasses built once from params.yaml.

One section a concern; a DVC stage lists the sections it depends on. Angles are in degrees here and in radians in code,
lengths are in units of the unit sphere that every shape is scaled into, shares are in [0, 1].
"""

import types
import typing
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from c2p.cg3d_params import TEMPLATE_SETS, Cg3d, Cg3dAblations, Cg3dFinetune, Cg3dScenes, Cg3dStudent, PointEncoder
from c2p.parameter_checks import (
    ParameterError,
    at_least,
    between,
    check_seeds,
    check_template,
    distinct,
    not_empty,
    positive,
    require,
)

S = TypeVar("S")


@dataclass(frozen=True)
class Download:
    """Where the shapes come from."""

    source: Literal["toy", "shapenet", "meshes"]
    """Pre-training collection: made shapes, ShapeNetCore.v2 (paper), or a folder or archive of meshes."""
    meshes: str
    """Folder, zip or tar, or a URL of one, laid out <class>/{train,test}/<name>.<ext>; empty: none. Needed where a set
    is `meshes`."""
    up: Literal["y", "z"]
    """Up axis of the files in `meshes`."""
    clouds: tuple[str, ...]
    """h5 or npz files of labelled clouds, `data` (N, P, 3) and `label` (N,): a training and a test file, or one with a
    `split`; paths or URLs; empty: none. Needed where a set is `clouds`."""
    clouds_up: Literal["y", "z"]
    """Up axis of the points in `clouds`."""
    clouds_classes: tuple[str, ...]
    """Class names of `clouds` in label order; empty: the files' `label_names`."""
    benchmarks: tuple[Literal["modelnet10", "modelnet40", "scanobjectnn", "meshes", "clouds"], ...]
    """Sets the tables are computed on (paper: modelnet10, modelnet40, scanobjectnn)."""
    toy_seed: int
    """Seed of the made shapes; each collection derives its own from it."""
    toy_train: int
    """Made pre-training shapes a category (ShapeNet: 41,943 in 55 categories)."""
    toy_validation: int
    """Made validation shapes a category (ShapeNet: 10,517 in 55 categories)."""
    toy_benchmark_train: int
    """Made training shapes a class in each benchmark set (ModelNet40: 9,843 in 40 classes)."""
    toy_benchmark_test: int
    """Made test shapes a class in each benchmark set (ModelNet40: 2,468 in 40 classes)."""

    def __post_init__(self) -> None:
        check_seeds(self, "toy_seed")
        at_least(self, toy_train=1, toy_validation=1, toy_benchmark_train=1, toy_benchmark_test=1)
        not_empty(self, "benchmarks")
        distinct(self, "benchmarks", "clouds_classes")
        require(len(self.clouds) < 3, "download.clouds", list(self.clouds), "one file, or a training and a test file")
        for name in self.clouds_classes:
            require(
                bool(name) and name == name.strip() and "\n" not in name,
                "download.clouds_classes",
                name,
                "names of one line without space around them",
            )


@dataclass(frozen=True)
class Render:
    """RGB views of meshes, and the surface cloud taken while the mesh is in memory."""

    renderer: Literal["auto", "raster", "embree", "pytorch3d", "warp"]
    """`auto` is raster; warp is raster on a GPU; pytorch3d is the published one and needs its own installation."""
    size: int
    """Side of an RGB view, pixels (paper: 224)."""
    supersample: int
    """Samples along each side of a pixel; 1 is the published, aliased picture."""
    views: Literal["ten", "six", "one", "fourteen"]
    """Named view set (paper: ten)."""
    centre: Literal["vertices", "surface"]
    """What a mesh is centred and scaled by before its pictures are taken: its vertices (published code), or its surface
    cloud, as depth maps are, so that both show the shape at the same place and size (ours)."""
    fov: float
    """Field of view, degrees (published code: 60)."""
    distance: float
    """Camera distance from the centre, unit-sphere radii (published code: 2)."""
    ambient: float
    """Ambient light (published code: 0.5)."""
    diffuse: float
    """Diffuse light from the camera (published code: 0.3)."""
    specular: float
    """Specular light (published code: 0.2)."""
    cloud_points: int
    """Area-uniform surface points kept a mesh (Point-BERT's clouds: 8,192)."""
    part_size: int
    """Models a part file: the unit of parallel work and of recovery (paper-scale: 200 to 500)."""
    max_faces: int
    """A mesh with more faces is rejected with that reason."""
    max_reject_rate: float
    """Share of unusable meshes above which the stage stops."""
    seed: int
    """Seed of the surface sampling, joined with each model's key."""

    def __post_init__(self) -> None:
        at_least(self, size=8, supersample=1, cloud_points=1, part_size=1, max_faces=1)
        check_seeds(self, "seed")
        between(self, 1, 179, "fov")
        between(self, 0, 1, "ambient", "diffuse", "specular", "max_reject_rate")
        require(self.distance > 1, "render.distance", self.distance, "more than 1 (outside the unit sphere)")


@dataclass(frozen=True)
class Sample:
    """Farthest-point sampling."""

    points: int
    """Points a cloud (paper: 1,024)."""

    def __post_init__(self) -> None:
        at_least(self, points=1)


@dataclass(frozen=True)
class Benchmarks:
    """What the benchmark sets hold of each object beside its farthest points, which are fixed once."""

    train_draws: int
    """Random draws of `sample.points` points, kept for every training object (published code: one at every access,
    without end); 0: none. Points of a mesh are drawn from its surface, those of a given cloud without repetition."""
    test_draws: int
    """The same for every test object (published few-shot code: a new draw at every access); 0: none."""

    def __post_init__(self) -> None:
        at_least(self, train_draws=0, test_draws=0)


@dataclass(frozen=True)
class Depth:
    """Depth maps of point clouds: CLIP2Point Eq. 13 and 14."""

    projection: Literal["perspective", "orthographic"]
    """Paper: perspective; published code: orthographic over [-1, 1]^2."""
    size: int
    """Side of a depth map, pixels (paper: 224)."""
    footprint: Literal["window", "disc", "surface"]
    """Pixels a point covers: Eq. 13's square window of `dilation` pixels, the published code's disc of `radius`, or
    what lies between it and its neighbours, a surface of triangles (dense maps with sharp contours; ours)."""
    dilation: int
    """R of Eq. 13, pixels (paper: 2)."""
    radius: float
    """Disc radius in normalised device coordinates (published code: 0.02)."""
    reach: float
    """Footprint surface: radius of the ball through a triangle's corners at most, in distances from a corner to the
    point next to it. Less leaves holes, more fuses parts that lie close together; 1.4 suits farthest points."""
    aggregation: Literal["minimum", "weighted"]
    """Eq. 14's minimum (paper), or PointCLIP's weighted mean (Eq. 12)."""
    fov: float
    """Field of view of the perspective projection, degrees (the paper gives no focal length)."""
    distance: float
    """Camera distance at jitter 1, unit-sphere radii (paper and published code: 1; a perspective camera there stands on
    the unit sphere and sees a part of the shape, so the profiles with perspective take 2, the RGB camera's)."""
    jitter: float
    """Pre-training draws distances uniformly from distance * [1 - jitter, 1 + jitter) (paper: 0.1)."""

    def __post_init__(self) -> None:
        at_least(self, size=8, dilation=1)
        between(self, 1, 179, "fov")
        require(self.radius > 0, "depth.radius", self.radius, "more than 0")
        require(self.reach > 0, "depth.reach", self.reach, "more than 0")
        require(
            self.footprint != "surface" or self.aggregation == "minimum",
            "depth.aggregation",
            self.aggregation,
            "minimum where depth.footprint is surface",
        )
        require(self.distance > 0, "depth.distance", self.distance, "more than 0")
        require(0 <= self.jitter < 1, "depth.jitter", self.jitter, "0 to less than 1")


@dataclass(frozen=True)
class Shards:
    """WebDataset shards of the pre-training collection."""

    samples_per_shard: int
    """Samples a tar."""
    validation_share: float
    """Share of each class's training models held out for validation where the collection brings no split (meshes)."""

    def __post_init__(self) -> None:
        at_least(self, samples_per_shard=1)
        require(0 < self.validation_share < 1, "shards.validation_share", self.validation_share, "between 0 and 1")


@dataclass(frozen=True)
class Teacher:
    """The CLIP whose language the depth encoder learns; frozen after this stage."""

    model: str
    """open_clip model name; `c2p-demo` is the project's own small one (paper: ViT-B-32-quickgelu)."""
    pretrained: str
    """open_clip tag (paper: openai) or a weights file; empty: trained on the training renders and captions (demo)."""
    epochs: int
    """Passes over the training models, one random view and caption each (demo only)."""
    batch: int
    """Image-caption pairs a step."""
    lr: float
    """Peak learning rate (AdamW, cosine)."""
    weight_decay: float
    warmup: float
    """Share of the steps over which the rate rises from 0."""
    seed: int

    def __post_init__(self) -> None:
        at_least(self, epochs=1, batch=2)
        check_seeds(self, "seed")
        positive(self, "lr")
        between(self, 0, 1, "weight_decay", "warmup")


@dataclass(frozen=True)
class Pretrain:
    """Image-depth pre-training (paper section 3.2.1)."""

    seeds: tuple[int, ...]
    """One depth encoder a seed; the tables give mean and spread over them (paper: one, seed unknown)."""
    epochs: int
    """Paper: 100."""
    batch: int
    """Models a step, two depth maps each (paper: 256)."""
    optimizer: Literal["lamb", "adamw"]
    """Paper: lamb."""
    lr: float
    """Paper: 6e-3."""
    weight_decay: float
    """Paper: 1e-4."""
    schedule: Literal["restarts", "cosine"]
    """Published code: cosine with warm restarts every `restart_epochs`; `cosine` falls once over the run."""
    restart_epochs: int
    """Published code: 2."""
    warmup: float
    """Share of the run's steps over which the rate rises from 0, before the first cosine (published code: 0)."""
    lr_min: float
    """Published code: 1e-5."""
    temperature: float
    """Paper: 0.7; published code: 0.07."""
    intra: bool
    """Intra-modality loss (Eq. 7); off is the paper's cross-modality ablation."""
    hard_negatives: int
    """Nearest samples by image features that join each sample in its batch (published code: 0, batches at random)."""
    precision: Literal["float32", "bfloat16"]
    """Of the tower's matrix products; weights, optimiser and loss stay in float32 (published code: float32)."""
    checkpoint_every: int
    """Epochs between validated checkpoints."""
    keep_last: int
    """Newest checkpoints that are kept."""
    keep_best: int
    """Checkpoints kept for their validation accuracy; of equals, the ones trained longer."""

    def __post_init__(self) -> None:
        at_least(self, epochs=1, batch=2, restart_epochs=1, checkpoint_every=1, keep_last=1, keep_best=1)
        positive(self, "lr", "temperature")
        require(0 <= self.lr_min <= self.lr, "pretrain.lr_min", self.lr_min, f"0 to pretrain.lr ({self.lr})")
        between(self, 0, 1, "weight_decay")
        require(
            0 <= self.hard_negatives < self.batch,
            "pretrain.hard_negatives",
            self.hard_negatives,
            f"0 to less than pretrain.batch ({self.batch})",
        )
        require(0 <= self.warmup < 1, "pretrain.warmup", self.warmup, "0 to less than 1")
        not_empty(self, "seeds")
        distinct(self, "seeds")
        check_seeds(self, "seeds")


@dataclass(frozen=True)
class Zeroshot:
    """Zero-shot classification (Eq. 15)."""

    views: Literal["six", "ten", "one"]
    """Paper: six for the benchmark sets."""
    template: str
    """Prompt with one {} for the class name (paper: image of a {})."""
    templates: tuple[str, ...]
    """Ensemble whose text features are averaged; empty: `template` alone (paper). Texts as `template`, or names of
    sets: clip-80 and clip-7, those CLIP's authors use on ImageNet."""

    def __post_init__(self) -> None:
        check_template("zeroshot.template", self.template, "")
        for number, text in enumerate(self.templates):
            if text not in TEMPLATE_SETS:
                check_template(f"zeroshot.templates[{number}]", text, f", or one of {', '.join(TEMPLATE_SETS)}")


@dataclass(frozen=True)
class Adapter:
    """Training of CLIP2Point's adapters (Eq. 16 to 19)."""

    epochs: int
    """Paper, 16-shot: 100 in the published code."""
    batch: int
    """Paper: 32."""
    lr: float
    """Paper: 1e-3 (AdamW)."""
    weight_decay: float
    """Paper: 1e-4."""
    dropout: float
    """Published code: 0.075."""
    selection: Literal["last", "heldout"]
    """Epoch that is evaluated: the last, or the best on training objects held out, the last of equals (published code:
    the best on the test set). PointCLIP's adapter too."""
    heldout_share: float
    """Share of each class's training objects that is held out, at least one; used by selection heldout only."""
    draws: int
    """Augmented passes over the training objects, beside the plain one: distances as depth.jitter draws them and, where
    benchmarks.train_draws keeps them, other points. Each is encoded once, and epochs take the passes in turn (published
    code: new points at every access, no jitter). PointCLIP's adapter too."""

    def __post_init__(self) -> None:
        at_least(self, epochs=1, batch=2, draws=0)
        positive(self, "lr")
        between(self, 0, 1, "weight_decay", "dropout")
        require(0 < self.heldout_share < 1, "adapter.heldout_share", self.heldout_share, "between 0 and 1")


@dataclass(frozen=True)
class Pointclip:
    """The baselines PointCLIP and PointCLIP V2 (their published codes)."""

    epochs: int
    """Adapter epochs (published: 250)."""
    size: int
    """Side of its zero-shot depth map before resizing to the encoder, pixels (published: 128)."""
    adapter_size: int
    """Side of the depth map its adapter is trained on, pixels (published: 224)."""
    prompts: str
    """JSON file of texts for every class, for PointCLIP V2 (published: sentences by GPT-3, picked on the test set);
    empty: c2p's own eight templates. DVC watches the path, not what the file holds."""

    def __post_init__(self) -> None:
        at_least(self, epochs=2, size=8, adapter_size=8)


Control = Literal[
    "pointclip_v2",
    "pointclip_searched_on_shots",
    "pointclip_searched_on_test",
    "linear_probe_clip",
    "linear_probe_depth",
    "tip_adapter_clip",
    "tip_adapter_depth",
]


@dataclass(frozen=True)
class Controls:
    """Controls beside the paper's methods: none trains an encoder, and all but one choose nothing on a test set."""

    methods: tuple[Control, ...]
    """Rows added to k-shot and fully supervised classification; pointclip_searched_on_test is zero-shot with weights
    chosen on the test set, as PointCLIP's published code does, and comparable with nothing. May be empty."""
    held_out: float
    """Share of each class's training objects on which the linear probe's strength and Tip-Adapter's alpha and beta are
    chosen; 0, or a class with a single object: the values below are taken."""
    pooling: Literal["mean", "concatenated"]
    """The linear probe's input: the mean of the views' features, or all of them side by side."""
    strength: float
    """L2 strength of the linear probe, of inputs whose mean square length is one."""
    alpha: float
    """Tip-Adapter: weight of the cache beside the zero-shot logits (published code, ImageNet: 1.17)."""
    beta: float
    """Tip-Adapter: sharpness of the affinity (published code, ImageNet: 1)."""

    def __post_init__(self) -> None:
        distinct(self, "methods")
        positive(self, "strength", "beta")
        require(0 <= self.held_out < 1, "controls.held_out", self.held_out, "0 to less than 1")
        require(self.alpha >= 0, "controls.alpha", self.alpha, "at least 0")


@dataclass(frozen=True)
class Fewshot:
    """k-shot classification."""

    dataset: Literal["modelnet40", "modelnet10", "meshes", "clouds"]
    """Paper: modelnet40."""
    shots: int
    """Training objects a class (paper: 16)."""
    curve: tuple[int, ...]
    """Other training objects a class, for accuracy against shots; may be empty. Subsets are nested."""
    seeds: tuple[int, ...]
    """Each seed draws its subset and its initialisation, and takes a depth encoder: that of its position, modulo the
    number of encoders (paper: one, unknown)."""

    def __post_init__(self) -> None:
        at_least(self, shots=1)
        distinct(self, "curve")
        require(min(self.curve, default=1) >= 1, "fewshot.curve", list(self.curve), "whole numbers of at least 1")
        not_empty(self, "seeds")
        distinct(self, "seeds")
        check_seeds(self, "seeds")


@dataclass(frozen=True)
class Fullshot:
    """Fully supervised classification (Table 3)."""

    dataset: Literal["modelnet40", "modelnet10", "meshes", "clouds"]
    seeds: tuple[int, ...]
    epochs: int
    """Adapter epochs."""

    def __post_init__(self) -> None:
        at_least(self, epochs=1)
        not_empty(self, "seeds")
        distinct(self, "seeds")
        check_seeds(self, "seeds")


@dataclass(frozen=True)
class Ablations:
    """Tables 4 and 5 and the text's controls."""

    dilations: tuple[int, ...]
    """Paper: 1, 2, 4."""
    cross_only: bool
    """Whether one more depth encoder is pre-trained, without the intra-modality loss (section 5.6): it costs as much as
    one of pretrain.seeds."""

    def __post_init__(self) -> None:
        not_empty(self, "dilations")
        distinct(self, "dilations")
        require(min(self.dilations) >= 1, "ablations.dilations", self.dilations, "whole numbers of at least 1")


@dataclass(frozen=True)
class Params:
    """All parameters; `load` reads them."""

    profile: str
    download: Download
    render: Render
    sample: Sample
    benchmarks: Benchmarks
    depth: Depth
    shards: Shards
    teacher: Teacher
    pretrain: Pretrain
    zeroshot: Zeroshot
    adapter: Adapter
    pointclip: Pointclip
    controls: Controls
    fewshot: Fewshot
    fullshot: Fullshot
    ablations: Ablations
    cg3d: Cg3d
    point_encoder: PointEncoder
    cg3d_student: Cg3dStudent
    cg3d_ablations: Cg3dAblations
    cg3d_finetune: Cg3dFinetune
    cg3d_scenes: Cg3dScenes

    def __post_init__(self) -> None:
        sets = self.download.benchmarks
        for name in ("fewshot", "fullshot"):
            dataset = getattr(self, name).dataset
            require(dataset in sets, f"{name}.dataset", dataset, f"one of download.benchmarks ({', '.join(sets)})")
        require(
            "clouds" not in sets or bool(self.download.clouds),
            "download.clouds",
            [],
            "the files of the set clouds; set them with: --set 'download.clouds=[TRAIN.h5, TEST.h5]'",
        )
        needs_meshes = self.download.source == "meshes" or "meshes" in sets
        require(
            not needs_meshes or bool(self.download.meshes),
            "download.meshes",
            self.download.meshes,
            "the path of a folder or archive of meshes; set it with: c2p profile use meshes --set download.meshes=PATH",
        )


def load(path: Path | str = "params.yaml") -> Params:
    """Read and check a parameter file.

    Raises ParameterError: unknown or missing key, wrong type, impossible value, or a file that is not YAML.
    """
    import yaml  # parameters that are built from plain data do without

    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ParameterError(f"{path}: no such parameter file; run `c2p profile use demo` to make one") from None
    try:
        raw = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ParameterError(f"{path}: not valid YAML: {str(error).splitlines()[0]}") from None
    return build(raw)


def build(raw: Any) -> Params:
    """Build checked parameters from plain data, as load does from a file."""
    return build_sections(Params, raw)


def build_sections(kind: type[S], raw: Any) -> S:
    """Build a dataclass whose fields are sections, `Params` or a part of it, from plain data.

    Raises ParameterError as load does.
    """
    return typing.cast(S, _convert(kind, raw, ""))


def _convert(kind: Any, value: Any, name: str) -> Any:
    if is_dataclass(kind):
        return _convert_section(typing.cast(type, kind), value, name)
    origin = typing.get_origin(kind)
    if origin is Literal:
        allowed = typing.get_args(kind)
        require(
            value in allowed and type(value) in {type(a) for a in allowed},
            name,
            value,
            "one of " + ", ".join(map(str, allowed)),
        )
        return value
    if origin is tuple:
        require(isinstance(value, list | tuple), name, value, "a list")
        item = typing.get_args(kind)[0]
        return tuple(_convert(item, v, f"{name}[{i}]") for i, v in enumerate(value))
    if kind is float:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        require(number and abs(value) < float("inf"), name, value, "a finite number" + _yaml_exponent_hint(value))
        return float(value)
    if kind is int:
        require(isinstance(value, int) and not isinstance(value, bool), name, value, "a whole number")
        return value
    assert isinstance(kind, type) and not isinstance(kind, types.UnionType)
    require(isinstance(value, kind), name, value, {bool: "true or false", str: "a text"}[kind])
    return value


def _convert_section(kind: type, value: Any, name: str) -> Any:
    require(isinstance(value, dict), name or "params.yaml", value, "a section of keys")
    hints = typing.get_type_hints(kind)
    known = [f.name for f in fields(kind)]
    prefix = f"{name}." if name else ""
    for key in value:
        require(key in known, f"{prefix}{key}", value[key], f"unknown key; known here: {', '.join(known)}", known=False)
    missing = [key for key in known if key not in value]
    if missing:
        raise ParameterError(f"{prefix}{missing[0]}: missing; profiles/demo.yaml shows every key")
    return kind(**{key: _convert(hints[key], value[key], f"{prefix}{key}") for key in known})


def _yaml_exponent_hint(value: Any) -> str:
    return " (YAML reads 1e-3 as text: write 1.0e-3)" if isinstance(value, str) else ""
