"""Templates of prompts: the single one of the paper, or an ensemble."""

from collections.abc import Sequence

from c2p import params
from c2p.cg3d_params import TEMPLATE_SETS


def templates_of(settings: params.Zeroshot) -> tuple[str, ...]:
    """The templates that the parameters mean, each once: the ensemble's, or the single one."""
    return expanded(settings.templates) or (settings.template,)


def expanded(entries: Sequence[str]) -> tuple[str, ...]:
    """Templates in place of the names of sets, each once."""
    return tuple(dict.fromkeys(text for entry in entries for text in _expanded(entry)))


def _expanded(entry: str) -> list[str]:
    """A template, or all those of a named set, which open_clip keeps as functions of the name."""
    if entry not in TEMPLATE_SETS:
        return [entry]
    import open_clip

    kept = {"clip-80": open_clip.OPENAI_IMAGENET_TEMPLATES, "clip-7": open_clip.SIMPLE_IMAGENET_TEMPLATES}
    return [make("{}") for make in kept[entry]]
