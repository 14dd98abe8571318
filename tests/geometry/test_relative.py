"""Faces of an OBJ that count back: from where they stand, not from the end of the file."""

import numpy as np
import pytest

from c2p.geometry.meshes import MeshError, load_mesh
from c2p.geometry.relative import absolute_indices

TWO = b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf %s\nv 5 5 5\nv 6 5 5\nv 5 6 5\nf %s\n"


def test_interleaved_relative_faces_are_those_of_the_absolute_file() -> None:
    relative = load_mesh(TWO % (b"-3 -2 -1", b"-3 -2 -1"), "obj", max_faces=10)
    absolute = load_mesh(TWO % (b"1 2 3", b"4 5 6"), "obj", max_faces=10)
    assert len(relative.faces) == 2
    np.testing.assert_array_equal(relative.vertices[relative.faces], absolute.vertices[absolute.faces])


def test_random_files_read_as_written_out_by_hand() -> None:
    generator = np.random.default_rng(5)
    lines, expected, counts = [], [], {"v": 0, "vt": 0, "vn": 0}
    for _ in range(400):
        kind = generator.choice(["v", "vt", "vn", "f"])
        if kind != "f":
            counts[kind] += 1
            lines.append(f"{kind} {' '.join(map(str, generator.integers(-9, 9, 2 if kind == 'vt' else 3)))}")
            expected.append(lines[-1])
        elif min(counts.values()) > 3:
            back = {kind: generator.integers(1, counts[kind] + 1, 3) for kind in counts}
            lines.append("f " + " ".join(f"-{a}/-{b}/-{c}" for a, b, c in zip(*back.values(), strict=True)))
            forth = [counts[kind] + 1 - back[kind] for kind in counts]
            expected.append("f " + " ".join(f"{a}/{b}/{c}" for a, b, c in zip(*forth, strict=True)))
    assert absolute_indices("\n".join(lines).encode()).decode() == "\n".join(expected)


@pytest.mark.parametrize("face", [b"-1//-1 -2//-2 -3//-3", b"3//3 -2//2 1//-3", b"-1//-1 \\\n-2//-2 -3//-3"])
def test_normals_without_texture_coordinates_and_continued_lines(face: bytes) -> None:
    text = b"v 0 0 0\nv 1 0 0\nv 0 1 0\nvn 0 0 1\nvn 0 1 0\nvn 1 0 0\nf " + face + b"\n"
    assert absolute_indices(text).split(b"\n")[-2] in (b"f 3//3 2//2 1//1",)


def test_a_file_without_such_faces_is_not_touched() -> None:
    text = b"v -1 -2 -3\nf 1/1 1/1 1/1\n# f -1\n"
    assert absolute_indices(text) is text


@pytest.mark.parametrize("face", [b"-4 -2 -1", b"-1 -2 -99999999999999999999"])
def test_a_face_that_reaches_above_the_first_vertex_is_out_of_range(face: bytes) -> None:
    with pytest.raises(MeshError, match="index out of range"):
        load_mesh(b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf " + face + b"\n", "obj", max_faces=10)


def test_what_is_no_number_is_left_to_the_reader() -> None:
    text = b"v 0 0 0\nf -1 -x -1/-/2\n"
    assert absolute_indices(text) == b"v 0 0 0\nf 1 -x -1/-/2\n"
