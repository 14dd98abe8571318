"""A benchmark set of three kinds of clouds, a small CLIP with random weights and two depth encoders."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from made_lab import CLASSES, REPOSITORY, Lab, clouds

import c2p
from c2p import params
from c2p.data.benchmarks import Benchmark, write_benchmark
from c2p.models.clip import create_clip, load_clip, save_clip
from c2p.models.depth_encoder import DepthEncoder, save_depth_encoder
from c2p.models.preprocessing import write_preprocessing


@pytest.fixture(scope="session")
def small_settings() -> params.Params:
    """The committed parameters, made small."""
    whole = (
        params.load(REPOSITORY / "profiles" / "demo.yaml") if _profile() else params.load(REPOSITORY / "params.yaml")
    )
    return replace(
        whole,
        teacher=replace(whole.teacher, model="c2p-demo", pretrained=""),
        depth=replace(whole.depth, size=32),
        pretrain=replace(whole.pretrain, seeds=(0, 4)),
        adapter=replace(whole.adapter, epochs=6, batch=4),
        pointclip=params.Pointclip(epochs=3, size=32, adapter_size=32, prompts=""),
        controls=replace(whole.controls, methods=("linear_probe_depth", "tip_adapter_clip")),
        fewshot=params.Fewshot("modelnet40", 2, (1, 3), (0, 1, 2)),
        fullshot=params.Fullshot("modelnet40", (0, 1), 5),
        ablations=params.Ablations((1, 2), cross_only=False),
    )


@pytest.fixture(scope="session")
def lab(small_settings: params.Params, tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """Files of a small project, shared and read only but for the cache."""
    root = tmp_path_factory.mktemp("lab")
    clip = create_clip(small_settings.teacher)
    save_clip(clip, root / "clip")
    clip = load_clip(root / "clip")
    for seed in small_settings.pretrain.seeds:
        encoder = DepthEncoder.from_clip(clip)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for weight in encoder.parameters():
                weight.add_(0.02 * torch.randn(weight.shape, generator=generator))
        save_depth_encoder(encoder, clip, root / "encoders" / f"seed-{seed}", "card")
    paths = []
    for number, name in enumerate(("modelnet40", "validation")):
        bench = Benchmark(name.title(), CLASSES, clouds(number, 3, "train"), clouds(10 + number, 4, "test"))
        paths.append(write_benchmark(root / f"{name}.parquet", bench))
    return Lab(small_settings, root / "clip", root / "encoders", paths, root / "cache")


def _profile() -> bool:
    return (REPOSITORY / "profiles" / "demo.yaml").is_file()


@pytest.fixture(scope="session")
def place(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of an encoder that reads 64 points, with its settings; its teacher lies beside it."""
    root = tmp_path_factory.mktemp("models")
    shutil.copytree(lab.encoders / "seed-0", root / "depth_encoder")
    shutil.copytree(lab.clip, root / "clip")
    settings = replace(lab.settings, sample=replace(lab.settings.sample, points=64))
    write_preprocessing(settings, root / "depth_encoder")
    return root / "depth_encoder"


@pytest.fixture(scope="session")
def encoder(place: Path) -> c2p.Encoder:
    return c2p.load(place, device="cpu")
