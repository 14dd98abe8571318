"""Prompts of class names, and the text features of their ensembles.

Letters: K class, T template, C feature width.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn import functional

from c2p import params
from c2p.models.clip import Clip, encode_text


def templates_of(settings: params.Zeroshot) -> tuple[str, ...]:
    """The templates that the parameters mean, each once: the ensemble's, or the single one."""
    named = [text for entry in settings.templates for text in _expanded(entry)]
    return tuple(dict.fromkeys(named)) or (settings.template,)


def prompts_of(names: Sequence[str], templates: Sequence[str]) -> list[str]:
    """All prompts, T of the first class, then T of the second, ..."""
    return [template.format(name) for name in names for template in templates]


def encode_prompts(clip: Clip, names: Sequence[str], templates: Sequence[str]) -> np.ndarray:
    """Features of every prompt, each of length one: (K, T, C) float32."""
    features = encode_text(clip, prompts_of(names, templates)).cpu().numpy()
    return features.reshape(len(names), len(templates), -1)


def class_text(features: np.ndarray) -> np.ndarray:
    """One feature of length one a class, (K, T, C) -> (K, C): the mean over its templates, normalised again.

    Radford et al., 2021, section 3.1.4. A single template's features come out as they are, to the bit.
    """
    if features.shape[1] == 1:
        return features[:, 0]
    mean = torch.from_numpy(features).mean(1)
    averaged: np.ndarray = functional.normalize(mean, dim=-1).numpy()
    return averaged


def _expanded(entry: str) -> list[str]:
    """A template, or all those of a named set, which open_clip keeps as functions of the name."""
    if entry not in params.TEMPLATE_SETS:
        return [entry]
    import open_clip

    kept = {"clip-80": open_clip.OPENAI_IMAGENET_TEMPLATES, "clip-7": open_clip.SIMPLE_IMAGENET_TEMPLATES}
    return [make("{}") for make in kept[entry]]
