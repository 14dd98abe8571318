"""Which network the parameters mean: open_clip's configuration, its activation, preprocessing and weights.

Weights decide what the name leaves open. OpenAI trained with QuickGELU, so `ViT-B-32` with the tag `openai` means the
network that open_clip calls ViT-B-32-quickgelu; SigLIP's images are standardised by other numbers than CLIP's.
"""

import difflib
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import open_clip

from c2p import params
from c2p.models.folder import CONFIG_FILE, WEIGHTS_FILES, ModelError, folder_weights, open_clip_folder, read_config
from c2p.models.scripted import is_scripted

log = logging.getLogger(__name__)

CONFIGS = Path(__file__).with_name("configs")
HUB = "hf-hub:"
"""What a repository of the hub begins with in teacher.pretrained."""
PREPROCESSING = ("mean", "std", "interpolation", "resize_mode")
_TOKENIZER_KEYS = frozenset({"hf_tokenizer_name", "tokenizer_kwargs", "tokenizer_mode", "hf_model_pretrained"})
"""Keys of a text configuration that say nothing about the network."""


@dataclass(frozen=True)
class Architecture:
    """A network before it is built."""

    identifier: str
    """What open_clip builds it from: a model's name or `local-dir:PATH`."""
    config: dict[str, Any]
    """open_clip's model configuration, with the activation the weights want."""
    preprocessing: dict[str, Any] = field(default_factory=dict)
    """Of PREPROCESSING what is known beside the model's name."""
    weights: Path | None = None
    """File with the weights; None: random ones, or those of the tag."""
    tag: dict[str, Any] = field(default_factory=dict)
    """open_clip's entry for the tag that teacher.pretrained names; empty: it names none."""


def find_architecture(settings: params.Teacher, *, weights: Path | None = None) -> Architecture:
    """The network that the parameters mean, before anything is fetched or built.

    weights: file with the weights of the tag, or folder of the hub's repository, where it is at hand.
    Raises ModelError: unknown model or tag, missing file, a folder that is not open_clip's or holds another network.
    """
    config, wanted = named_config(settings.model), settings.pretrained
    if wanted.startswith(HUB):
        known = weights is not None
        return _of_folder(settings, config, Path(str(weights))) if known else Architecture(settings.model, config)
    if not wanted:
        return Architecture(settings.model, config)
    if not Path(wanted).exists():
        tag = _tag(settings)
        return _of_weights(settings, config, weights, tag, quick_gelu=bool(tag.get("quick_gelu")))
    if Path(wanted).is_dir():
        return _of_folder(settings, config, open_clip_folder(Path(wanted)))
    beside = Path(wanted).with_name(CONFIG_FILE)
    if beside.is_file() and Path(wanted).name in WEIGHTS_FILES:
        return _of_folder(settings, config, beside.parent, weights=Path(wanted))
    scripted = is_scripted(Path(wanted))
    if not scripted and not config.get("quick_gelu"):
        log.info("%s: taken as trained with GELU; for QuickGELU name the model %s-quickgelu", wanted, settings.model)
    return _of_weights(settings, config, Path(wanted), {}, quick_gelu=True if scripted else None)


def named_config(name: str) -> dict[str, Any]:
    """open_clip's configuration of a model.

    Raises ModelError: it knows no such model.
    """
    if name not in open_clip.list_models():
        open_clip.add_model_config(CONFIGS)
    config = open_clip.get_model_config(name) if name in open_clip.list_models() else None
    if config is None:
        near = difflib.get_close_matches(name, open_clip.list_models(), 3, 0.5) or ["c2p-demo", "ViT-B-32"]
        raise ModelError(f"teacher.model: got {name!r}; open_clip has no such model; near: {', '.join(near)}")
    return dict(config)


def _tag(settings: params.Teacher) -> dict[str, Any]:
    tag = open_clip.get_pretrained_cfg(settings.model, settings.pretrained)
    if not tag:
        tags = ", ".join(open_clip.list_pretrained_tags_by_model(settings.model)) or "none"
        raise ModelError(
            f"teacher.pretrained: got {settings.pretrained!r}; allowed: empty, an existing weights file or folder, "
            f"{HUB}OWNER/NAME, or a tag of {settings.model} ({tags})"
        )
    return dict(tag)


def _of_weights(
    settings: params.Teacher,
    config: dict[str, Any],
    weights: Path | None,
    tag: dict[str, Any],
    *,
    quick_gelu: bool | None,
) -> Architecture:
    """The named network with the activation of its weights (None: the name's)."""
    if quick_gelu is not None and quick_gelu != bool(config.get("quick_gelu")):
        log.info(
            "%s: the weights %s were trained with %s, so it is built with that",
            settings.model,
            settings.pretrained,
            "QuickGELU" if quick_gelu else "GELU",
        )
        config = config | {"quick_gelu": quick_gelu}
    told = tag or _common_preprocessing(settings.model)
    preprocessing = {key: told[key] for key in PREPROCESSING if told.get(key) is not None}
    return Architecture(settings.model, config, preprocessing, weights, tag)


def _common_preprocessing(model: str) -> dict[str, Any]:
    """What all published weights of a model agree on; a file of weights does not say it."""
    tags = [open_clip.get_pretrained_cfg(model, tag) for tag in open_clip.list_pretrained_tags_by_model(model)]
    if not tags:
        return {}
    common = {key: tags[0].get(key) for key in PREPROCESSING}
    differing = [key for key in PREPROCESSING if any(tag.get(key) != common[key] for tag in tags)]
    if differing:
        log.info("%s: published weights differ in %s; CLIP's own is taken", model, ", ".join(differing))
    return {key: value for key, value in common.items() if key not in differing}


def _of_folder(
    settings: params.Teacher, config: dict[str, Any], folder: Path, *, weights: Path | None = None
) -> Architecture:
    found = read_config(folder)
    model = found["model_cfg"]
    different = [key for key in ("embed_dim", "vision_cfg", "text_cfg") if _differ(model[key], config[key])]
    if different:
        raise ModelError(
            f"teacher.pretrained: {settings.pretrained} holds another architecture than {settings.model} "
            f"({', '.join(different)}); name its own model in teacher.model"
        )
    told = found.get("preprocess_cfg", {})
    preprocessing = {key: told[key] for key in PREPROCESSING if told.get(key) is not None}
    return Architecture(f"local-dir:{folder}", model, preprocessing, weights or folder_weights(folder))


def _differ(found: Any, named: Any) -> bool:
    """Whether a folder's section contradicts the named model's; what it leaves out does not."""
    if not isinstance(named, dict):
        return bool(found != named)
    return any(found.get(key, value) != value for key, value in named.items() if key not in _TOKENIZER_KEYS)
