"""CLIP as the pipeline uses it: an open_clip model with its tokenizer and preprocessing, in open_clip's folder layout.

Letters: B batch, H W pixels, C feature width, K texts.
"""

import difflib
import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import open_clip
import torch
from safetensors.torch import save
from torch import Tensor
from torch.nn import functional

from c2p import params
from c2p.data.files import write_bytes, write_json
from c2p.models.scripted import is_scripted, scripted_weights

CONFIGS = Path(__file__).with_name("configs")
CONFIG_FILE = "open_clip_config.json"
WEIGHTS_FILE = "open_clip_model.safetensors"
TEXT_BATCH = 256


class ModelError(ValueError):
    """A model that does not exist, does not load or does not fit; the message is one line."""


@dataclass(frozen=True)
class Clip:
    """A CLIP model and everything needed to feed it."""

    model: Any
    """open_clip model, an nn.Module with encode_image and encode_text; evaluation mode, frozen."""
    tokenizer: Any
    """Texts to (K, context length) int64 tokens."""
    config: dict[str, Any]
    """open_clip's model configuration."""
    image_size: tuple[int, int]
    """Height and width the visual tower takes, pixels."""
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: str
    """Filter for images of another size: `bicubic` or `bilinear`."""
    width: int
    """C: width of the features both towers give."""

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.model.parameters()).device


def load_clip(folder: Path) -> Clip:
    """Load a CLIP from a folder in open_clip's `local-dir` layout.

    Raises ModelError: the folder, its configuration or its weights are absent, broken or don't fit each other.
    """
    for name in (CONFIG_FILE, WEIGHTS_FILE):
        if not (folder / name).is_file():
            raise ModelError(f"{folder}: no {name} there; give a folder in open_clip's local-dir layout")
    try:
        config = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))["model_cfg"]
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{folder / CONFIG_FILE}: not an open_clip configuration ({_line(error)})") from None
    name = f"local-dir:{folder}"
    try:
        with _quiet_construction(seed=0):
            model = open_clip.create_model(name, require_pretrained=True)
            tokenizer = open_clip.get_tokenizer(name)
    except Exception as error:  # open_clip, safetensors and torch raise their own kinds for files that don't fit
        raise ModelError(f"{folder}: configuration and weights can't be loaded together ({_line(error)})") from error
    return _clip(model, tokenizer, config)


def check_names(settings: params.Teacher) -> dict[str, Any]:
    """open_clip's configuration of the model that the parameters name, before anything is fetched or built.

    Raises ModelError: unknown model or tag, missing file, weights that want another activation.
    """
    open_clip.add_model_config(CONFIGS)
    config = open_clip.get_model_config(settings.model)
    if config is None:
        near = difflib.get_close_matches(settings.model, open_clip.list_models(), 3, 0.5) or ["c2p-demo", "ViT-B-32"]
        raise ModelError(f"teacher.model: got {settings.model!r}; open_clip has no such model; near: {', '.join(near)}")
    _pretrained(settings, config)
    return dict(config)


def create_clip(settings: params.Teacher, *, weights: Path | None = None) -> Clip:
    """Create the CLIP that the parameters name.

    `settings.pretrained` empty: random weights from `settings.seed`; a folder in open_clip's `local-dir` layout or a
    weights file: those weights; else an open_clip tag.
    weights: file with the tag's weights, safetensors or OpenAI's own; None: open_clip downloads them or finds them in
    its cache.

    Raises ModelError: as check_names, and weights that can't be loaded.
    """
    config = check_names(settings)
    if settings.pretrained and Path(settings.pretrained).is_dir():
        return _of_architecture(load_clip(Path(settings.pretrained)), config, settings)
    pretrained = str(weights) if weights else settings.pretrained or None
    scripted = pretrained is not None and Path(pretrained).is_file() and is_scripted(Path(pretrained))
    try:
        with _quiet_construction(settings.seed):
            given = None if scripted else pretrained
            model = open_clip.create_model(settings.model, given, require_pretrained=given is not None)
            tokenizer = open_clip.get_tokenizer(settings.model)
        if scripted:
            model.load_state_dict(scripted_weights(Path(str(pretrained))), strict=True)
    except Exception as error:  # see load_clip; a download can fail in as many ways
        raise ModelError(
            f"teacher.pretrained: {settings.pretrained!r} can't be loaded into {settings.model} ({_line(error)})"
        ) from error
    return _clip(model, tokenizer, config)


def save_clip(clip: Clip, folder: Path) -> None:
    """Write a CLIP in open_clip's `local-dir` layout; the same weights give the same bytes."""
    save_weights(clip, clip.model.state_dict(), folder)


