"""From 3D meshes to a depth encoder that speaks CLIP's language.

`c2p.load` gives a depth encoder (docs/using.md); nothing heavy is imported before it is asked for.
"""

from importlib import import_module
from typing import Any

_NAMES = {"load": "c2p.encoder", "Encoder": "c2p.encoder"}
"""What the package lends, by module; `__init__.pyi` says the same to type checkers. Named as texts: an import
statement, however lazy, would make every stage of the pipeline depend on the modules."""

__all__ = ["Encoder", "load"]


def __getattr__(name: str) -> Any:
    if name not in _NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_NAMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_NAMES])
