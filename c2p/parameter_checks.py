"""Checks of parameters: each refuses a value in one line that names the key, the value and what is allowed."""

from typing import Any


class ParameterError(ValueError):
    """A parameter that is unknown, of the wrong type or out of range; the message is one line and names it."""


def require(condition: bool, name: str, value: Any, allowed: str, *, known: bool = True) -> None:
    """Refuse a value: `name` in dots; known off: `allowed` is the whole reason."""
    if not condition:
        raise ParameterError(f"{name}: got {value!r}; " + (f"allowed: {allowed}" if known else allowed))


def _name(section: Any, key: str) -> str:
    """A key in dots; a section of two words carries its name in SECTION."""
    return f"{getattr(section, 'SECTION', type(section).__name__.lower())}.{key}"


def at_least(section: Any, **bounds: int) -> None:
    """Whole numbers with a least value each."""
    for key, low in bounds.items():
        value = getattr(section, key)
        require(value >= low, _name(section, key), value, f"at least {low}")


def positive(section: Any, *keys: str) -> None:
    """Numbers above 0."""
    for key in keys:
        value = getattr(section, key)
        require(value > 0, _name(section, key), value, "more than 0")


def between(section: Any, low: float, high: float, *keys: str) -> None:
    """Numbers in a closed range."""
    for key in keys:
        value = getattr(section, key)
        require(low <= value <= high, _name(section, key), value, f"{low} to {high}")


def not_empty(section: Any, *keys: str) -> None:
    """Lists of at least one entry."""
    for key in keys:
        require(len(getattr(section, key)) > 0, _name(section, key), [], "at least one entry")


def check_seeds(section: Any, *keys: str) -> None:
    """Whole numbers that every generator takes."""
    for key in keys:
        value = getattr(section, key)
        values = value if isinstance(value, tuple) else (value,)
        require(all(0 <= v < 2**32 for v in values), _name(section, key), value, "0 to 4294967295")


def check_template(name: str, text: str, others: str) -> None:
    """A prompt with one place for the class name."""
    plain = text.count("{}") == 1 and text.count("{") == text.count("}") == 1
    require(plain, name, text, f"a text with exactly one {{}} and no other braces{others}")


def distinct(section: Any, *keys: str) -> None:
    """Lists without an entry that comes twice."""
    for key in keys:
        values = getattr(section, key)
        require(len(set(values)) == len(values), _name(section, key), list(values), "entries that differ")
