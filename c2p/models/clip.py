"""CLIP as the pipeline uses it: an open_clip model with its tokenizer and preprocessing, in open_clip's folder layout.

Letters: B batch, H W pixels, C feature width, K texts.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import open_clip
import torch
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn import functional

from c2p import params
from c2p.data.files import write_bytes, write_json
from c2p.models.architecture import Architecture, find_architecture
from c2p.models.construction import bare_weights, fill_forgotten, quiet, random_weights
from c2p.models.folder import (
    CONFIG_FILE,
    WEIGHTS_FILE,
    ModelError,
    folder_weights,
    one_line,
    open_clip_folder,
    read_config,
)
from c2p.models.network import RESIZE_MODE, VISUAL, Clip, prepare_images
from c2p.models.weights import fit_weights, read_weights

__all__ = ["CONFIG_FILE", "WEIGHTS_FILE", "Clip", "ModelError", "prepare_images"]

TEXT_BATCH = 256


def load_clip(folder: Path) -> Clip:
    """Load a CLIP from a folder in open_clip's `local-dir` layout, or from a hub cache folder.

    Raises ModelError: the folder, its configuration or its weights are absent, broken or don't fit each other.
    """
    return _build(_saved(folder), seed=0)


def load_image_tower(folder: Path) -> Clip:
    """As load_clip, but without the text tower and the tokenizer: a third less of memory and time for a ViT-B/32.

    Its `model` has encode_image alone. Raises ModelError as load_clip does.
    """
    return _build(_saved(folder), seed=0, text=False)


class VisualOnly(nn.Module):
    """An open_clip model of which the visual tower is left."""

    def __init__(self, visual: nn.Module) -> None:
        super().__init__()
        self.visual = visual

    def encode_image(self, images: Tensor, *, normalize: bool = False) -> Tensor:
        """As open_clip's: prepared images (B, 3, H, W) -> (B, C)."""
        features = self.visual(images)
        features = features[0] if isinstance(features, tuple) else features
        return functional.normalize(features, dim=-1) if normalize else features


def create_clip(settings: params.Teacher, *, weights: Path | None = None) -> Clip:
    """Create the CLIP that the parameters name.

    `settings.pretrained` empty: random weights from `settings.seed`; a folder in open_clip's `local-dir` layout, a hub
    cache folder or a weights file: those weights; else an open_clip tag.
    weights: file with the tag's weights in any form of c2p.models.weights; None: open_clip downloads them or finds them
    in its cache.

    Raises ModelError: as find_architecture, and weights that can't be had or don't fit.
    """
    return _build(find_architecture(settings, weights=weights), seed=settings.seed)


def save_clip(clip: Clip, folder: Path) -> None:
    """Write a CLIP in open_clip's `local-dir` layout; the same weights give the same bytes."""
    save_weights(clip, clip.model.state_dict(), folder)


def save_weights(clip: Clip, weights: dict[str, Tensor], folder: Path) -> None:
    """Write `weights`, a state of `clip`'s architecture, in open_clip's `local-dir` layout."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    write_bytes(folder / WEIGHTS_FILE, save(tensors))
    preprocess: dict[str, Any] = {"mean": list(clip.mean), "std": list(clip.std), "interpolation": clip.interpolation}
    if clip.resize_mode != RESIZE_MODE:
        preprocess["resize_mode"] = clip.resize_mode
    write_json(folder / CONFIG_FILE, {"model_cfg": clip.config, "preprocess_cfg": preprocess})
    if hasattr(clip.tokenizer, "save_pretrained"):
        backend = getattr(clip.tokenizer.tokenizer, "backend_tokenizer", None)
        if backend is not None:  # the last use leaves its settings there: other bytes
            backend.no_truncation()
            backend.no_padding()
        clip.tokenizer.save_pretrained(str(folder))


@torch.no_grad()
def encode_images(clip: Clip, images: Tensor, *, standardise: bool = True) -> Tensor:
    """Image features, not normalised: (B, 3, H, W) float in [0, 1] -> (B, C) float32 on the model's device."""
    prepared = prepare_images(images.to(clip.device), clip, standardise=standardise)
    return clip.model.encode_image(prepared, normalize=False).float()


@torch.no_grad()
def encode_text(clip: Clip, prompts: Sequence[str]) -> Tensor:
    """Text features, L2-normalised: K prompts -> (K, C) float32 on the model's device."""
    if len(prompts) == 0:
        raise ModelError("prompts: got none; give at least one text")
    tokens = clip.tokenizer(list(prompts)).to(clip.device)
    features = [clip.model.encode_text(part, normalize=False).float() for part in tokens.split(TEXT_BATCH)]
    return functional.normalize(torch.cat(features), dim=-1)


def _saved(folder: Path) -> Architecture:
    place = open_clip_folder(folder)
    return Architecture(f"local-dir:{place}", read_config(place)["model_cfg"], weights=folder_weights(place))


def _build(plan: Architecture, *, seed: int, text: bool = True) -> Clip:
    """Build a network and give it its weights; with `text` off, a file's weights go into the visual tower alone."""
    path = plan.weights or _tag_weights(plan)
    weights = read_weights(path) if path else None
    changed = {} if "quick_gelu" not in plan.config else {"quick_gelu": plan.config["quick_gelu"]}
    try:
        with quiet(), random_weights(seed) if weights is None else bare_weights():
            model = open_clip.create_model(
                plan.identifier,
                load_weights=False,
                pretrained_text=False,
                force_preprocess_cfg=plan.preprocessing,
                **changed,
            )
            tokenizer = open_clip.get_tokenizer(plan.identifier) if text else None
    except ModuleNotFoundError as error:
        if error.name != "transformers":
            raise
        raise ModelError(
            f"{plan.identifier}: its texts are read by a tokenizer of the package transformers, which is not "
            "installed; install it: pip install -c constraints.txt -e '.[transformers]'"
        ) from None
    except Exception as error:  # open_clip, timm, torch and tokenizers raise their own kinds
        raise ModelError(f"{plan.identifier}: open_clip can't build it ({one_line(error)})") from error
    if weights is None:
        fill_forgotten(model, name=plan.identifier, seed=seed)
    else:
        fit_weights(model, weights, source=str(path), only="" if text else VISUAL)
    return _clip(model if text else VisualOnly(model.visual), tokenizer, plan.config)


def _tag_weights(plan: Architecture) -> Path | None:
    """The file of a tag's weights, downloaded by open_clip or from its cache; None: there is no tag."""
    if not plan.tag:
        return None
    try:
        return Path(open_clip.download_pretrained(plan.tag))
    except Exception as error:  # a download can fail in many ways
        raise ModelError(f"{plan.identifier}: its weights can't be had ({one_line(error)})") from error


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
        resize_mode=preprocess.get("resize_mode", RESIZE_MODE),
    )
