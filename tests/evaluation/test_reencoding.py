"""Adapters trained on features encoded once, held against the published way: both towers inside the loop."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.reencoding import train_reencoding
from c2p.evaluation.adaptation import Recipe, train_and_classify, view_mean_logits
from c2p.evaluation.bank import Bank, open_source, serial
from c2p.evaluation.drawings import Clip2PointDrawing
from c2p.evaluation.features import read_features
from c2p.models.clip import load_clip


def test_reencoding_every_epoch_trains_the_same_adapter(lab: Any, tmp_path: Path) -> None:
    towers = [lab.clip, lab.encoders / "seed-0"]
    source, drawing = open_source(lab.benchmarks[0]), Clip2PointDrawing(lab.settings.depth)
    bank = Bank(tmp_path)
    files = {
        split: [bank.features(tower, source, split, drawing, "ten", label=split) for tower in towers]
        for split in ("train", "test")
    }
    bank.make(serial)
    train, test = ([read_features(pieces) for pieces in files[split]] for split in ("train", "test"))
    bench = source.read()
    text = np.random.default_rng(0).normal(size=(3, train[0].shape[-1])).astype(np.float32)
    recipe = Recipe("adamw", 4, 4, 1e-3, 1e-4, 0.075)
    expected = train_and_classify("global", train, bench.train.labels, test, text, recipe, 7)
    clips = [load_clip(tower) for tower in towers]
    model, seconds = train_reencoding(
        clips, bench.train.points, bench.train.labels, text, recipe, seed=7, views="ten", drawing=drawing
    )
    with torch.inference_mode():
        logits = view_mean_logits(model(*map(torch.from_numpy, test)), torch.from_numpy(text)).numpy()
    assert len(seconds) == 4 and not model.training
    assert np.allclose(logits, expected, atol=1e-3) and np.array_equal(logits.argmax(1), expected.argmax(1))
    other = train_and_classify("global", train, bench.train.labels, test, text, recipe, 8)
    assert not np.allclose(other, expected, atol=1e-3), "another seed is another adapter"
