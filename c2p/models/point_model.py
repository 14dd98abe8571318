"""3D encoders by their parameters, and the folder that one is kept in.

A folder holds `point_encoder.safetensors` (weights, and the image tower's visual prompts as `prompts` where it has
some), `point_encoder.json` (which network, and of which CLIP it speaks the language) and what c2p.models.preprocessing
writes. Letters: B batch, P points of a cloud, C feature width.
"""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from c2p.cg3d_params import PointEncoder
from c2p.data.files import write_bytes, write_json
from c2p.models.folder import ModelError, one_line
from c2p.models.point_encoder import PointTransformer, PointTransformerSize
from c2p.models.point_folder import CONFIG_FILE, WEIGHTS_FILE
from c2p.models.point_mlp import PointMlp, PointMlpSize
from c2p.params import ParameterError, build_sections

PROMPTS = "prompts"


@dataclass(frozen=True)
class PointModel:
    """A 3D encoder as it was read from its folder."""

    encoder: nn.Module
    """(B, P, 3) float32 points, unit sphere, y up, to (B, C) features, unnormalised; evaluation mode."""
    settings: PointEncoder
    width: int
    """C."""
    clip: str
    """Digest of the CLIP whose language it speaks (c2p.models.folder.clip_digest)."""
    prompts: Tensor | None
    """(L, T, W) visual prompts of that CLIP's image tower; None: it has none."""


def create_point_encoder(settings: PointEncoder, width: int, *, seed: int) -> nn.Module:
    """A 3D encoder with random weights from `seed`; width: C, that of the CLIP's features."""
    from c2p.models.construction import random_weights

    with random_weights(seed):
        return _build(settings, width)


def save_point_model(model: PointModel, folder: Path) -> None:
    """Write a 3D encoder's folder; the same model gives the same bytes."""
    from safetensors.torch import save

    weights = {f"encoder.{name}": tensor for name, tensor in model.encoder.state_dict().items()}
    if model.prompts is not None:
        weights[PROMPTS] = model.prompts
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    folder.mkdir(parents=True, exist_ok=True)
    write_bytes(folder / WEIGHTS_FILE, save(plain))
    known = {"point_encoder": dataclasses.asdict(model.settings), "width": model.width, "clip": model.clip}
    write_json(folder / CONFIG_FILE, known)


def load_point_model(folder: Path) -> PointModel:
    """Read a 3D encoder's folder.

    Raises ModelError: there is none, or its files are damaged or of another version.
    """
    from safetensors.torch import load_file

    path = folder / CONFIG_FILE
    if not path.is_file():
        raise ModelError(f"{folder}: no {CONFIG_FILE} there; give a 3D encoder's folder, as `dvc repro cg3d` leaves")
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
        settings = build_sections(PointEncoder, known["point_encoder"])
        width, clip = int(known["width"]), str(known["clip"])
    except (ValueError, KeyError, TypeError, ParameterError) as error:
        raise ModelError(f"{path}: not a 3D encoder of this version ({one_line(error)}); train it again") from None
    try:
        weights = load_file(folder / WEIGHTS_FILE)
    except Exception as error:  # safetensors has its own kinds of error
        raise ModelError(f"{folder / WEIGHTS_FILE}: not readable ({one_line(error)}); train it again") from None
    prompts = weights.pop(PROMPTS, None)
    encoder = _build(settings, width)
    load_point_weights(encoder, {name.removeprefix("encoder."): tensor for name, tensor in weights.items()})
    return PointModel(encoder.eval().requires_grad_(False), settings, width, clip, prompts)


def load_point_weights(encoder: nn.Module, weights: dict[str, Tensor]) -> None:
    """Put weights into a 3D encoder.

    Raises ModelError: names or shapes differ.
    """
    from c2p.models.weights import check_shapes

    check_shapes(weights, encoder.state_dict())
    encoder.load_state_dict(weights)


@torch.no_grad()
def encode_clouds(encoder: nn.Module, clouds: Tensor, *, batch: int = 64) -> Tensor:
    """Features of clouds in evaluation mode, of length one: (B, P, 3) float32 to (B, C) float32, on the CPU."""
    device = next(encoder.parameters()).device
    encoder.eval()
    parts = [encoder(part.to(device)).float().cpu() for part in clouds.split(batch)]
    return nn.functional.normalize(torch.cat(parts), dim=-1)


def _build(settings: PointEncoder, width: int) -> nn.Module:
    if settings.kind == "mlp":
        return PointMlp(width, PointMlpSize(settings.width, settings.depth, settings.blocks, settings.neighbours))
    size = PointTransformerSize(
        settings.width, settings.depth, settings.heads, settings.groups, settings.neighbours, settings.token_width
    )
    return PointTransformer(width, size)
