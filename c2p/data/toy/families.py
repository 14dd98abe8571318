"""The families of made shapes by category, and how the official class lists name them."""

from collections.abc import Callable

import numpy as np

from c2p.data.toy import aircraft, containers, devices, furniture, household, seating, vehicles, vessels
from c2p.data.toy.design import Design

FAMILIES: dict[str, Callable[[np.random.Generator], Design]] = {
    "airplane": aircraft.airplane,
    "ashcan": containers.ashcan,
    "bag": household.bag,
    "bathtub": containers.bathtub,
    "bed": furniture.bed,
    "bench": seating.bench,
    "bookshelf": furniture.bookshelf,
    "bottle": vessels.bottle,
    "bowl": vessels.bowl,
    "cabinet": furniture.cabinet,
    "car": vehicles.car,
    "chair": seating.chair,
    "computer keyboard": devices.computer_keyboard,
    "display": devices.display,
    "guitar": household.guitar,
    "jar": vessels.jar,
    "lamp": household.lamp,
    "laptop": devices.laptop,
    "mug": vessels.mug,
    "pillow": seating.pillow,
    "pot": vessels.pot,
    "rocket": aircraft.rocket,
    "skateboard": vehicles.skateboard,
    "sofa": seating.sofa,
    "table": furniture.table,
}
"""Category, a ShapeNetCore class name, to the function that draws a design of it."""

NOUNS: dict[str, tuple[str, ...]] = {
    **{category: (category,) for category in FAMILIES},
    "ashcan": ("ashcan", "bin"),
    "bookshelf": ("bookshelf", "shelf"),
    "cabinet": ("cabinet", "dresser"),
    "computer keyboard": ("computer keyboard", "keyboard"),
    "display": ("display", "monitor", "screen"),
    "jar": ("jar", "vase"),
    "mug": ("mug", "cup"),
    "pot": ("pot", "flower pot"),
}
"""What captions call a category: its name and the words that other data sets and people use for it."""

TOY_SHAPENET: dict[str, str] = {category: category for category in FAMILIES}
"""ShapeNetCore class name to category."""

TOY_MODELNET40: dict[str, str] = {
    **{name: name for name in ("airplane", "bathtub", "bed", "bench", "bookshelf", "bottle", "bowl", "car", "chair")},
    "cup": "mug",
    "dresser": "cabinet",
    "flower pot": "pot",
    "guitar": "guitar",
    "keyboard": "computer keyboard",
    "lamp": "lamp",
    "laptop": "laptop",
    "monitor": "display",
    "sofa": "sofa",
    "table": "table",
    "vase": "jar",
}
"""ModelNet40 class name to category, in label order."""

TOY_MODELNET10: dict[str, str] = {
    "bathtub": "bathtub",
    "bed": "bed",
    "chair": "chair",
    "dresser": "cabinet",
    "monitor": "display",
    "sofa": "sofa",
    "table": "table",
}
"""ModelNet10 class name to category, in label order."""

TOY_SCANOBJECTNN: dict[str, str] = {
    "bag": "bag",
    "bin": "ashcan",
    "cabinet": "cabinet",
    "chair": "chair",
    "display": "display",
    "shelf": "bookshelf",
    "table": "table",
    "bed": "bed",
    "pillow": "pillow",
    "sofa": "sofa",
}
"""ScanObjectNN class name to category, in label order."""
