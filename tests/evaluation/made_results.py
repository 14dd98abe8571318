"""Metrics, predictions and results made up here, for the tests of tables and report."""

from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np

from c2p import params
from c2p.data.benchmarks import Benchmark, PointSet, write_benchmark
from c2p.evaluation.predictions import PredictionTable, predict
from c2p.evaluation.results import Inputs, write_results

NAMES = {"modelnet40": "ModelNet40", "modelnet10": "ModelNet10", "validation": "Validation split"}
CLASSES = ("box", "pole", "plate", "ring")
VOID = {"meta", "img", "br"}


def value(mean: float, *seeds: float, half: float | None = None) -> dict[str, Any]:
    """Metrics of one method; half: half the width of its interval, None: it has none, as older metrics."""
    spread = {"std": float(np.std(seeds, ddof=1)), "seeds": {str(n): s for n, s in enumerate(seeds)}} if seeds else {}
    more = {} if half is None else {"interval": [mean - half, mean + half], "ece": 12.5, "top3": 97.0}
    return {"mean": mean, "class_mean": mean, "inputs": "0123456789ab", **spread, **more}


def make_metrics() -> dict[str, Any]:
    """Metrics of every protocol, without intervals and curve."""
    facts = {"classes": 4, "train": 8, "test": 8, "chance": 25.0}
    zero = {"set": facts, "pointclip": value(20), "clip2point_without_pretraining": value(30)}
    few = {"set": facts, "pointclip": value(60, 59, 61), "clip2point_without_pretraining": value(70, 69, 71)}
    ablations: dict[str, Any] = {"set": facts}
    for place, slug in enumerate(("single_inter", "single_global", "dual_inter", "dual_global", "dual_global_clip")):
        ablations[slug] = value(50 + 5 * place, 49 + 5 * place, 51 + 5 * place)
    for a, task in enumerate(("zeroshot", "fewshot")):
        for b, kind in enumerate(("weighted", "minimum")):
            for r in (1, 2):
                ablations[f"{task}_{kind}_r{r}"] = value(10 + 40 * a + 5 * b + r)
    return {
        "zeroshot": {
            "validation": zero | {"clip2point": value(65, 64, 66), "rgb_views": value(90)},
            "modelnet40": zero | {"clip2point": value(45, 40, 50)},
            "modelnet10": zero | {"clip2point": value(66, 65, 67)},
        },
        "fewshot": {"modelnet40": few | {"clip2point": value(80, 78, 82)}},
        "fullshot": {"modelnet40": {"set": facts, "pointclip": value(62, 61, 63), "clip2point": value(85, 84, 86)}},
        "ablations": {"modelnet40": ablations},
    }


def make_predictions(
    classes: Sequence[str] = CLASSES, *, seeds: Sequence[int] = (0, 4)
) -> tuple[PointSet, PredictionTable, np.ndarray]:
    """Clouds of four objects a class, what two methods said of them on two sets, and the logits of the first seed."""
    count = len(classes)
    generator = np.random.default_rng(0)
    labels = np.arange(4 * count) % count
    points = generator.normal(size=(len(labels), 32, 3)).astype(np.float32)
    points /= np.abs(points).max() * 2
    clouds = PointSet(tuple(f"model-{n:03d}" for n in range(len(labels))), points, labels)
    logits = generator.normal(size=(len(labels), count))
    table = PredictionTable()
    for dataset in ("modelnet40", "validation"):
        for method, drawn in (("clip2point_without_pretraining", (None,)), ("clip2point", seeds)):
            for seed in drawn:
                rows = predict(clouds.keys, labels, logits + (seed or 0) * np.eye(count)[labels] / 4, classes, scale=3)
                table.add(rows, dataset=dataset, method=method, seed=seed)
    return clouds, table, logits


def make_benchmark(name: str, classes: Sequence[str], clouds: PointSet) -> Benchmark:
    """A set whose training objects are copies of its test objects."""
    train = PointSet(tuple(f"train-{key}" for key in clouds.keys), clouds.points, clouds.labels)
    return Benchmark(name, tuple(classes), train, clouds)


def make_results(
    folder: Path,
    settings: params.Params,
    metrics: dict[str, Any],
    *,
    classes: Sequence[str] = CLASSES,
    rejected: Sequence[tuple[str, str]] = (("a", "no faces"), ("b <i>", "no faces"), ("c", "unreadable")),
    predicted: bool = True,
) -> dict[str, bytes]:
    """Write results and plots from everything there can be; their bytes by file name."""
    clouds, table, _ = make_predictions(classes, seeds=settings.pretrain.seeds)
    inputs = folder / "in"
    paths = [write_benchmark(inputs / f"{n}.parquet", make_benchmark(n, classes, clouds)) for n in NAMES]
    rgb = np.random.default_rng(1).integers(256, size=(10, 24, 24, 3), dtype=np.uint8)
    curves = [{"seed": s, "epoch": e, "loss": 5.0 / e, "intra": 1.0, "cross": 2.0} for s in (0, 1) for e in (1, 2, 3)]
    write_results(
        folder / "out",
        settings,
        Inputs(
            metrics=metrics,
            benchmarks=paths,
            predictions=table.write(inputs / "predictions.parquet") if predicted else None,
            rgb_views=lambda keys: [rgb] * len(keys),
            curves=curves,
            teacher=[{"epoch": e, "loss": 4.0 / e} for e in (1, 2)],
            used=40,
            rejected=rejected,
            provenance={"Weights": "abc"},
        ),
        plots=folder / "plots",
    )
    return {path.name: path.read_bytes() for part in ("out", "plots") for path in sorted((folder / part).iterdir())}


class Page(HTMLParser):
    """Collects what a page would load, its text and headings, and whether its tags close."""

    def __init__(self, page: bytes | str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loads: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.frames: list[str | None] = []
        self.headings: list[int] = []
        self.tags: list[str] = []
        self.text = ""
        self.feed(page if isinstance(page, str) else page.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag."""
        self.tags.append(tag)
        self.loads += [v or "" for k, v in attrs if k in ("src", "href")]
        if tag == "img":
            self.images.append(dict(attrs))
        if tag == "iframe":
            self.frames.append(dict(attrs).get("srcdoc"))
            assert dict(attrs).get("sandbox") == "allow-scripts"
        if len(tag) == 2 and tag[0] == "h" and tag[1].isdecimal():
            self.headings.append(int(tag[1]))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Nothing stays open."""

    def handle_endtag(self, tag: str) -> None:
        """Whether it closes the last one opened."""
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Gather the text."""
        self.text += data
