"""Metrics of CG3D's stages made up here, in the forms that the stages write."""

from typing import Any

from made_results import value

SLUGS = ("everything-both", "prompts-both", "prompts-image", "prompts-text", "nothing-both")
INPUTS = "fedcba987654"
MEASURES = ("r1", "r5", "r10", "map")


def make_cg3d_metrics() -> dict[str, Any]:
    """Metrics of cg3d_evaluate, cg3d_ablations, cg3d_finetune and cg3d_scenes."""
    facts = {"classes": 4, "train": 8, "test": 8, "chance": 25.0}
    zeroshot = {name: {"set": facts, "cg3d": value(mean, mean - 1, mean + 1)} for name, mean in (
        ("modelnet40", 80), ("modelnet10", 25.5), ("validation", 95),
    )}  # fmt: skip
    return {
        "cg3d_zeroshot": zeroshot,
        "cg3d_retrieval": {
            "validation": _tasks("text_object", "text_class", "image_object", "image_class", "shape_class"),
            "modelnet40": _tasks("text_class", "shape_class"),
        },
        "cg3d_ablations": _ablations(),
        "cg3d_finetune": _finetune(),
        "cg3d_scenes": _scenes(),
    }


def _tasks(*tasks: str) -> dict[str, Any]:
    """R@1 10, R@5 20, R@10 30, mAP 40; their chances 1, 5, 25, 39."""
    found: dict[str, Any] = {"set": {"shapes": 8, "classes": 4}}
    for task in tasks:
        for n, (measure, chance) in enumerate(zip(MEASURES, (1.0, 5.0, 25.0, 39.0), strict=True), 1):
            found[f"{task}_{measure}"] = value(10 * n, 10 * n - 1, 10 * n + 1) | {"chance": chance, "queries": 12}
    return found


def _ablations() -> dict[str, Any]:
    """Prompts are no better than none; both beat either; a tower tuned as a whole forgets more than prompts."""
    means = dict(zip(SLUGS, (70, 80, 60, 65, 80.5), strict=True))
    known = dict(zip(SLUGS, (30, 48, 47, 49, 50), strict=True))
    facts = {"classes": 4, "test": 8, "chance": 25.0}
    zeroshot = {
        name: {"set": facts} | {slug: value(mean, mean - 1, mean + 1) for slug, mean in means.items()}
        for name in ("validation", "validation_held_out", "modelnet40")
    }
    pairs = {
        group: {
            "set": {"classes": 2, "models": 4, "pictures": 12, "captions": 6, "chance": 20.0},
            "before": {"image_to_text": {"mean": 50.0, "interval": [45.0, 55.0]}, "text_to_image": {"mean": 90.0}},
        }
        | {
            slug: {
                "image_to_text": value(mean, mean - 1, mean + 1, half=3.0),
                "forgotten": {"mean": 50.0 - mean, "seeds": {"0": 1.0}, "interval": [49.0 - mean, 51.0 - mean]},
            }
            for slug, mean in known.items()
        }
        for group in ("seen", "held_out")
    }
    return {
        "inputs": INPUTS,
        "epochs": 3,
        "held_out_classes": ["a", "b"],
        "variants": {},
        "zeroshot": zeroshot,
        "pairs": pairs,
    }


def _finetune() -> dict[str, Any]:
    shares = {
        share: {"objects": objects, "steps": 9, "cg3d": value(80, 79, 81), "scratch": value(low, low - 1, low + 1)}
        | {"gain": {"mean": 80.0 - low, "std": 0.0, "seeds": {"0": 1, "1": 1}, "interval": [79.0 - low, 81.0 - low]}}
        for share, objects, low in (("0.01", 4, 20), ("0.1", 8, 60), ("1", 1340, 79))
    }
    return {"modelnet40": {"set": {"classes": 4, "train": 8, "test": 8, "chance": 25.0}, "shares": shares}}


def _scenes() -> dict[str, Any]:
    def named(miou: float, accuracy: float, *seeds: float) -> dict[str, Any]:
        return value(miou, *seeds) | {"accuracy": accuracy}

    return {
        "inputs": INPUTS,
        "dataset": "modelnet40",
        "named": named(50, 60, 49, 51),
        "true_masks": named(55, 65, 54, 56),
        "right_names": named(90, 95),
        "random_names": named(4, 5, 3, 5),
    }
