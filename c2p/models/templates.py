"""Templates of prompts: the single one of the paper, or an ensemble."""

from c2p import params


def templates_of(settings: params.Zeroshot) -> tuple[str, ...]:
    """The templates that the parameters mean, each once: the ensemble's, or the single one."""
    named = [text for entry in settings.templates for text in _expanded(entry)]
    return tuple(dict.fromkeys(named)) or (settings.template,)


def _expanded(entry: str) -> list[str]:
    """A template, or all those of a named set, which open_clip keeps as functions of the name."""
    if entry not in params.TEMPLATE_SETS:
        return [entry]
    import open_clip

    kept = {"clip-80": open_clip.OPENAI_IMAGENET_TEMPLATES, "clip-7": open_clip.SIMPLE_IMAGENET_TEMPLATES}
    return [make("{}") for make in kept[entry]]
