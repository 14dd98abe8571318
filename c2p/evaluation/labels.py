"""Labels as people give them; nothing heavy is imported, so that a slip is told at once."""

from collections.abc import Sequence
from pathlib import Path

SHOWN = 60
"""Letters of a text that a message repeats."""


def read_labels(text: str) -> list[str]:
    """Labels of a comma-separated text, or of a file with one a line, written `@FILE`; empty ones are left out.

    Raises ValueError: no such file, none of text, or labels that check_labels refuses.
    """
    if not text.startswith("@"):
        return check_labels([label for label in text.split(",") if label.strip()])
    path = Path(text[1:])
    if not path.is_file():
        raise ValueError(
            f"--labels: {path}: no such file; allowed: names with commas between them, or @FILE, one a line"
        )
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise ValueError(f"--labels: {path}: not a text in UTF-8; allowed: one name a line") from None
    return check_labels([line for line in lines if line.strip()])


def check_labels(labels: Sequence[str]) -> list[str]:
    """Labels without spaces around them.

    Raises ValueError: fewer than two, an empty one, or one twice.
    """
    if isinstance(labels, str):
        raise ValueError(f"labels: got the text {shortened(labels)!r}; allowed: a list of at least two names")
    names = [label.strip() if isinstance(label, str) else label for label in labels]
    if len(names) < 2:
        raise ValueError(f"labels: got {len(names)}; allowed: at least two names")
    for place, name in enumerate(names):
        if not isinstance(name, str) or not name:
            raise ValueError(f"labels: got {name!r}; allowed: names")
        if name in names[:place]:
            raise ValueError(f"labels: {shortened(name)!r} is there twice; name each once")
    return names


def shortened(text: str) -> str:
    """A text for a message."""
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."
