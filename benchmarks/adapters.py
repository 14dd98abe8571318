"""What caching features is worth: `make bench-adapters` prints it and writes benchmarks/results/adapters.json.

Everything is measured in one run on the same inputs, one thread, on a made set of ModelNet40's true size (40 classes,
16 training objects a class, 2,468 test objects; benchmarks/made40.py) and the towers of the finished demo: its CLIP and
its first depth encoder.

Adapters: the time of 100 epochs of CLIP2Point's dual-path adapter, 16 shots, ten views, features encoded once and
included, against the same training with both towers inside the loop (benchmarks/reencoding.py). The test objects'
features, which both need once at the end, count in neither.

Zero-shot (benchmarks/zeroshot.py): the time of the depth encoder alone on 2,468 x 6 prepared images, over that of the
whole classification. From clouds, whole is what the stage zeroshot does: drawing, normalising, resizing, standardising,
the tower, the features' file, cosines with the prompts, the mean over the views, the scores. From cached depth maps the
drawing is replaced by reading maps that were drawn before. They lie in files at the size the tower takes, one float32
channel a map, so that not a bit of a feature changes; beside it stands what 8-bit maps of depth.size pixels cost, which
are smaller for towers of that size, and are resized for smaller ones.
"""

import argparse
import json
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.data import machine
from benchmarks.made40 import CLASSES, SHOTS, made40
from benchmarks.reencoding import train_reencoding
from benchmarks.zeroshot import VIEWS, WAYS, measure_zeroshot
from c2p.evaluation import adaptation
from c2p.evaluation.adaptation import AdapterJob, Recipe, clip2point_recipe, view_mean_logits
from c2p.evaluation.bank import Bank, Source, logit_scale, open_source, serial
from c2p.evaluation.drawings import Clip2PointDrawing
from c2p.evaluation.features import read_features
from c2p.evaluation.scores import score
from c2p.evaluation.subsets import few_shot_rows
from c2p.models.clip import create_clip, load_clip, save_clip
from c2p.models.templates import templates_of
from c2p.params import Params, load
from tasks.layout import Layout

ROOT = Path(__file__).resolve().parent.parent
RESULT = ROOT / "benchmarks/results/adapters.json"
EPOCHS = 100
"""CLIP2Point's published few-shot training."""
ADAPTER_VIEWS = "ten"
VIT = "ViT-B-32-quickgelu"
"""The paper's tower, here with random weights: what it costs doesn't depend on them."""
VIT_OBJECTS = 40
"""Test objects that the large tower's rates are measured on."""
VIT_EPOCHS = 10
"""Epochs that training on its features is measured on."""
SEED = 0


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.adapters", description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=EPOCHS, help=f"epochs to run with re-encoding ({EPOCHS})")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of zero-shot (3)")
    parser.add_argument("--quick", action="store_true", help=f"without {VIT}")
    parser.add_argument("--out", type=Path, default=RESULT, help=f"file to write ({RESULT.relative_to(ROOT)})")
    given = parser.parse_args()
    torch.set_num_threads(1)
    params, layout = load(ROOT / "params.yaml"), Layout(ROOT)
    towers = [layout.clip, layout.encoder / f"seed-{params.pretrain.seeds[0]}"]
    if missing := [folder for folder in towers if not folder.is_dir()]:
        raise SystemExit(f"{missing[0]}: no such encoder; finish the demo first: make demo")
    source = open_source(made40())
    result: dict[str, Any] = {"encoder": params.teacher.model}
    for name, measure in (
        ("zeroshot", lambda: measure_zeroshot(params, towers[1], source, rounds=given.rounds)),
        ("adapters", lambda: measure_adapters(params, towers, source, epochs=given.epochs)),
        ("vit_b_32", lambda: None if given.quick else measure_large(params, source)),
    ):
        begin = time.monotonic()
        result[name] = measure()
        print(f"{name}: {time.monotonic() - begin:.0f} s", flush=True)
    result = headline(result) | {"machine": machine()} | result
    print(report(result))
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def measure_adapters(params: Params, towers: list[Path], source: Source, *, epochs: int) -> dict[str, Any]:
    """Seconds of EPOCHS epochs either way, cached before and after the other, and both accuracies."""
    bench, drawing = source.read(), Clip2PointDrawing(params.depth)
    recipe = clip2point_recipe(params.adapter, epochs=EPOCHS)
    rows = few_shot_rows(bench.train.keys, bench.train.labels, shots=SHOTS, seed=SEED)
    with tempfile.TemporaryDirectory() as folder:
        bank = Bank(Path(folder) / "test")
        test = tuple(bank.features(t, source, "test", drawing, ADAPTER_VIEWS, label="test") for t in towers)
        text = bank.text(towers[0], templates_of(params.zeroshot), bench.classes)
        bank.make(serial)
        prompts, scale = np.load(text), logit_scale(towers[0])

        def cached(number: int, recipe: Recipe) -> tuple[dict[str, float], np.ndarray]:
            """Seconds of encoding and of training, and the test logits."""
            begin = time.perf_counter()
            fresh = Bank(Path(folder) / f"train-{number}")
            train = tuple(
                fresh.features(t, source, "train", drawing, ADAPTER_VIEWS, label="train", rows=np.sort(rows))
                for t in towers
            )
            fresh.make(serial)
            encoded = time.perf_counter()
            places = np.searchsorted(np.sort(rows), rows)
            labels, out = bench.train.labels[rows], Path(folder) / f"logits-{number}.npy"
            logits = adaptation.run_job(AdapterJob("global", train, test, places, labels, text, recipe, SEED, out))
            spent = {"encode": encoded - begin, "train": time.perf_counter() - encoded}
            return spent, np.load(logits)

        first, _ = cached(0, recipe)
        clips = [load_clip(tower) for tower in towers]
        points, labels = bench.train.points[rows], bench.train.labels[rows]
        short = replace(recipe, epochs=epochs)
        model, seconds = train_reencoding(
            clips, points, labels, prompts, short, seed=SEED, views=ADAPTER_VIEWS, drawing=drawing
        )
        second, logits = cached(1, recipe)
        if epochs != EPOCHS:
            logits = cached(2, short)[1]
        with torch.inference_mode():
            features = [torch.from_numpy(read_features(pieces)) for pieces in test]
            other = recipe.scale * view_mean_logits(model(*features), torch.from_numpy(prompts))
    spent = {name: (first[name] + second[name]) / 2 for name in first}
    return {
        "objects": len(rows),
        "views": 10,
        "paths": len(towers),
        "epochs": EPOCHS,
        "epochs_reencoded": epochs,
        "extrapolated": epochs != EPOCHS,
        "cached_encode_s": round(spent["encode"], 3),
        "cached_train_s": round(spent["train"], 3),
        "cached_s": [round(sum(run.values()), 3) for run in (first, second)],
        "reencoded_epoch_s": round(statistics.mean(seconds), 3),
        "reencoded_s": round(statistics.mean(seconds) * EPOCHS, 1),
        "speedup": round(statistics.mean(seconds) * EPOCHS / sum(spent.values()), 1),
        "accuracy_epochs": epochs,
        "accuracy_cached": round(score(logits, bench.test.labels, scale=scale).top1, 4),
        "accuracy_reencoded": round(score(other.numpy(), bench.test.labels, scale=scale).top1, 4),
        "largest_logit_difference": float(np.abs(logits - other.numpy()).max()),
    }


