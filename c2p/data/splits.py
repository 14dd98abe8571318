"""Splits, orders and seeds that depend on nothing but the keys."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import TypeVar

T = TypeVar("T")


def hold_out(labels: dict[str, str], share: float) -> set[str]:
    """Keys held out for validation: the rounded share of each class, at least one of a class with two or more.

    labels: class of each key. The choice goes by the hash of the key, so adding a model moves few others.
    """
    by_class: dict[str, list[str]] = defaultdict(list)
    for key, label in labels.items():
        by_class[label].append(key)
    held: set[str] = set()
    for keys in by_class.values():
        count = min(len(keys) - 1, max(1, round(share * len(keys))))
        held.update(scatter(keys)[:count])
    return held


def scatter(keys: Iterable[str]) -> list[str]:
    """Keys in the order of their SHA-256: classes well mixed, the same order everywhere."""
    return sorted(keys, key=lambda key: hashlib.sha256(key.encode()).digest())


def chunks(items: Sequence[T], size: int) -> list[list[T]]:
    """Consecutive pieces of at most `size` items."""
    return [list(items[start : start + size]) for start in range(0, len(items), size)]


def seed_of(key: str, seed: int) -> int:
    """A seed of a model's own: the same on every machine and in every order."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{key}".encode()).digest()[:8], "big")
