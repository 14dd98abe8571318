"""What stands in the tables of CG3D: zero-shot, retrieval, ablations, fine-tuning, scenes."""

from collections.abc import Iterator, Mapping
from typing import Any

from c2p import params
from c2p.evaluation import methods, published
from c2p.evaluation.cells import Cell, find_cell, other_cell

Metrics = Mapping[str, Mapping[str, Any]]
"""By protocol, what its stage wrote; absent where that has not run, empty where it was left out."""

ZEROSHOT, RETRIEVAL = "cg3d_zeroshot", "cg3d_retrieval"
ABLATIONS, FINETUNE, SCENES = "cg3d_ablations", "cg3d_finetune", "cg3d_scenes"
TABLES = (ZEROSHOT, RETRIEVAL, ABLATIONS, FINETUNE, SCENES)
"""Names of the tables and of the metrics that fill them."""
LEFT_OUT = "not run: cg3d.run is false"
CG3D = "CG3D's 3D encoder"
QUERIES = {
    "text_object": ("text: a shape's caption", "the shapes that have it"),
    "text_class": ("text: a class's prompt", "its shapes"),
    "image_object": ("image: an RGB view", "the shape it shows"),
    "image_class": ("image: an RGB view", "shapes of its class"),
    "shape_class": ("shape", "others of its class"),
}
"""What is asked and what is relevant, by task (c2p.evaluation.cg3d_retrieval)."""
HEADLINE = "text_object"
"""The task that text -> shape is judged by; c2p.evaluation.cg3d_retrieval says why."""
MEASURES = {"r1": "R@1", "r5": "R@5", "r10": "R@10", "map": "mAP"}
VARIANTS = {
    "prompts-both": ("prompts (published)", "image and text"),
    "nothing-both": ("as it was", "image and text"),
    "everything-both": ("tuned as a whole", "image and text"),
    "prompts-image": ("prompts", "image"),
    "prompts-text": ("prompts", "text"),
}
"""The image tower and what draws the 3D encoder, by variant (c2p.evaluation.recipe_variants)."""
FORGOTTEN = "image_to_text_r1_difference"
PAIRS = "image_to_text_r1"
"""Metric of the columns that ask the image tower about pairs of picture and text."""
NAMES = {
    "before": "before tuning",
    "prompts-both": "prompts, both",
    "nothing-both": "no prompts",
    "everything-both": "tuned as a whole",
    "prompts-image": "image alone",
    "prompts-text": "text alone",
}
"""Short names of the rows, where two are compared."""
BEFORE = ("before tuning", "–")
SEEN, HELD_OUT = "classes trained on", "classes left out"
STARTS = {"cg3d": "from CG3D's weights", "scratch": "from random weights", "gain": "difference"}
SCENE_ROWS = {
    "named": "found segments, named by the 3D encoder",
    "true_masks": "true masks, named by the 3D encoder",
    "right_names": "found segments, each with its best name",
}
SCENE_MEASURES = {"miou": ("mean", "mean IoU"), "accuracy": ("accuracy", "points named right")}


def build_cg3d_cells(settings: params.Params, metrics: Metrics, names: Mapping[str, str]) -> Iterator[Cell]:
    """All cells of CG3D's tables.

    names: what people call each dataset, in the order of the rows.
    """
    missing = "" if settings.cg3d.run else LEFT_OUT
    yield from _zeroshot(metrics, names, missing)
    yield from _retrieval(settings, metrics, names, missing)
    yield from _ablations(settings, metrics, names, missing)
    yield from _finetune(settings, metrics, missing)
    yield from _scenes(metrics, missing)


def _zeroshot(metrics: Metrics, names: Mapping[str, str], missing: str) -> Iterator[Cell]:
    for dataset, name in names.items():
        fields: dict[str, Any] = {"table": ZEROSHOT, "heads": (name,), "shots": 0, "missing": missing}
        number = published.CG3D.get(dataset)
        yield find_cell(metrics, ZEROSHOT, dataset, "cg3d", column=CG3D, published=number, **fields)
        number = published.REEVALUATED.get(dataset)
        other = methods.WITH
        yield find_cell(
            metrics, "zeroshot", dataset, other.slug, column=other.label, pretrained=True, published=number, **fields
        )
    yield other_cell(ZEROSHOT, ("Objaverse-LVIS",), CG3D, published.CG3D["objaverse_lvis"])


def _retrieval(settings: params.Params, metrics: Metrics, names: Mapping[str, str], missing: str) -> Iterator[Cell]:
    found = metrics.get(RETRIEVAL, {})
    for dataset in dict.fromkeys((methods.VALIDATION, settings.fewshot.dataset)):
        for task, (query, relevant) in QUERIES.items():
            pictured = dataset == methods.VALIDATION
            if not pictured and task in ("text_object", "image_object", "image_class"):
                continue
            absent = dataset in found and f"{task}_r1" not in found[dataset]
            for measure, label in MEASURES.items():
                yield find_cell(
                    metrics,
                    RETRIEVAL,
                    dataset,
                    f"{task}_{measure}",
                    table=RETRIEVAL,
                    heads=(names.get(dataset, dataset), query, relevant),
                    column=label,
                    shots=0,
                    metric=measure,
                    missing=missing or ("no shape has what this asks for" if absent else ""),
                )


