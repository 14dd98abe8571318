"""Which texts stand for a class in each method."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from c2p import params
from c2p.evaluation.methods import Method
from c2p.models.templates import templates_of

POINTCLIP_ZEROSHOT_TEMPLATE = "point cloud depth map of a {}."
POINTCLIP_ADAPTER_TEMPLATE = "point cloud of a big {}."
"""PointCLIP's published prompts."""
POINTCLIP_V2_TEMPLATES = (
    "a depth map of a {}.",
    "a smooth grey depth map of a {}.",
    "the depth map of one {} on a white background.",
    "a 3D model of a {}, seen as a depth map.",
    "a 3D shape of a {}, near parts dark and far parts light.",
    "a point cloud of a {}.",
    "a dense point cloud of the surface of a {}.",
    "a rendering of a 3D model of a {} without colour.",
)
"""Ours: fixed, about the picture that is drawn, chosen on nothing. The published ones are sentences that GPT-3 wrote
for every class, out of which the best were picked on each test set."""

Prompts = tuple[tuple[str, ...], ...]
"""Texts of every class; the direction of a class is the mean over its texts."""


def class_prompts(method: Method, settings: params.Params, classes: Sequence[str]) -> Prompts:
    """The method's texts for each class.

    Raises ValueError: pointclip.prompts is not such a file, or has no entry for a class.
    """
    if method.drawing == "pointclip_v2" and settings.pointclip.prompts:
        return _of_file(Path(settings.pointclip.prompts), classes)
    return from_templates(_templates(method, settings), classes)


def from_templates(templates: Sequence[str], classes: Sequence[str]) -> Prompts:
    """Every class's name in every template."""
    return tuple(tuple(template.format(name) for template in templates) for name in classes)


def read_prompt_file(path: Path) -> dict[str, tuple[str, ...]]:
    """Texts by class name, in small letters and with spaces for underscores.

    The file is JSON, {"night stand": ["a depth map of a night stand with a drawer", ...], ...}, as PointCLIP V2's are.
    Raises ValueError: there is none, or it is not of that form.
    """
    form = 'allowed: a JSON object of class names with lists of texts, {"chair": ["a text", ...], ...}'
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"pointclip.prompts: {path}: no such file; {form}") from None
    except (ValueError, OSError) as error:
        raise ValueError(f"pointclip.prompts: {path}: not JSON ({' '.join(str(error).split())}); {form}") from None
    if not isinstance(content, dict):
        raise ValueError(f"pointclip.prompts: {path}: got a {type(content).__name__}; {form}")
    for name, texts in content.items():
        if not (isinstance(texts, list) and texts and all(isinstance(text, str) and text.strip() for text in texts)):
            raise ValueError(f"pointclip.prompts: {path}: got {str(texts)[:60]!r} for {name!r}; {form}")
    return {_plain(name): tuple(texts) for name, texts in content.items()}


def _of_file(path: Path, classes: Sequence[str]) -> Prompts:
    texts: Mapping[str, tuple[str, ...]] = read_prompt_file(path)
    missing = [name for name in classes if _plain(name) not in texts]
    if missing:
        raise ValueError(
            f"pointclip.prompts: {path}: no texts for {missing[0]!r} and {len(missing) - 1} more of {len(classes)} "
            "classes; allowed: an entry for every class of every set"
        )
    return tuple(texts[_plain(name)] for name in classes)


def _plain(name: str) -> str:
    return name.replace("_", " ").lower().strip()


def _templates(method: Method, settings: params.Params) -> tuple[str, ...]:
    if method.drawing == "pointclip_v2":
        return POINTCLIP_V2_TEMPLATES
    if method.drawing == "pointclip":
        return (POINTCLIP_ZEROSHOT_TEMPLATE if method.head in ("none", "views") else POINTCLIP_ADAPTER_TEMPLATE,)
    return templates_of(settings.zeroshot)
