"""The benchmark of pre-training: what it compares gives the same numbers, and it runs where little is installed."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch

from benchmarks.gpu import compiled_seconds, idle_share, summary, whole_training
from benchmarks.made import made_clouds, made_features
from benchmarks.pretrain import DEPTH, RECIPE
from benchmarks.published import decode, encode, naive_map, naive_maps, normalise, rasteriser
from benchmarks.tower import Shape, VisionTransformer, plain_clip
from benchmarks.traffic import moved, traffic
from c2p.geometry.depth import depth_images, depth_maps
from c2p.geometry.views import view_set

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("torch", "numpy", "numpy.libs", "sympy", "mpmath", "networkx", "jinja2", "markupsafe", "filelock", "fsspec",
            "typing_extensions.py", "torchgen", "functorch", "triton")  # fmt: skip
"""torch, numpy and what torch itself needs."""
SMALL = """
import benchmarks.pretrain as bench
from benchmarks.tower import Shape, plain_clip
from dataclasses import replace
import torch
torch.set_num_threads(1)
bench.random_clip = lambda model: (plain_clip(Shape(image=32, patch=16, width=16, layers=1, heads=2, output=8)), "tiny")
bench.DEPTH = replace(bench.DEPTH, size=16)
bench.CASES = {"cpu": (bench.Case(bench.VIT_B_32, 4, 2, 16, 16, "float32"),)}
bench.main()
"""


@pytest.mark.parametrize("compiled", [False, True])
def test_the_published_rasteriser_draws_the_same_maps(compiled: bool) -> None:
    draw = rasteriser(torch.device("cpu"))[0] if compiled else naive_map
    points = made_clouds(2)[:, :200]
    rotations = torch.from_numpy(view_set("ten").rotations).float()[[0, 5]]
    factors = torch.tensor([0.93, 1.06])
    raw = naive_maps(points, rotations, factors, DEPTH, draw)
    ours = depth_maps(points, rotations[:, None], DEPTH, factors)
    assert torch.equal(raw, ours[:, 0]) and (raw > 0).any()
    torch.testing.assert_close(normalise(raw), depth_images(ours)[:, 0], rtol=0, atol=1e-6)


def test_the_plain_tower_is_open_clips() -> None:
    shape = Shape(image=32, patch=8, width=32, layers=2, heads=4, output=16)
    theirs = open_clip.transformer.VisionTransformer(
        shape.image, shape.patch, shape.width, shape.layers, shape.heads, mlp_ratio=4.0,
        act_layer=open_clip.transformer.QuickGELU, output_dim=shape.output,
    ).eval()  # fmt: skip
    ours = VisionTransformer(shape).eval()
    ours.load_state_dict(theirs.state_dict())
    images = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(ours(images), theirs(images), rtol=1e-4, atol=1e-5)


def test_a_training_of_true_size_is_measured_by_its_epochs() -> None:
    clip = plain_clip(Shape(image=32, patch=16, width=16, layers=1, heads=2, output=8))
    recipe, depth = replace(RECIPE, batch=4), replace(DEPTH, size=16)
    clouds, validation = made_clouds(8), made_clouds(5)
    whole = whole_training(clip, clouds, made_features(8, 8), validation, recipe, depth, torch.device("cpu"))
    assert len(whole.epochs) == len(whole.validations) == 3 and whole.idle is None
    assert all(0 < part < epoch for part, epoch in zip(whole.validations, whole.epochs, strict=True))
    assert any(line.startswith("predicted memory on cpu") for line in whole.memory)
    assert summary(replace(whole, epochs=[6.0, 3.0, 9.0]))["minutes_of_100_epochs"] == 10


@pytest.mark.parametrize("seed", range(20))
def test_idle_is_what_no_kernel_covers(seed: int) -> None:
    generator = np.random.default_rng(seed)
    starts = generator.integers(-5, 60, 12)
    spans = [
        (int(start), int(start + length)) for start, length in zip(starts, generator.integers(0, 9, 12), strict=True)
    ]
    free = sum(not any(start <= moment < stop for start, stop in spans) for moment in range(50))
    assert idle_share(spans, 0, 50) == free / 50
    assert idle_share([], 0, 50) == 1 and idle_share([(-1, 99)], 0, 50) == 0


def test_what_operations_move_is_counted() -> None:
    a, b = torch.rand(10, 30), torch.rand(30, 20, dtype=torch.float64)
    row = torch.rand(30)
    assert moved(lambda: a + 1) == 4 * (300 + 300)
    assert moved(lambda: a.t().reshape(300)[3:]) == 4 * (300 + 300), "a copy; views are free"
    assert moved(lambda: a.double() @ b) == 4 * 300 + 8 * 300 + 8 * (300 + 600 + 200)
    assert moved(lambda: a.mul_(row.expand(10, 30))) == 4 * (300 + 30 + 300)
    assert moved(lambda: (torch.empty(50), a.view(-1), row.expand(5, 30))) == 0


def test_lean_blocks_move_and_keep_less() -> None:
    clip = plain_clip(Shape(image=32, patch=8, width=64, layers=2, heads=2, output=8))
    table = traffic(clip, "float32")
    assert all(0 < table["lean"][what] < 0.85 * table["as_it_came"][what] for what in ("moved_mb", "kept_mb"))


def test_a_compiler_that_fails_is_a_reason() -> None:
    def fail() -> list[float]:
        raise RuntimeError("no C compiler\nlong story")

    assert compiled_seconds(lambda: [3.0, 1.0, 2.0]) == {"step_s": 2.0}

    def assure() -> list[float]:
        raise AssertionError

    assert compiled_seconds(fail) == {"step_s": None, "reason": "RuntimeError: no C compiler"}
    assert compiled_seconds(assure) == {"step_s": None, "reason": "AssertionError"}


def test_pictures_come_back() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (8, 9, 3), dtype=np.uint8)
    assert np.array_equal(decode(encode(picture)), picture)


def test_it_runs_with_torch_and_numpy_alone(tmp_path: Path) -> None:
    """From a folder of packages that has nothing else; what needs more is left out, and said."""
    site, out = tmp_path / "site", tmp_path / "result.json"
    site.mkdir()
    for name in PACKAGES:
        installed = Path(torch.__file__).parents[1] / name
        if installed.exists():
            (site / name).symlink_to(installed)
    begin = f"import sys; sys.path += [{str(ROOT)!r}, {str(site)!r}]; sys.argv = {['', '--rounds=1', f'--out={out}']!r}"
    command = [sys.executable, "-I", "-S", "-c", f"{begin}\n{SMALL}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads(out.read_text())
    model = result["models"]["ViT-B-32-quickgelu"]
    assert model["pictures_decoded"] is False and model["published_maps_by"] == "plain operations"
    assert result["resume_s"] is None and "is not installed" in result["resume"]["reason"]
    assert result["samples_per_s"] == model["samples_per_s"] > 0
    assert result["ratio_to_published"] > 0 and 0 < result["share_of_matmul_rate"] < 1
