"""Class names and synsets against the published counts and lists."""

from pathlib import Path

import pytest

from c2p.data.vocabulary import (
    BROKEN_SHAPENET_IDS,
    MODELNET10,
    MODELNET40,
    SCANOBJECTNN,
    SHAPENET,
    SHAPENET_SYNSETS,
    is_broken_shapenet,
    shapenet_name,
)


def test_counts_and_label_order() -> None:
    assert [len(names) for names in (MODELNET10, MODELNET40, SCANOBJECTNN, SHAPENET)] == [10, 40, 15, 55]
    assert list(MODELNET10) == sorted(MODELNET10)
    assert list(MODELNET40) == sorted(MODELNET40)
    assert (SCANOBJECTNN.index("bag"), SCANOBJECTNN.index("bed"), SCANOBJECTNN.index("toilet")) == (0, 10, 14)
    assert "night_stand" in MODELNET10 and "night stand" in MODELNET40


def test_synsets_stand_beside_their_names() -> None:
    assert list(SHAPENET_SYNSETS) == sorted(SHAPENET_SYNSETS)
    assert len(set(SHAPENET_SYNSETS)) == len(set(SHAPENET)) == 55
    known = {"02691156": "airplane", "03001627": "chair", "04379243": "table", "02992529": "cellular telephone"}
    assert {synset: shapenet_name(synset) for synset in known} == known
    assert all(shapenet_name(synset) == name for synset, name in zip(SHAPENET_SYNSETS, SHAPENET, strict=True))


def test_unknown_synset_is_one_line() -> None:
    with pytest.raises(ValueError, match="'123' is no ShapeNetCore synset; allowed") as error:
        shapenet_name("123")
    assert "\n" not in str(error.value)


def test_broken_ids_compare_with_the_cut_model_id() -> None:
    assert len(BROKEN_SHAPENET_IDS) == 10
    assert is_broken_shapenet("03001627-udf068a6b-e65b-430b-bc17-611b062e2e34")
    assert is_broken_shapenet("04379243-") and is_broken_shapenet("02747177-")
    assert not is_broken_shapenet("04379243-86f8f2c064c79e6cb0c0d433974e32b")
    assert not is_broken_shapenet("03001627-udf068a6bx")


def test_split_without_broken_ids_is_the_published_one(shared_data: Path) -> None:
    folder = shared_data / "splits" / "ShapeNet-55"
    counts = []
    for split in ("train", "test"):
        keys = [line.removesuffix(".npy") for line in (folder / f"{split}.txt").read_text().split()]
        assert {key[:8] for key in keys} == set(SHAPENET_SYNSETS)
        counts.append(sum(not is_broken_shapenet(key) for key in keys))
    assert counts == [41943, 10517]
