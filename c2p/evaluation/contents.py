"""What stands in each table: Tables 1 to 5, the text's controls, accuracy against shots, and those of CG3D."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from c2p import params
from c2p.evaluation import methods, published
from c2p.evaluation.cells import Cell, find_cell, other_cell
from c2p.evaluation.cg3d_contents import build_cg3d_cells
from c2p.evaluation.methods import ADAPTED, ADAPTER_VIEWS, AGGREGATIONS, RGB_VIEWS, ZEROSHOT, rendering_slug
from c2p.evaluation.published import Published
from c2p.geometry.views import view_set

Metrics = Mapping[str, Mapping[str, Any]]
"""By protocol (c2p.evaluation.results.PROTOCOLS): what it returned; absent where its stage has not run."""

CONTROLS = "text"
"""Name in place of a table's number for controls that the paper's text reports."""
SHOTS = "shots"
"""And for accuracy against shots, which the paper does not report."""
ORDER = (
    "modelnet10",
    "modelnet40",
    "scanobjectnn_obj_only",
    "scanobjectnn_obj_bg",
    "scanobjectnn_pb_t50_rs",
    "meshes",
    methods.VALIDATION,
)
ALL_SHOTS = "all"


def build_cells(settings: params.Params, metrics: Metrics, names: Mapping[str, str]) -> list[Cell]:
    """All cells of all tables, in reading order.

    Args:
        settings: parameters the metrics were made with.
        metrics: what the protocols returned.
        names: what people call each dataset, e.g. {"modelnet40": "ModelNet40"}.
    """
    return [
        *_zeroshot(settings, metrics, names),
        *_fewshot(settings, metrics),
        *_fullshot(settings, metrics),
        *_components(settings, metrics),
        *_rendering(settings, metrics),
        *_controls(settings, metrics, names),
        *_shots(settings, metrics),
        *build_cg3d_cells(settings, metrics, {name: names[name] for name in sorted(names, key=_rank)}),
    ]


def _zeroshot(settings: params.Params, metrics: Metrics, names: Mapping[str, str]) -> Iterator[Cell]:
    for dataset in sorted({*metrics.get("zeroshot", {}), *names}, key=_rank):
        for method in (*ZEROSHOT, RGB_VIEWS):
            rgb = method is RGB_VIEWS and dataset != methods.VALIDATION
            missing = "only the validation models have RGB views" if rgb else ""
            yield find_cell(
                metrics,
                "zeroshot",
                dataset,
                method.slug,
                table="1",
                heads=(names.get(dataset, dataset),),
                column=method.label,
                pretrained=method.pretrained,
                views=None if missing else len(view_set(method.views(settings, dataset))),
                shots=0,
                published=published.ZEROSHOT.get((dataset, method.slug)),
                missing=missing,
            )


def _fewshot(settings: params.Params, metrics: Metrics) -> Iterator[Cell]:
    columns = {"without": "w/o pre-training", "with": "w/ pre-training"}
    others = dict.fromkeys(row for row, _ in published.FEWSHOT_OTHERS)
    for row in list(others)[:2]:
        for state, column in columns.items():
            yield other_cell("2", tuple(row.split(", ")), column, published.FEWSHOT_OTHERS.get((row, state)))
    slugs = {
        ("pointclip", "without"): "pointclip",
        ("clip2point", "without"): "clip2point_without_pretraining",
        ("clip2point", "with"): "clip2point",
    }
    for label, family in (("PointCLIP", "pointclip"), ("CLIP2Point", "clip2point")):
        for state, column in columns.items():
            yield find_cell(
                metrics,
                "fewshot",
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
                yield other_cell("2", tuple(row.split(", ")), column, published.FEWSHOT_OTHERS.get((row, state)))


def _fullshot(settings: params.Params, metrics: Metrics) -> Iterator[Cell]:
    views = len(view_set(ADAPTER_VIEWS))
    data = f"{settings.sample.points:,}, {views}"
    others = list(published.FULLSHOT_OTHERS)
    pointclip_place = others.index(("MVTN", "2,048, 12")) + 1

    def ours(label: str, slug: str) -> Cell:
        return find_cell(
            metrics,
            "fullshot",
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
        number = Published(published.FULLSHOT_OTHERS[heads], published.FULLSHOT_SOURCE)
        yield other_cell("3", heads, "Accuracy", number)
    yield ours("CLIP2Point", "clip2point")


def _components(settings: params.Params, metrics: Metrics) -> Iterator[Cell]:
    for paths in ("single", "dual"):
        for adapter in ("inter", "global"):
            yield find_cell(
                metrics,
                "ablations",
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


def _rendering(settings: params.Params, metrics: Metrics) -> Iterator[Cell]:
    dilations = sorted({*published.RENDERING_DILATIONS, *settings.ablations.dilations})
    for task, label, views, shots in (
        ("zeroshot", "Zero-shot", settings.zeroshot.views, 0),
        ("fewshot", "Few-shot", ADAPTER_VIEWS, settings.fewshot.shots),
    ):
        for aggregation in AGGREGATIONS:
            for dilation in dilations:
                asked = dilation in settings.ablations.dilations
                yield find_cell(
                    metrics,
                    "ablations",
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


def _controls(settings: params.Params, metrics: Metrics, names: Mapping[str, str]) -> Iterator[Cell]:
    main, validation = settings.fewshot.dataset, methods.VALIDATION
    both = methods.find(methods.COMPONENTS, "dual_global_clip")
    searched = methods.SEARCHED_ON_TEST
    alone = "" if settings.ablations.cross_only else "ablations.cross_only leaves it out"
    unasked = "" if searched.slug in settings.controls.methods else "controls.methods leaves it out"
    for label, protocol, dataset, method, number, missing in (
        ("dual path with CLIP in both paths", "ablations", main, both, published.BOTH_PATHS_CLIP, ""),
        ("pre-trained without the intra-modality loss", "ablations", main, methods.CROSS_ONLY,
         published.CROSS_MODALITY_ONLY, alone),
        (RGB_VIEWS.label, "zeroshot", validation, RGB_VIEWS, published.ZEROSHOT[validation, "rgb_views"], ""),
        ("CLIP on depth maps", "zeroshot", validation, methods.WITHOUT,
         published.ZEROSHOT[validation, methods.WITHOUT.slug], ""),
        (searched.label, "zeroshot", main, searched, None, unasked),
    ):  # fmt: skip
        shots = settings.fewshot.shots if method.learns else 0
        yield find_cell(
            metrics,
            protocol,
            dataset,
            method.slug,
            table=CONTROLS,
            heads=(names.get(dataset, dataset), f"{shots}-shot" if shots else "Zero-shot", label),
            column="Accuracy",
            pretrained=method.pretrained,
            views=len(view_set(method.views(settings, dataset))),
            shots=shots,
            published=number,
            missing=missing,
        )


def _shots(settings: params.Params, metrics: Metrics) -> Iterator[Cell]:
    section = settings.fewshot
    found = metrics.get("fewshot", {}).get(section.dataset, {})
    numbers = sorted({section.shots, *map(int, found.get("curve", {}))})
    elsewhere = ""
    if settings.fullshot.dataset != section.dataset:
        elsewhere = f"the fully supervised set is {settings.fullshot.dataset}"
    unmeasured = {methods.WITHOUT.slug: "Table 3 has no such row"}
    for method in (*ADAPTED, *(m for m in methods.CONTROLS if m.slug in settings.controls.methods)):
        fields: dict[str, Any] = {
            "table": SHOTS,
            "heads": (method.label,),
            "pretrained": method.pretrained,
            "views": len(view_set(method.views(settings, section.dataset))),
        }
        for k in numbers:
            curve = None if k == section.shots else k
            column = f"{k} shot" if k == 1 else f"{k} shots"
            yield find_cell(
                metrics, "fewshot", section.dataset, method.slug, curve=curve, column=column, shots=k, **fields
            )
        yield find_cell(
            metrics,
            "fullshot",
            settings.fullshot.dataset,
            method.slug,
            column="all",
            shots=ALL_SHOTS,
            missing=unmeasured.get(method.slug, elsewhere),
            **fields,
        )


def shot_numbers(cells: Sequence[Cell]) -> list[int]:
    """Numbers of training objects a class for which accuracy against shots has cells."""
    return sorted({cell.shots for cell in cells if cell.table == SHOTS and isinstance(cell.shots, int)})


def _encoder(settings: params.Params) -> str:
    name = settings.teacher.model
    return "ViT-B/32" if name.startswith("ViT-B-32") else f"{name} (published: ViT-B/32)"


def _rank(dataset: str) -> tuple[int, str]:
    return (ORDER.index(dataset) if dataset in ORDER else ORDER.index("meshes"), dataset)
