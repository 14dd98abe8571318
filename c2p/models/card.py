"""The model card that lies beside a depth encoder, in the hub's format: what it is, how good, its limits."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import yaml

from c2p.params import Params

TEXT = """# Depth encoder ({profile}, seed {seed})

A CLIP visual tower that reads depth maps of point clouds. It was pre-trained by image-depth contrast against a frozen
teacher (CLIP2Point, Huang et al., ICCV 2023, arXiv 2210.01055; re-implemented by c2p), so depth maps can be compared
with texts: the text tower in this folder is the teacher's, unchanged.

| what | value |
|---|---|
| teacher | {teacher} |
| features | {width} numbers, compared by cosine |
| pre-training collection | {source} |
| preset | {profile} |
| checkpoint | seed {seed}, epoch {epoch} of {epochs} |
| validation accuracy, zero-shot, {views} views | {accuracy:.2f} % |

## Use

```python
import open_clip

model, _, preprocess = open_clip.create_model_and_transforms("local-dir:PATH")  # or "hf-hub:OWNER/NAME"
tokenizer = open_clip.get_tokenizer("local-dir:PATH")
features = model.encode_image(preprocess(picture)[None])  # model.visual is the depth encoder alone
texts = model.encode_text(tokenizer(["{example}"]))
```

`picture` is a depth map as a PIL image, three equal channels. It is drawn so (`c2p.geometry.depth`, parameters below):

- {points} farthest points of a surface, centroid at the origin, largest distance from it 1, y up;
- {projection}, camera at distance {distance:g}; {footprint}; the {aggregation} depth of a pixel counts;
- pixel value (z - z_min) / z_max x 200/255, empty pixels white (1.0), {size} x {size} pixels;
- `preprocess` then resizes to {image_size} x {image_size} and standardises by mean {mean} and deviation {std}.

For an object, sum the cosines of several views (the {views} of training, or six around it) before comparing classes.
`c2p classify FILE --labels "chair,table" --encoder PATH` does all of this from a mesh or a cloud, and in Python
`c2p.load("PATH").classify(points, ["chair", "table"])`: `c2p_config.json` beside the weights says how.

## Training

{training}

## Results

Zero-shot accuracy of depth maps on the validation split of the pre-training collection, by which the epoch of each seed
was chosen; no benchmark set was looked at for it. Prompts: {prompts}.

| seed | chosen epoch | accuracy, % | mean over classes, % |
|---|---:|---:|---:|
{rows}

{spread}

## Licence

{terms}

## Limits

- It knows the shapes and the words of its teacher and of the collection above.
- It reads depth maps drawn as above; other cameras, point sizes, backgrounds, or clouds from sensors (noise, holes,
  parts cut off) are outside what it was trained on, and its accuracy falls there.
- Shapes have to stand upright (y up): it was not trained to bear rotations.
- The accuracies are of closed lists of class names; scores are no calibrated probabilities.
- {origin}

## Parameters

