"""Zero-shot classification beside its encoder: what drawing, reading, standardising and scoring add.

Pieces of the set alternate between what is compared; a figure is the median of the rounds' sums. One thread. Files of
maps are read from the system's cache, as files are that were written or read a moment ago.

Legend: N object, V view, H = W pixels of the tower.
"""

import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from c2p.evaluation.bank import IMAGES_PER_BATCH, PIECE, Bank, Source, logit_scale, serial
from c2p.evaluation.drawings import Clip2PointDrawing
from c2p.evaluation.features import one_thread, read_features
from c2p.evaluation.scores import score
from c2p.evaluation.zeroshot import zeroshot_logits
from c2p.geometry.views import view_set
from c2p.models.clip import Clip, encode_images, load_clip, prepare_images
from c2p.models.templates import templates_of
from c2p.params import Params

VIEW_SET = "six"
VIEWS = len(view_set(VIEW_SET))
"""The paper's zero-shot views."""
BATCH = IMAGES_PER_BATCH["cpu"] // VIEWS
"""Objects encoded at a time, as the evaluation does."""
WAYS = ("cached", "cached_8_bit", "drawn")
"""The whole classification from maps as the tower takes them (float32, its size: the same features to the last bit),
from maps as shards keep them (8 bits, depth.size pixels: brought to the tower's size each time), or from clouds."""


def measure_zeroshot(
    params: Params, tower: Path, source: Source, *, rounds: int, objects: int | None = None
) -> dict[str, Any]:
    """Milliseconds an image of the tower alone, of the whole from cached maps and of the whole from clouds.

    tower: folder of the encoder; objects: so many of the test split, evenly taken; None: all of them.
    """
    bench, clip = source.read(), load_clip(tower)
    total = len(bench.test)
    rows = np.arange(total) if objects is None else np.linspace(0, total - 1, objects).astype(np.int64)
    labels, drawing = bench.test.labels[rows], Clip2PointDrawing(params.depth)
    with tempfile.TemporaryDirectory() as name, one_thread():
        folder = Path(name)
        bank = Bank(folder / "text")
        text = bank.text(tower, templates_of(params.zeroshot), bench.classes)
        bank.make(serial)
        prompts, scale = np.load(text), logit_scale(tower)
        sums: list[dict[str, float]] = []
        for number in range(rounds):
            bank, spent = Bank(folder / f"drawn-{number}"), dict.fromkeys(("encoder", *WAYS), 0.0)
            found: dict[str, list[np.ndarray]] = {way: [] for way in WAYS}
            for start in range(0, len(rows), PIECE):
                piece = rows[start : start + PIECE]
                files = write_maps(clip, bench.test.points[piece], drawing, folder)
                prepared = prepare_images(as_pictures(np.load(files["cached"], mmap_mode="r")[:BATCH]), clip)
                encode_alone(clip, prepared, BATCH)  # memory, kernels, and nobody's cache but its own
                with added(spent, "encoder"):
                    encode_alone(clip, prepared, len(piece))
                for way in ("cached", "cached_8_bit"):
                    with added(spent, way):
                        found[way].append(encode_maps(clip, files[way]))
                with added(spent, "drawn"):
                    made = bank.features(tower, source, "test", drawing, VIEW_SET, label="zero-shot", rows=piece)
                    bank.make(serial)
                    found["drawn"].append(read_features(made))
            accuracies = {}
            for way, features in found.items():
                with added(spent, way):
                    logits = zeroshot_logits(np.concatenate(features), prompts)
                    accuracies[way] = round(score(logits, labels, scale=scale).top1, 4)
            drawn, cached = (np.concatenate(found[way]) for way in ("drawn", "cached"))
            assert np.array_equal(drawn, cached), "cached maps changed a feature"
            sums.append(spent)
    images = len(rows) * VIEWS
    median = {name: statistics.median(spent[name] for spent in sums) for name in sums[0]}
    return {
        "objects": len(rows),
        "views": VIEWS,
        "rounds": rounds,
        "accuracy": accuracies,
        **{f"{name}_ms": round(seconds / images * 1e3, 4) for name, seconds in median.items()},
        **{f"{way}_over_encoder": round(statistics.median(s["encoder"] / s[way] for s in sums), 3) for way in WAYS},
    }


def write_maps(clip: Clip, points: np.ndarray, drawing: Clip2PointDrawing, folder: Path) -> dict[str, Path]:
    """Draw every view of the objects into .npy files of (N, V, H, W): one for each way of WAYS that reads maps."""
    rotations = torch.tensor(view_set(VIEW_SET).rotations, dtype=torch.float32)
    sized, eight = [], []
    with torch.inference_mode():
        for part in torch.from_numpy(points).split(BATCH):
            images = drawing.draw(part, rotations, clip.image_size)
            grey = prepare_images(images.flatten(0, 1), clip, standardise=False)[:, 0]
            sized.append(grey.unflatten(0, images.shape[:2]).numpy())
            eight.append((images[:, :, 0] * 255).round().to(torch.uint8).numpy())
    files = {"cached": folder / "sized.npy", "cached_8_bit": folder / "eight.npy"}
    np.save(files["cached"], np.concatenate(sized))
    np.save(files["cached_8_bit"], np.concatenate(eight))
    return files


def encode_maps(clip: Clip, maps: Path) -> np.ndarray:
    """Features (N, V, C) of all objects in a file of maps."""
    pieces, stored = [], np.load(maps, mmap_mode="r")
    with torch.inference_mode():
        for start in range(0, len(stored), BATCH):
            features = encode_images(clip, as_pictures(stored[start : start + BATCH]))
            pieces.append(features.unflatten(0, (-1, VIEWS)).numpy())
    return np.concatenate(pieces)


def encode_alone(clip: Clip, prepared: Tensor, objects: int) -> None:
    """The tower on as many images as the objects have views, in the same batches; the images are always the same."""
    with torch.inference_mode():
        for start in range(0, objects, BATCH):
            clip.model.encode_image(prepared[: VIEWS * min(BATCH, objects - start)], normalize=False)


def as_pictures(maps: np.ndarray) -> Tensor:
    """Maps (N, V, H, W), read here, as pictures (N*V, 3, H, W) float32 of three equal channels."""
    grey = torch.from_numpy(np.array(maps)).flatten(0, 1).unsqueeze(1)
    return (grey if grey.is_floating_point() else grey.float().div_(255)).expand(-1, 3, -1, -1)


@contextmanager
def added(spent: dict[str, float], name: str) -> Iterator[None]:
    """Add the seconds of what is inside."""
    begin = time.perf_counter()
    yield
    spent[name] += time.perf_counter() - begin
