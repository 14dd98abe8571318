"""ONNX files of the towers, held against PyTorch before they get their names.

Exported by torch.export ("dynamo"): the older, tracing exporter was seen to give a wrong residual tower without a word.
Letters: N images or texts, H W pixels, L tokens, C feature width.
"""

import logging
import os
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from c2p.models.clip import Clip

log = logging.getLogger(__name__)

What = Literal["visual", "text"]
BATCHES = (1, 2, 5)
"""N of the comparison: the batch is not built into the file."""
PROMPTS = ("image of a chair", "a", "a very long text about a lamp that stands beside a sofa on a carpet", "a cup", "x")
LARGEST_FILE = 1 << 31
"""Bytes that one ONNX file holds; larger weights go into a second one beside it, `<name>.data`."""


class ExportError(RuntimeError):
    """An exported file that does not compute what the network does, or can't be made; the message is one line."""


@dataclass(frozen=True)
class Exported:
    """A file that was written, and how far it is from PyTorch."""

    path: Path
    inputs: str
    difference: float
    """Largest absolute difference between features, over all batches."""
    largest: float
    """Largest absolute feature, beside it."""


class VisualTower(nn.Module):
    """Pictures in [0, 1] to features; standardising is part of it."""

    mean: Tensor
    std: Tensor

    def __init__(self, clip: Clip) -> None:
        super().__init__()
        self.tower = clip.model.visual
        self.register_buffer("mean", torch.tensor(clip.mean)[:, None, None])
        self.register_buffer("std", torch.tensor(clip.std)[:, None, None])

    def forward(self, pixels: Tensor) -> Tensor:
        """(N, 3, H, W) float32 of the tower's size -> (N, C) float32, not normalised."""
        features = self.tower((pixels - self.mean) / self.std)
        first: Tensor = features[0] if isinstance(features, tuple) else features
        return first


class TextTower(nn.Module):
    """Tokens to features."""

    def __init__(self, clip: Clip) -> None:
        super().__init__()
        self.model = clip.model

    def forward(self, tokens: Tensor) -> Tensor:
        """(N, L) int64 -> (N, C) float32, not normalised."""
        features: Tensor = self.model.encode_text(tokens, normalize=False)
        return features


def export_onnx(clip: Clip, what: What, path: Path, *, tolerance: float) -> Exported:
    """Write a tower as an ONNX file with any batch size.

    visual: `pixels` (N, 3, H, W) float32 in [0, 1]; text: `tokens` (N, L) int64, by the model's tokenizer. Both give
    `features` (N, C) float32, not normalised.

    Raises ExportError: the file's features differ from PyTorch's by more than `tolerance`, then none is left; or the
    exporter fails. ModuleNotFoundError: the extra `export` is not installed.
    """
    tower: nn.Module = VisualTower(clip) if what == "visual" else TextTower(clip)
    name = {"visual": "pixels", "text": "tokens"}[what]
    samples = [_sample(clip, what, count) for count in BATCHES]
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".export-", dir=path.parent) as folder:
        written = Path(folder, path.name)  # its data, if any, is named by it
        _export(tower.eval(), samples[1], name, written, _told(clip, what))
        difference, largest = _compare(tower, samples, name, written)
        if not difference <= tolerance:
            raise ExportError(
                f"{path}: not written: features differ from PyTorch's by {difference:.3g}, tolerance {tolerance:g}"
            )
        for file in sorted(Path(folder).iterdir(), reverse=True):  # the data before the file that names it
            os.replace(file, path.parent / file.name)
    shape = ("N", *samples[0].shape[1:])
    return Exported(path, f"{name} ({', '.join(map(str, shape))})", difference, largest)


def _export(tower: nn.Module, sample: Tensor, name: str, path: Path, told: dict[str, str]) -> None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                tower,
                (sample,),
                input_names=[name],
                output_names=["features"],
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                dynamo=True,
                verbose=False,
            )
    except ModuleNotFoundError:
        raise
    except Exception as error:  # the exporter has many kinds, with pages of text
        first = " ".join(str(error).split())[:200]
        raise ExportError(f"{path.name}: PyTorch's exporter fails ({type(error).__name__}: {first})") from error
    assert program is not None
    _clean(program.model)
    program.model.metadata_props.update(told)
    size = sum(tensor.numel() * tensor.element_size() for tensor in tower.state_dict().values())
    program.save(str(path), external_data=size > LARGEST_FILE - (64 << 20))


def _clean(model: Any) -> None:
    """Take out the exporter's notes, which hold source lines and paths of this machine."""
    for graph in (model.graph, *model.functions.values()):
        for node in graph:
            node.metadata_props.clear()
            node.doc_string = None
        for value in (*graph.inputs, *graph.outputs, *getattr(graph, "initializers", {}).values()):
            value.metadata_props.clear()
        graph.metadata_props.clear()
    for node in model.graph:
        for value in node.outputs:
            value.metadata_props.clear()


def _told(clip: Clip, what: What) -> dict[str, str]:
    """What a user of the file has to know, as its metadata."""
    if what == "text":
        return {"tower": what, "input": "tokens of the model's own tokenizer"}
    height, width = clip.image_size
    return {"tower": what, "input": f"pictures in [0, 1], {height} x {width}; standardised inside"}


def _sample(clip: Clip, what: What, count: int) -> Tensor:
    if what == "visual":
        generator = torch.Generator().manual_seed(count)
        return torch.rand(count, 3, *clip.image_size, generator=generator)
    tokens: Tensor = clip.tokenizer(list(PROMPTS[:count]))
    return tokens


def _compare(tower: nn.Module, samples: Sequence[Tensor], name: str, path: Path) -> tuple[float, float]:
    """Largest difference between ONNX Runtime's and PyTorch's features, and the largest feature."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    difference, largest = 0.0, 0.0
    for sample in samples:
        with torch.no_grad():
            expected = tower(sample).numpy().astype(np.float64)
        found = session.run(None, {name: sample.numpy()})[0]
        if found.shape != expected.shape:
            raise ExportError(f"{path.name}: gives {found.shape} for {expected.shape}; not written")
        difference = float(np.maximum(difference, np.abs(found - expected).max()))  # NaN stays NaN
        largest = max(largest, float(np.abs(expected).max()))
    return difference, largest
