"""Captions the teacher of the demo learns from: a model's own sentences, and its class name in plain templates."""

from typing import Any

TEMPLATES = (
    "image of a {}",
    "a photo of a {}",
    "a rendering of a {}",
    "a 3d model of a {}",
    "a picture of the {}",
    "a {}",
)


def captions_of(row: dict[str, Any]) -> list[str]:
    """All captions of a manifest row: the collection's own first, then one a template."""
    return [*row["captions"], *(template.format(row["label"]) for template in TEMPLATES)]
