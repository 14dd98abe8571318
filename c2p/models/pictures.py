"""Features of rendered pictures under the teacher. Letters: V view, H W pixels, C feature width."""

from collections.abc import Iterable

import numpy as np
import torch

from c2p.models.clip import Clip, encode_images


def encode_pictures(clip: Clip, pictures: Iterable[np.ndarray]) -> np.ndarray:
    """Features of every view of every object, not normalised.

    pictures: arrays (V, H, W, 3) uint8, one an object. Returns (n, V, C) float32.
    """
    features = []
    for views in pictures:
        images = torch.from_numpy(views).permute(0, 3, 1, 2).float() / 255
        features.append(encode_images(clip, images).cpu().numpy())
    return np.stack(features)
