"""OBJ faces that count back from where they stand: trimesh counts them from the end of the file instead."""

import re

_RELATIVE = re.compile(rb"\nf[ \t][^\n-]*-")
_KINDS = {b"v": 0, b"vt": 1, b"vn": 2}
_NOWHERE = b"2147483647"
"""An index that no file's elements reach."""


def absolute_indices(data: bytes) -> bytes:
    """An OBJ's text with every negative index of a face replaced by the element it means; other texts as they are.

    Index -1 is the last element of its kind (v, vt, vn) that stands above the face (OBJ specification). One that
    reaches above the first becomes an index out of range. What cannot be read stays as it is.
    """
    if not _RELATIVE.search(data):
        return data
    counts = [0, 0, 0]
    lines = data.replace(b"\\\r\n", b" ").replace(b"\\\n", b" ").split(b"\n")
    for number, line in enumerate(lines):
        kind, *words = line.split(b"#", 1)[0].split() or [b""]
        if kind in _KINDS:
            counts[_KINDS[kind]] += 1
        elif kind == b"f" and b"-" in line:
            lines[number] = b" ".join([b"f", *(_corner(word, counts) for word in words)])
    return b"\n".join(lines)


def _corner(word: bytes, counts: list[int]) -> bytes:
    """`v`, `v/vt`, `v//vn` or `v/vt/vn` with indices counted from 1."""
    parts = zip(word.split(b"/"), counts, strict=False)
    try:
        return b"/".join(_absolute(int(part), count) if part.startswith(b"-") else part for part, count in parts)
    except ValueError:
        return word


def _absolute(index: int, count: int) -> bytes:
    return b"%d" % (count + 1 + index) if count + index >= 0 else _NOWHERE