```yaml
{parameters}```
"""
WEB = (
    "What its teacher learnt from the web, prejudices included, is in its texts and features. It is made for research\n"
    "  on shapes and not for decisions about people."
)
SMALL = (
    "Its teacher is a small network trained in the same run on the same shapes: it is there to try the pipeline out."
)
SOURCES = {
    "toy": "textured shapes made by c2p (parametric families, no data of others)",
    "shapenet": "ShapeNetCore.v2, Point-BERT's ShapeNet-55 split",
    "meshes": "meshes of the user's own",
}
PROJECTIONS = {"perspective": "perspective, field of view {:g} degrees", "orthographic": "orthographic over [-1, 1]^2"}
FOOTPRINTS = {
    "window": "a point covers a window of {0.dilation} x {0.dilation} pixels",
    "disc": "a point covers a disc of radius {0.radius:g} in normalised device coordinates",
    "surface": "points are joined to a surface of triangles (reach {0.reach:g})",
}


@dataclass(frozen=True)
class Chosen:
    """The chosen checkpoint of a seed."""

    epoch: int
    """Finished epochs."""
    accuracy: float
    """Zero-shot on the validation split, percent."""
    class_mean: float
    """The same as a mean over classes, percent."""


def model_card(
    params: Params,
    *,
    seed: int,
    chosen: Mapping[int, Chosen],
    width: int,
    image_size: int,
    mean: tuple[float, ...],
    std: tuple[float, ...],
) -> str:
    """Text of the card of one seed's encoder. chosen: every seed's; the others: of its teacher (see Clip)."""
    from huggingface_hub import ModelCard, ModelCardData

    settings, depth, own = params.pretrain, params.depth, chosen[seed]
    sections = {name: dataclasses.asdict(getattr(params, name)) for name in ("render", "sample", "depth", "pretrain")}
    licence, terms = _licence(params)
    text = TEXT.format(
        profile=params.profile,
        seed=seed,
        teacher=_teacher(params),
        width=width,
        source=SOURCES[params.download.source],
        epoch=own.epoch,
        epochs=settings.epochs,
        views=params.render.views,
        accuracy=own.accuracy,
        example=params.zeroshot.template.format("chair"),
        points=f"{params.sample.points:,}",
        projection=PROJECTIONS[depth.projection].format(depth.fov),
        distance=depth.distance,
        footprint=FOOTPRINTS[depth.footprint].format(depth),
        aggregation="nearest" if depth.aggregation == "minimum" else "weighted mean",
        size=depth.size,
        image_size=image_size,
        mean=_numbers(mean),
        std=_numbers(std),
        training=_training(params),
        prompts=", ".join(f"`{text}`" for text in params.zeroshot.templates or (params.zeroshot.template,)),
        rows="\n".join(
            f"| {s}{' (this one)' if s == seed else ''} | {c.epoch} | {c.accuracy:.2f} | {c.class_mean:.2f} |"
            for s, c in sorted(chosen.items())
        ),
        spread=_spread(chosen),
        terms=terms,
        origin=WEB if params.teacher.pretrained else SMALL,
        parameters=yaml.safe_dump(_plain(sections), sort_keys=False),
    )
    data = ModelCardData(
        language="en",
        library_name="open_clip",
        pipeline_tag="zero-shot-image-classification",
        tags=["clip", "3d", "depth", "point-cloud", "clip2point"],
        base_model=_base_model(params),
        datasets=["ShapeNet/ShapeNetCore"] if params.download.source == "shapenet" else None,
        metrics=["accuracy"],
        model_name=f"c2p depth encoder ({params.profile}, seed {seed})",
        eval_results=_results(params, own),
        **licence,
    )
    return str(ModelCard(f"---\n{data.to_yaml(line_break=chr(10))}\n---\n{text}"))


def _teacher(params: Params) -> str:
    settings = params.teacher
    if not settings.pretrained:
        return f"{settings.model}, trained in this run"
    local = Path(settings.pretrained).is_absolute()  # where a file lay is nobody's business
    return f"{settings.model}, weights {Path(settings.pretrained).name if local else settings.pretrained}"


def _base_model(params: Params) -> str | None:
    """The teacher's repository on the hub, where its tag is from one."""
    import open_clip

    tag = open_clip.get_pretrained_cfg(params.teacher.model, params.teacher.pretrained) or {}
    return str(tag.get("hf_hub") or "").rstrip("/") or None


def _licence(params: Params) -> tuple[dict[str, Any], str]:
    """Metadata and words."""
    if params.download.source == "toy" and not params.teacher.pretrained:
        return {"license": "apache-2.0"}, "Apache-2.0: shapes, teacher and encoder were made by c2p alone."
    if params.download.source == "shapenet":
        name, link = "shapenet-terms-of-use", "https://shapenet.org/terms"
        terms = "allow non-commercial research and education; the teacher's weights keep their own licence."
        return (
            {"license": "other", "license_name": name, "license_link": link},
            f"The weights were learnt from ShapeNet, whose terms ({link}) {terms}",
        )
    name = "terms-of-meshes-and-teacher"
    return (
        {"license": "other", "license_name": name},
        "The terms of the meshes it was trained on and of the teacher's weights hold for these weights too.",
    )


def _results(params: Params, own: Chosen) -> list[Any]:
    from huggingface_hub import EvalResult

    names = {"toy": "shapes made by c2p", "shapenet": "ShapeNetCore.v2", "meshes": "meshes of the user's own"}
    return [
        EvalResult(
            task_type="zero-shot-image-classification",
            task_name="zero-shot classification of depth maps",
            dataset_type=params.download.source,
            dataset_name=f"{names[params.download.source]}, validation split",
            dataset_split="validation",
            metric_type="accuracy",
            metric_name=name,
            metric_value=round(value / 100, 6),
        )
        for name, value in (("top-1 accuracy", own.accuracy), ("mean over classes", own.class_mean))
    ]


def _training(params: Params) -> str:
    settings, depth = params.pretrain, params.depth
    losses = "the intra-modality loss (one view at two distances) and the cross-modality loss"
    return (
        f"{settings.epochs} epochs of batches of {settings.batch} models, {settings.optimizer.upper()}, learning rate "
        f"{settings.lr:g}, weight decay {settings.weight_decay:g}, temperature {settings.temperature:g}, "
        f"{losses if settings.intra else 'the cross-modality loss alone'}; one random view a model and epoch, camera "
        f"distances drawn from {depth.distance:g} x [{1 - depth.jitter:g}, {1 + depth.jitter:g}); the teacher frozen."
    )


def _spread(chosen: Mapping[int, Chosen]) -> str:
    values = [item.accuracy for item in chosen.values()]
    if len(values) == 1:
        return "One seed: no spread is known."
    return f"Mean and standard deviation over {len(values)} seeds: {fmean(values):.2f} ± {stdev(values):.2f} %."


def _numbers(values: tuple[float, ...]) -> str:
    return "(" + ", ".join(f"{value:.4f}".rstrip("0") for value in values) + ")"


def _plain(value: object) -> object:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, tuple) else value
