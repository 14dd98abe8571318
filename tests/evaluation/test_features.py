"""Encoding view by view, and what the cache's names depend on."""

from pathlib import Path

import numpy as np
import pytest
import torch

from c2p.evaluation.features import (
    digest_array,
    digest_code,
    digest_files,
    digest_weights,
    encode_views,
    one_thread,
    place,
    read_features,
    write_array,
)

ROTATIONS = np.stack([np.eye(3), np.diag([-1.0, 1.0, -1.0])])


def draw(points: torch.Tensor, rotations: torch.Tensor) -> torch.Tensor:
    """A picture whose channels are the mean view coordinates and their largest norm."""
    seen = torch.einsum("bpi,vij->bvpj", points, rotations).mean(2)
    return seen[..., None, None].expand(-1, -1, -1, 2, 2)


def encode(images: torch.Tensor) -> torch.Tensor:
    flat = images.mean((2, 3))
    return torch.cat([flat, flat**2], dim=1)


@pytest.mark.parametrize("batch", [1, 2, 5, 64])
def test_objects_and_views_keep_their_places(batch: int) -> None:
    points = np.random.default_rng(0).normal(size=(5, 11, 3)).astype(np.float32)
    got = encode_views(encode, points, ROTATIONS, draw, batch)
    assert got.shape == (5, 2, 6)
    assert got.dtype == np.float32
    for n in range(5):
        for v in range(2):
            mean = [sum(float(p[i]) for p in points[n]) / 11 * ROTATIONS[v, i, i] for i in range(3)]
            assert got[n, v] == pytest.approx([*mean, *(m * m for m in mean)], abs=1e-5)


def test_no_objects_and_broken_weights_are_refused() -> None:
    with pytest.raises(ValueError, match="0 objects"):
        encode_views(encode, np.zeros((0, 4, 3), np.float32), ROTATIONS, draw, 2)
    with pytest.raises(ValueError, match="not finite"):
        encode_views(lambda x: encode(x) * float("nan"), np.ones((1, 4, 3), np.float32), ROTATIONS, draw, 2)


def test_digests_see_type_shape_and_values() -> None:
    values = np.arange(6, dtype=np.float32)
    others = [values.astype(np.int32), values.reshape(2, 3), values + 1, values[:5]]
    assert len({digest_array(v) for v in [values, *others]}) == 5
    assert digest_array(values[::-1]) == digest_array(values[::-1].copy())


def test_digest_of_files_sees_content_and_order_not_names(tmp_path: Path) -> None:
    for name, text in (("a", "one"), ("b", "two"), ("c", "one")):
        (tmp_path / name).write_text(text)
    a, b, c = (tmp_path / name for name in "abc")
    assert digest_files(a, b) == digest_files(c, b)
    assert digest_files(a, b) != digest_files(b, a)


def test_digest_of_weights_needs_the_layout(tmp_path: Path) -> None:
    (tmp_path / "open_clip_config.json").write_text("{}")
    with pytest.raises(ValueError, match=r"no open_clip_model\.safetensors"):
        digest_weights(tmp_path)
    (tmp_path / "open_clip_model.safetensors").write_bytes(b"weights")
    assert len(digest_weights(tmp_path)) == 64


def test_code_digest_covers_drawing_and_encoding() -> None:
    assert digest_code() != digest_code(("c2p.geometry.depth",))
    assert digest_code() == digest_code()


def test_places_and_files(tmp_path: Path) -> None:
    first = place(tmp_path, {"a": 1, "b": [2, 3]})
    assert first == place(tmp_path, {"b": [2, 3], "a": 1})
    assert first != place(tmp_path, {"a": 1, "b": [3, 2]})
    values = np.random.default_rng(0).normal(size=(3, 2)).astype(np.float32)
    write_array(first, values)
    once = first.read_bytes()
    write_array(first, values)
    assert first.read_bytes() == once
    assert [p.name for p in tmp_path.iterdir()] == [first.name]
    assert (read_features([first, first]) == np.concatenate([values, values])).all()


def test_one_thread_gives_the_others_back() -> None:
    before = torch.get_num_threads()
    with one_thread():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before
