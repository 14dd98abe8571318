"""Random draws of an object's points: what published protocols take anew at every access, drawn once and kept.

Draw k of an object depends on the seed, the object's key and k only: not on how many are drawn, nor on other objects.

Legend: N object, K draw, P point of a cloud, count points of a draw.
"""

from collections.abc import Sequence

import numpy as np

from c2p.data.clouds import upright_mesh
from c2p.data.models import Model
from c2p.data.splits import seed_of
from c2p.geometry.points import normalise_points, sample_surface
from c2p.params import Render


def draw_seed(key: str, number: int, seed: int) -> int:
    """The seed of draw `number` of an object; no object's surface cloud or other draw has it."""
    return seed_of(f"draw {number} of {key}", seed)


def mesh_draws(models: Sequence[Model], settings: Render, count: int, draws: int) -> np.ndarray:
    """Points drawn anew from the surface of meshes, uniformly by area: (N, K, count, 3) float32, y up.

    Each draw is centred on its own mean and has largest norm 1: all that the published loader knows of the object.
    Raises MeshError: a mesh can't be used; the message names it.
    """
    objects = []
    for model in models:
        mesh = upright_mesh(model, max_faces=settings.max_faces)
        seeds = (draw_seed(model.key, number, settings.seed) for number in range(draws))
        objects.append(normalise_points(np.stack([sample_surface(mesh, count, seed) for seed in seeds])))
    return np.stack(objects)


def cloud_draws(clouds: np.ndarray, keys: Sequence[str], seed: int, count: int, draws: int) -> np.ndarray:
    """Points drawn from given clouds without repetition: (N, K, count, 3) float32, axes as they come in.

    clouds: (N, P, 3), P >= count; each is centred on its mean and scaled to largest norm 1 before, as for its farthest
    points. Raises ValueError: P is less than count.
    """
    if clouds.shape[1] < count:
        raise ValueError(f"sample.points: got {count}; allowed: up to {clouds.shape[1]}, the points of a cloud")
    whole = normalise_points(np.asarray(clouds, dtype=np.float32))
    generators = ([np.random.default_rng(draw_seed(key, n, seed)) for n in range(draws)] for key in keys)
    rows = [[g.choice(clouds.shape[1], count, replace=False) for g in of] for of in generators]
    return np.stack([cloud[np.stack(chosen)] for cloud, chosen in zip(whole, rows, strict=True)])