def save_weights(clip: Clip, weights: dict[str, Tensor], folder: Path) -> None:
    """Write `weights`, a state of `clip`'s architecture, in open_clip's `local-dir` layout."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    write_bytes(folder / WEIGHTS_FILE, save(tensors))
    preprocess = {"mean": list(clip.mean), "std": list(clip.std), "interpolation": clip.interpolation}
    write_json(folder / CONFIG_FILE, {"model_cfg": clip.config, "preprocess_cfg": preprocess})
    if hasattr(clip.tokenizer, "save_pretrained"):
        clip.tokenizer.save_pretrained(str(folder))


def prepare_images(images: Tensor, clip: Clip, *, standardise: bool = True) -> Tensor:
    """Resize to the tower's size where needed (antialiased) and standardise.

    images: (B, 3, H, W) float in [0, 1]. Returns (B, 3, h, w) float32. `standardise` off leaves the values as they are,
    as PointCLIP does with its depth maps.
    """
    if images.ndim != 4 or images.shape[1] != 3:
        raise ModelError(f"images: got shape {tuple(images.shape)}; allowed: (B, 3, H, W)")
    images = images.float()
    if tuple(images.shape[-2:]) != clip.image_size:
        channels = images[:, :1] if images.stride(1) == 0 else images  # an expanded grey image is resized once
        images = functional.interpolate(
            channels, clip.image_size, mode=clip.interpolation, align_corners=False, antialias=True
        )
        images = images.clamp(0, 1).expand(-1, 3, -1, -1)
    if not standardise:
        return images
    mean = images.new_tensor(clip.mean)[:, None, None]
    std = images.new_tensor(clip.std)[:, None, None]
    return (images - mean) / std


@torch.no_grad()
def encode_images(clip: Clip, images: Tensor, *, standardise: bool = True) -> Tensor:
    """Image features, not normalised: (B, 3, H, W) float in [0, 1] -> (B, C) float32 on the model's device."""
    prepared = prepare_images(images.to(clip.device), clip, standardise=standardise)
    return clip.model.encode_image(prepared).float()


@torch.no_grad()
def encode_text(clip: Clip, prompts: Sequence[str]) -> Tensor:
    """Text features, L2-normalised: K prompts -> (K, C) float32 on the model's device."""
    if len(prompts) == 0:
        raise ModelError("prompts: got none; give at least one text")
    tokens = clip.tokenizer(list(prompts)).to(clip.device)
    features = [clip.model.encode_text(part).float() for part in tokens.split(TEXT_BATCH)]
    return functional.normalize(torch.cat(features), dim=-1)


def _clip(model: Any, tokenizer: Any, config: dict[str, Any]) -> Clip:
    model.visual.to(memory_format=torch.channels_last)  # convolutional towers run about 1.6 times as fast on a CPU
    preprocess = open_clip.get_model_preprocess_cfg(model)
    size = preprocess["size"]
    return Clip(
        model=model.eval().requires_grad_(False),
        tokenizer=tokenizer,
        config=config,
        image_size=(size, size) if isinstance(size, int) else (size[0], size[1]),
        mean=tuple(preprocess["mean"]),
        std=tuple(preprocess["std"]),
        interpolation="bilinear" if preprocess["interpolation"] == "bilinear" else "bicubic",
        width=config["embed_dim"],
    )


def _of_architecture(clip: Clip, config: dict[str, Any], settings: params.Teacher) -> Clip:
    different = sorted(key for key in config if clip.config.get(key) != config[key])
    if different:
        raise ModelError(
            f"teacher.pretrained: {settings.pretrained} holds another architecture than {settings.model} "
            f"({', '.join(different)}); name its own model in teacher.model"
        )
    return clip


def _pretrained(settings: params.Teacher, config: dict[str, Any]) -> None:
    wanted = settings.pretrained
    if not wanted or Path(wanted).exists():
        return
    tag = open_clip.get_pretrained_cfg(settings.model, wanted)
    if not tag:
        tags = ", ".join(open_clip.list_pretrained_tags_by_model(settings.model)) or "none"
        raise ModelError(
            f"teacher.pretrained: got {wanted!r}; allowed: empty, an existing weights file or folder, "
            f"or a tag of {settings.model} ({tags})"
        )
    if bool(tag.get("quick_gelu")) != bool(config.get("quick_gelu")):
        other = "ViT-B-32-quickgelu" if tag.get("quick_gelu") else "the model without -quickgelu"
        raise ModelError(
            f"teacher.model: {settings.model} has another activation than the weights {wanted!r}; use e.g. {other}"
        )


@contextmanager
def _quiet_construction(seed: int) -> Iterator[None]:
    """Random weights from `seed` without touching the global generator; open_clip's notes kept off the root logger."""
    root = logging.getLogger()
    handler = logging.NullHandler()  # without any handler, logging.info would install one on stderr for good
    root.addHandler(handler)
    root.addFilter(_refuse)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            yield
    finally:
        root.removeFilter(_refuse)
        root.removeHandler(handler)


def _refuse(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.CRITICAL


def _line(error: BaseException) -> str:
    """The first lines of an error's message as one line of at most 200 characters."""
    return " ".join(str(error).split())[:200] or type(error).__name__
