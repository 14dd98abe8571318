"""Splits, orders and seeds that depend on nothing but the keys."""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
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


def clusters(items: Sequence[T], size: int, key: Callable[[T], str]) -> list[list[T]]:
    """Pieces of at most `size` items that begin with the same bits of their keys' SHA-256, each in the order given.

    Unlike those of `chunks`, they hardly change with the collection: an item more or less changes one piece, at most
    splits it in two or joins two. Keys have to differ.
    """
    bits = {id(item): int.from_bytes(hashlib.sha256(key(item).encode()).digest(), "big") for item in items}

    def split(members: list[T], bit: int) -> list[list[T]]:
        if len(members) <= size:
            return [members] if members else []
        assert bit >= 0, "two items share a key"
        halves: tuple[list[T], list[T]] = [], []
        for member in members:
            halves[bits[id(member)] >> bit & 1].append(member)
        return split(halves[0], bit - 1) + split(halves[1], bit - 1)

    return split(list(items), 255)


def seed_of(key: str, seed: int) -> int:
    """A seed of a model's own: the same on every machine and in every order."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{key}".encode()).digest()[:8], "big")