def _ablations(settings: params.Params, metrics: Metrics, names: Mapping[str, str], missing: str) -> Iterator[Cell]:
    flat = _with(metrics, ABLATIONS, _flat_ablations)
    zeroshot = {
        "validation": f"3D, {SEEN}",
        "validation_held_out": f"3D, {HELD_OUT}",
        settings.fewshot.dataset: f"3D, {names.get(settings.fewshot.dataset, settings.fewshot.dataset)}",
    }
    pairs = {"pairs_seen": f"RGB views, {SEEN}", "pairs_held_out": f"RGB views, {HELD_OUT}"}
    forgotten = {"forgotten_held_out": f"points forgotten, {HELD_OUT}"}
    metric_of = dict.fromkeys(zeroshot, "top1") | dict.fromkeys(pairs, PAIRS) | dict.fromkeys(forgotten, FORGOTTEN)
    for slug, heads in {"before": BEFORE, **VARIANTS}.items():
        for dataset, column in (zeroshot | pairs | forgotten).items():
            nothing = "nothing was trained yet" if slug == "before" and dataset not in pairs else ""
            yield find_cell(
                flat,
                ABLATIONS,
                dataset,
                slug,
                table=ABLATIONS,
                heads=heads,
                column=column,
                shots=0,
                metric=metric_of[dataset],
                missing=missing or nothing,
            )


def _finetune(settings: params.Params, metrics: Metrics, missing: str) -> Iterator[Cell]:
    dataset = settings.fullshot.dataset
    shares = metrics.get(FINETUNE, {}).get(dataset, {}).get("shares", {})
    for share in settings.cg3d_finetune.shares:
        objects = shares.get(f"{share:g}", {}).get("objects")
        for start, label in STARTS.items():
            yield find_cell(
                _with(metrics, FINETUNE, _flat_shares),
                FINETUNE,
                dataset,
                f"{start}_{share:g}",
                table=FINETUNE,
                heads=(f"{100 * share:g} %", "–" if objects is None else f"{objects:,}"),
                column=label,
                shots="all" if share == 1 else None,
                metric="top1_difference" if start == "gain" else "top1",
                missing=missing,
            )


def _scenes(metrics: Metrics, missing: str) -> Iterator[Cell]:
    flat = _with(metrics, SCENES, _flat_scenes)
    for slug, head in SCENE_ROWS.items():
        for measure, (_, label) in SCENE_MEASURES.items():
            yield find_cell(
                flat,
                SCENES,
                "scenes",
                f"{slug}_{measure}",
                table=SCENES,
                heads=(head,),
                column=label,
                shots=0,
                metric=measure,
                missing=missing,
            )


def _with(metrics: Metrics, protocol: str, flatten: Any) -> Metrics:
    """The metrics with one protocol's in the form dataset -> method -> numbers; absent and empty ones as they are."""
    return {**metrics, protocol: flatten(metrics[protocol])} if metrics.get(protocol) else metrics


def _flat_ablations(found: Mapping[str, Any]) -> dict[str, Any]:
    """Zero-shot sets as they are; pairs_<group> with the share of pictures whose nearest text is right.

    forgotten_<group> has the points of that by which the CLIP's own tower was above it.
    """
    flat = {dataset: dict(about) for dataset, about in found.get("zeroshot", {}).items()}
    for group, about in found.get("pairs", {}).items():
        numbers = {slug: value["image_to_text"] for slug, value in about.items() if slug != "set"}
        flat[f"pairs_{group}"] = {"set": about["set"], **numbers}
        flat[f"forgotten_{group}"] = {slug: value["forgotten"] for slug, value in about.items() if "forgotten" in value}
    inputs = {"inputs": found.get("inputs", "")}
    return {
        dataset: {slug: value if slug == "set" else value | inputs for slug, value in about.items()}
        for dataset, about in flat.items()
    }


def _flat_shares(found: Mapping[str, Any]) -> dict[str, Any]:
    """dataset -> <start>_<share>; chance says nothing of a difference, whose inputs are those of the learnt start."""
    flat: dict[str, Any] = {}
    for dataset, about in found.items():
        flat[dataset] = {"set": about["set"]}
        for share, value in about["shares"].items():
            gain = value["gain"] | {"chance": None, "inputs": value["cg3d"].get("inputs", "")}
            flat[dataset] |= {f"{start}_{share}": value[start] for start in ("cg3d", "scratch")}
            flat[dataset][f"gain_{share}"] = gain
    return flat


def _flat_scenes(found: Mapping[str, Any]) -> dict[str, Any]:
    """scenes -> <row>_<measure>; chance: what names drawn at random reach on the same segments."""
    flat: dict[str, Any] = {}
    for slug in SCENE_ROWS:
        for measure, (field, _) in SCENE_MEASURES.items():
            values = found[slug]
            chance = found["random_names"][field] if slug == "named" else None
            kept = values if measure == "miou" else {"seeds": values.get("seeds", {})}
            more = {"mean": values[field], "chance": chance, "inputs": found.get("inputs", "")}
            flat[f"{slug}_{measure}"] = {**kept, **more}
    return {"scenes": flat}
