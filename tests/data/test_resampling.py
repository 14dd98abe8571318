"""Random draws: reproducible one by one, on the object, spread as its surface is."""

import zipfile
from pathlib import Path

import numpy as np
import pytest

from c2p.data import toy
from c2p.data.clouds import mesh_clouds, upright_mesh
from c2p.data.models import Model
from c2p.data.resampling import cloud_draws, mesh_draws
from c2p.data.toy.shapenet_archive import model_files
from c2p.geometry.meshes import MeshError
from c2p.params import Params

COUNT = 50


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[Model]:
    path = tmp_path_factory.mktemp("drawn") / "raw.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for index, label in enumerate(("chair", "mug", "table")):
            for name, data in model_files(toy.make_shape(label, index)):
                archive.writestr(f"{index}/{name}", data)
    member = "{}/models/model_normalized.obj"
    return [Model(f"m-{i}", "c", "train", str(path), member.format(i), str(i), "y") for i in range(3)]


def plainly_normalised(points: np.ndarray) -> np.ndarray:
    centred = points.astype(np.float64) - points.astype(np.float64).mean(0)
    return centred / max(np.linalg.norm(p) for p in centred)


def test_a_draw_depends_on_seed_key_and_number_only(models: list[Model], small_params: Params) -> None:
    whole = mesh_draws(models, small_params.render, COUNT, 4)
    assert whole.shape == (3, 4, COUNT, 3) and whole.dtype == np.float32
    fewer = mesh_draws(models[::-1][:2], small_params.render, COUNT, 2)
    assert np.array_equal(fewer, whole[::-1][:2, :2])
    assert len(np.unique(whole.reshape(12, -1), axis=0)) == 12, "every draw is another one"
    clouds = np.random.default_rng(0).normal(size=(3, 80, 3)).astype(np.float32)
    drawn = cloud_draws(clouds, "abc", 7, COUNT, 4)
    assert drawn.shape == (3, 4, COUNT, 3) and drawn.dtype == np.float32
    assert np.array_equal(cloud_draws(clouds[::-1][:2], "cb", 7, COUNT, 2), drawn[::-1][:2, :2])
    assert not np.array_equal(cloud_draws(clouds, "abc", 8, COUNT, 4), drawn)


def test_draws_of_a_mesh_lie_on_its_surface(models: list[Model], small_params: Params) -> None:
    """Each draw is the surface's up to one shift and one scale: found here from many points of the mesh itself."""
    draws = mesh_draws(models, small_params.render, 400, 2)
    assert np.allclose(draws.mean(2), 0, atol=1e-6)
    assert np.allclose(np.linalg.norm(draws, axis=-1).max(-1), 1, atol=1e-6)
    mesh = upright_mesh(models[2], max_faces=100_000)
    low, high = mesh.vertices.min(0), mesh.vertices.max(0)
    for draw in draws[2]:
        spread = (draw.max(0) - draw.min(0)) / (high - low)
        assert spread.max() / spread.min() < 1.1, "same proportions, so same axes"


def test_draws_of_a_cloud_are_its_normalised_points_without_repetition() -> None:
    clouds = np.random.default_rng(0).normal(size=(2, 80, 3)).astype(np.float32) * 9 + 4
    for cloud, of_one in zip(clouds, cloud_draws(clouds, "ab", 0, COUNT, 3), strict=True):
        whole = plainly_normalised(cloud)
        for draw in of_one:
            apart = np.linalg.norm(draw[:, None] - whole[None], axis=-1)
            assert apart.min(1).max() < 1e-6 and len(set(apart.argmin(1).tolist())) == COUNT
    assert np.allclose(np.sort(cloud_draws(clouds, "ab", 0, 80, 1)[0, 0], 0), np.sort(plainly_normalised(clouds[0]), 0))


def test_every_point_of_a_cloud_is_drawn_as_often(models: list[Model]) -> None:
    cloud = np.random.default_rng(1).normal(size=(1, 20, 3)).astype(np.float32)
    drawn = cloud_draws(cloud, ["a"], 0, 5, 2000)[0].reshape(-1, 3)
    places = np.linalg.norm(drawn[:, None] - plainly_normalised(cloud[0])[None], axis=-1).argmin(1)
    counts = np.bincount(places, minlength=20)
    assert abs(counts - 500).max() < 6 * np.sqrt(500 * 0.75), "500 expected, standard deviation 19"


def test_fewer_points_than_asked() -> None:
    with pytest.raises(ValueError, match=r"sample\.points: got 9; allowed: up to 8"):
        cloud_draws(np.zeros((1, 8, 3), np.float32), ["a"], 0, 9, 1)


def test_a_bad_mesh_is_named_by_both(models: list[Model], small_params: Params, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as archive:
        archive.writestr("a/b.off", b"OFF\n3 0 0\n0 0 0\n1 0 0\n0 1 0\n")
    bad = Model("bad", "c", "test", str(tmp_path / "bad.zip"), "a/b.off", "a", "y")
    for run in (
        lambda: mesh_clouds([bad], small_params.render, 8),
        lambda: mesh_draws([bad], small_params.render, 8, 1),
    ):
        with pytest.raises(MeshError, match=r"a/b\.off: no faces; mend the mesh or remove it"):
            run()