def measure_large(params: Params, source: Source) -> dict[str, Any]:
    """The same for the paper's tower, from the rates of few objects and epochs: a whole run takes hours on a CPU."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "vit"
        save_clip(create_clip(replace(params.teacher, model=VIT, pretrained="")), place)
        rates = measure_zeroshot(params, place, source, rounds=1, objects=VIT_OBJECTS)
    images = CLASSES * SHOTS * 10
    generator = np.random.default_rng(0)
    features = [generator.normal(size=(CLASSES * SHOTS, 10, 512)).astype(np.float32) for _ in "cd"]
    labels, text = np.repeat(np.arange(CLASSES), SHOTS), generator.normal(size=(CLASSES, 512)).astype(np.float32)
    begin = time.perf_counter()
    recipe = clip2point_recipe(params.adapter, epochs=VIT_EPOCHS)
    adaptation.train_and_classify("global", features, labels, [f[:1] for f in features], text, recipe, SEED)
    train = (time.perf_counter() - begin) * EPOCHS / VIT_EPOCHS
    encode = 2 * images * rates["drawn_ms"] / 1e3
    return {
        "extrapolated": True,
        "objects_measured": VIT_OBJECTS,
        "encode_s": round(encode, 1),
        "train_s": round(train, 2),
        "speedup": round((EPOCHS * encode + train) / (encode + train), 1),
        "zeroshot": rates,
    }


def headline(result: dict[str, Any]) -> dict[str, Any]:
    """The figures that are asked for, under their names."""
    adapters, zeroshot = result["adapters"], result["zeroshot"]
    return {
        "speedup": adapters["speedup"],
        "accuracy_cached": adapters["accuracy_cached"],
        "accuracy_reencoded": adapters["accuracy_reencoded"],
        "zeroshot_over_encoder": zeroshot["cached_over_encoder"],
    }


def report(result: dict[str, Any]) -> str:
    """The result for people."""
    a, z = result["adapters"], result["zeroshot"]
    encode, train = a["cached_encode_s"], a["cached_train_s"]
    how = f"{a['epochs_reencoded']} epochs run" + (", extrapolated" if a["extrapolated"] else "")
    lines = [
        "",
        f"16-shot adapters, {a['objects']} objects x {a['views']} views, {a['paths']} towers {result['encoder']}:",
        f"  cached: {encode} s of encoding + {train} s of training = {encode + train:.2f} s for {EPOCHS} epochs",
        f"  re-encoded: {EPOCHS} x {a['reencoded_epoch_s']} s = {a['reencoded_s']} s ({how})",
        f"  speedup = {a['reencoded_s']} / {encode + train:.2f} = {a['speedup']}",
        f"  accuracy after {a['accuracy_epochs']} epochs: cached {a['accuracy_cached']}, "
        f"re-encoded {a['accuracy_reencoded']} %; largest difference of a logit {a['largest_logit_difference']:.1e}",
        f"zero-shot, {z['objects']} objects x {VIEWS} views, {result['encoder']}, ms an image:",
        *_rates(z),
    ]
    if (large := result["vit_b_32"]) is not None:
        lines += [
            f"{VIT} (random weights; from {large['objects_measured']} objects, extrapolated):",
            f"  speedup = ({EPOCHS} x {large['encode_s']} + {large['train_s']}) / "
            f"({large['encode_s']} + {large['train_s']}) = {large['speedup']}",
            *_rates(large["zeroshot"]),
        ]
    return "\n".join(lines)


def _rates(zeroshot: dict[str, Any]) -> list[str]:
    alone = zeroshot["encoder_ms"]
    return [f"  encoder alone {alone}"] + [
        f"  {way.replace('_', ' ')}: {zeroshot[f'{way}_ms']}; encoder / whole = {zeroshot[f'{way}_over_encoder']}"
        for way in WAYS
    ]


if __name__ == "__main__":
    main()
