"""The cells of Tables 1 to 5 in long form: what was measured, beside what was published."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from c2p import params
from c2p.evaluation import published
from c2p.evaluation.methods import AGGREGATIONS, RGB_VIEWS, ZEROSHOT, rendering_slug
from c2p.evaluation.published import Published
from c2p.geometry.views import view_set

CONTROLS = "text"
"""Name in place of a table's number for controls that the paper's text reports."""
ORDER = (
    "modelnet10",
    "modelnet40",
    "scanobjectnn_obj_only",
    "scanobjectnn_obj_bg",
    "scanobjectnn_pb_t50_rs",
    "meshes",
    "validation",
)
ADAPTER_VIEWS = "ten"
ALL_SHOTS = "all"
OTHER_NETWORK = "another network: published numbers only"


@dataclass(frozen=True)
class Cell:
    """One number of a table."""

    table: str
    heads: tuple[str, ...]
    """What stands at the head of its row."""
    column: str
    dataset: str = ""
    method: str = ""
    pretrained: bool | None = None
    views: int | None = None
    shots: int | str | None = None
    """0: zero-shot; `all`: every training object."""
    mean: float | None = None
    std: float | None = None
    n_seeds: int | None = None
    chance: float | None = None
    published: Published | None = None
    data_rev: str = ""
    """Digest of the benchmark file and the weights of the encoders behind the number."""
    why: str = ""
    """Why there is no number of ours; empty where there is one."""


def build_cells(
    settings: params.Params, metrics: Mapping[str, Mapping[str, Any]], names: Mapping[str, str]
) -> list[Cell]:
    """All cells of all tables, in reading order.

    Args:
        settings: parameters the metrics were made with.
        metrics: by protocol (zeroshot, fewshot, fullshot, ablations): what the protocols returned.
        names: what people call each dataset, e.g. {"modelnet40": "ModelNet40"}.
    """
    return [
        *_zeroshot(settings, metrics.get("zeroshot", {}), names),
        *_fewshot(settings, metrics.get("fewshot", {})),
        *_fullshot(settings, metrics.get("fullshot", {})),
        *_components(settings, metrics.get("ablations", {})),
        *_rendering(settings, metrics.get("ablations", {})),
        *_controls(settings, metrics),
    ]


def _zeroshot(settings: params.Params, metrics: Mapping[str, Any], names: Mapping[str, str]) -> Iterator[Cell]:
    for dataset in sorted(metrics, key=_rank):
        validation = dataset == "validation"
        views = len(view_set(settings.render.views if validation else settings.zeroshot.views))
        for method in (*ZEROSHOT, RGB_VIEWS):
            rgb = method is RGB_VIEWS
            missing = "only the validation models have RGB views" if rgb and not validation else ""
            yield _cell(
                metrics,
                dataset,
                method.slug,
                table="1",
                heads=(names.get(dataset, dataset),),
                column=method.label,
                pretrained=method.pretrained,
                views=None if missing else views,
                shots=0,
                published=published.ZEROSHOT.get((dataset, method.slug)),
                missing=missing,
            )


def _fewshot(settings: params.Params, metrics: Mapping[str, Any]) -> Iterator[Cell]:
    columns = {"without": "w/o pre-training", "with": "w/ pre-training"}
    others = dict.fromkeys(row for row, _ in published.FEWSHOT_OTHERS)
    for row in list(others)[:2]:
        for state, column in columns.items():
            yield _other("2", tuple(row.split(", ")), column, published.FEWSHOT_OTHERS.get((row, state)))
    slugs = {
        ("pointclip", "without"): "pointclip",
        ("clip2point", "without"): "clip2point_without_pretraining",
        ("clip2point", "with"): "clip2point",
    }
    for label, family in (("PointCLIP", "pointclip"), ("CLIP2Point", "clip2point")):
        for state, column in columns.items():
            yield _cell(
                metrics,
                settings.fewshot.dataset,
                slugs.get((family, state), family),
                table="2",
                heads=(label, _encoder(settings)),
                column=column,
                pretrained=state == "with",
                views=len(view_set(ADAPTER_VIEWS)),
                shots=settings.fewshot.shots,
                published=published.FEWSHOT.get((family, state)),
                missing="" if (family, state) in slugs else "PointCLIP has no pre-training of its own",
            )
        if family == "pointclip":
            for state, column in columns.items():
                row = "PointCLIP, ResNet101"
                yield _other("2", tuple(row.split(", ")), column, published.FEWSHOT_OTHERS.get((row, state)))


def _fullshot(settings: params.Params, metrics: Mapping[str, Any]) -> Iterator[Cell]:
    views = len(view_set(ADAPTER_VIEWS))
    data = f"{settings.sample.points:,}, {views}"
    others = list(published.FULLSHOT_OTHERS)
    pointclip_place = others.index(("MVTN", "2,048, 12")) + 1

    def ours(label: str, slug: str) -> Cell:
        return _cell(
            metrics,
            settings.fullshot.dataset,
            slug,
            table="3",
            heads=(label, data),
            column="Accuracy",
            pretrained=slug == "clip2point",
            views=views,
            shots=ALL_SHOTS,
            published=Published(published.FULLSHOT[slug], published.FULLSHOT_SOURCE),
        )

    for place, heads in enumerate(others):
        if place == pointclip_place:
            yield ours("PointCLIP", "pointclip")
        yield _other("3", heads, "Accuracy", Published(published.FULLSHOT_OTHERS[heads], published.FULLSHOT_SOURCE))
    yield ours("CLIP2Point", "clip2point")


def _components(settings: params.Params, metrics: Mapping[str, Any]) -> Iterator[Cell]:
    for paths in ("single", "dual"):
        for adapter in ("inter", "global"):
            yield _cell(
                metrics,
                settings.fewshot.dataset,
                f"{paths}_{adapter}",
                table="4",
                heads=(f"{paths.capitalize()} path",),
                column=f"{adapter.capitalize()}-view adapter",
                pretrained=True,
                views=len(view_set(ADAPTER_VIEWS)),
                shots=settings.fewshot.shots,
                published=published.COMPONENTS[paths, adapter],
            )


def _rendering(settings: params.Params, metrics: Mapping[str, Any]) -> Iterator[Cell]:
    dilations = sorted({*published.RENDERING_DILATIONS, *settings.ablations.dilations})
    for task, label, views, shots in (
        ("zeroshot", "Zero-shot", settings.zeroshot.views, 0),
        ("fewshot", "Few-shot", ADAPTER_VIEWS, settings.fewshot.shots),
    ):
        for aggregation in AGGREGATIONS:
            for dilation in dilations:
                asked = dilation in settings.ablations.dilations
                yield _cell(
                    metrics,
                    settings.fewshot.dataset,
                    rendering_slug("zeroshot" if task == "zeroshot" else "fewshot", aggregation, dilation),
                    table="5",
                    heads=(label, aggregation.capitalize()),
                    column=f"R={dilation}",
                    pretrained=False,
                    views=len(view_set(views)),
                    shots=shots,
                    published=published.RENDERING.get((f"{task}_{aggregation}", str(dilation))),
                    missing="" if asked else f"ablations.dilations leaves {dilation} out",
                )


def _controls(settings: params.Params, metrics: Mapping[str, Mapping[str, Any]]) -> Iterator[Cell]:
    yield _cell(
        metrics.get("ablations", {}),
        settings.fewshot.dataset,
        "dual_global_clip",
        table=CONTROLS,
        heads=(f"{settings.fewshot.shots}-shot, dual path with CLIP in both paths",),
        column="Accuracy",
        pretrained=False,
        views=len(view_set(ADAPTER_VIEWS)),
        shots=settings.fewshot.shots,
        published=published.BOTH_PATHS_CLIP,
    )
    alone = not settings.pretrain.intra
    yield _cell(
        metrics.get("zeroshot", {}),
        settings.fewshot.dataset,
        "clip2point",
        table=CONTROLS,
        heads=("Zero-shot, pre-trained without the intra-modality loss",),
        column="Accuracy",
        pretrained=True,
        views=len(view_set(settings.zeroshot.views)),
        shots=0,
        published=published.CROSS_MODALITY_ONLY,
        missing="" if alone else "needs a pre-training of its own: dvc exp run -S pretrain.intra=false",
    )


def _cell(
    metrics: Mapping[str, Any], dataset: str, method: str, *, missing: str = "", table: str, **fields: Any
) -> Cell:
    """A cell of ours: its number from the metrics, or why there is none."""
    found = metrics.get(dataset, {})
    if missing:
        return Cell(table, dataset=dataset, method=method, why=missing, **fields)
    if method not in found:
        why = f"{method} on {dataset} is not in the metrics: its stage has not run"
        return Cell(table, dataset=dataset, method=method, why=why, **fields)
    values = found[method]
    return Cell(
        table,
        dataset=dataset,
        method=method,
        mean=values["mean"],
        std=values.get("std"),
        n_seeds=len(values.get("seeds", {})) or None,
        chance=found.get("set", {}).get("chance"),
        data_rev=values.get("inputs", ""),
        **fields,
    )


def _other(table: str, heads: tuple[str, ...], column: str, number: Published | None) -> Cell:
    return Cell(table, heads, column, published=number, why=OTHER_NETWORK)


def _encoder(settings: params.Params) -> str:
    name = settings.teacher.model
    return "ViT-B/32" if name.startswith("ViT-B-32") else f"{name} (published: ViT-B/32)"


def _rank(dataset: str) -> tuple[int, str]:
    return (ORDER.index(dataset) if dataset in ORDER else ORDER.index("meshes"), dataset)
