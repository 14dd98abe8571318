"""Text features of class names under templates, and of their ensembles.

Letters: K class, T template, C feature width.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn import functional

from c2p.models.network import Clip


def encode_prompts(clip: Clip, names: Sequence[str], templates: Sequence[str]) -> np.ndarray:
    """Features of every prompt, each of length one: (K, T, C) float32."""
    from c2p.models.clip import encode_text  # open_clip takes seconds to import

    prompts = [template.format(name) for name in names for template in templates]
    return encode_text(clip, prompts).cpu().numpy().reshape(len(names), len(templates), -1)


def class_text(features: np.ndarray) -> np.ndarray:
    """One feature of length one a class, (K, T, C) -> (K, C): the mean over its templates, normalised again.

    Radford et al., 2021, section 3.1.4. A single template's features come out as they are, to the bit.
    """
    if features.shape[1] == 1:
        return features[:, 0]
    averaged: np.ndarray = functional.normalize(torch.from_numpy(features).mean(1), dim=-1).numpy()
    return averaged
