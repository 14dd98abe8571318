"""Made shapes: a textured mesh with captions, drawn from (category, seed)."""

from dataclasses import dataclass

import numpy as np

from c2p.data.toy.design import Design, sentences
from c2p.data.toy.families import FAMILIES, NOUNS
from c2p.data.toy.finishes import ToyMaterial


@dataclass(frozen=True)
class ToyShape:
    """A mesh as in ShapeNetCore: y up, front to +z, centred, diagonal of the bounding box 1. V vertices, F faces."""

    vertices: np.ndarray
    """(V, 3) float32."""
    faces: np.ndarray
    """(F, 3) int64."""
    face_material: np.ndarray
    """(F,) int64 indices into `materials`."""
    uv: np.ndarray
    """(F, 3, 2) float32, repeating with period 1; v runs upwards in the texture."""
    materials: tuple[ToyMaterial, ...]
    captions: tuple[str, ...]
    """Four to six sentences."""


def make_shape(category: str, seed: int) -> ToyShape:
    """Draw a shape; the same category and seed give the same shape.

    Raises ValueError: a category that no family makes, a negative seed.
    """
    if category not in FAMILIES:
        raise ValueError(f"no made shapes of category {category!r}; allowed: {', '.join(FAMILIES)}")
    if seed < 0:
        raise ValueError(f"seed of a made shape: got {seed}; allowed: 0 or more")
    rng = np.random.default_rng([seed, *category.encode()])
    design = FAMILIES[category](rng)
    return _assemble(design, sentences(rng, design, NOUNS[category]))


def _assemble(design: Design, captions: tuple[str, ...]) -> ToyShape:
    finishes = list({id(finish): finish for finish, _ in design.parts}.values())
    order = {id(finish): index for index, finish in enumerate(finishes)}
    solids = [solid for _, solid in design.parts]
    offsets = np.cumsum([0, *(len(solid.vertices) for solid in solids[:-1])])
    vertices = np.concatenate([solid.vertices for solid in solids])
    low, high = vertices.min(0), vertices.max(0)
    diagonal = np.linalg.norm(high - low)
    return ToyShape(
        vertices=((vertices - (low + high) / 2) / diagonal).astype(np.float32),
        faces=np.concatenate([solid.faces + offset for solid, offset in zip(solids, offsets, strict=True)]),
        face_material=np.repeat([order[id(finish)] for finish, _ in design.parts], [len(s.faces) for s in solids]),
        uv=np.concatenate([solid.uv / (finish.tile * diagonal) for finish, solid in design.parts]).astype(np.float32),
        materials=tuple(finish.material for finish in finishes),
        captions=captions,
    )
