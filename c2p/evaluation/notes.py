"""What stands below a table: how ours were measured, what the published numbers are worth, claims, gaps."""

from collections.abc import Iterator, Sequence

from c2p import params
from c2p.evaluation import published
from c2p.evaluation.cells import OTHER_NETWORK, Cell
from c2p.evaluation.cg3d_contents import RETRIEVAL, SCENES, TABLES
from c2p.evaluation.cg3d_notes import cg3d_notes, published_sources
from c2p.evaluation.claims import check_claims
from c2p.evaluation.contents import SHOTS

FEW = 3
"""Cells without a number that are named one by one."""


def table_notes(settings: params.Params, table: str, all_cells: Sequence[Cell], *, data: str) -> list[str]:
    """The notes of one table.

    data: what its published numbers were measured on; empty: it has none.
    """
    cells = [cell for cell in all_cells if cell.table == table]
    claims = [str(claim) for claim in check_claims(table, all_cells)]
    told = cg3d_notes(settings, table, cells) if table in TABLES else _caveats(settings, table, cells, data)
    return [*_measurement(table, cells), *told, *claims, *_gaps(cells)]


def as_published(settings: params.Params) -> bool:
    """Whether ours are measured as the published numbers were: on the real sets, with the paper's encoder and shots."""
    real = (
        settings.download.source == "shapenet" and settings.fewshot.dataset == settings.fullshot.dataset == "modelnet40"
    )
    encoder = settings.teacher.model.startswith("ViT-B-32") and settings.teacher.pretrained == "openai"
    return real and encoder and settings.fewshot.shots == 16 and settings.pretrain.intra


def _measurement(table: str, cells: Sequence[Cell]) -> Iterator[str]:
    counts = sorted({cell.n_seeds for cell in cells if cell.std is not None and cell.n_seeds})
    if counts:
        many = len(counts) > 1
        yield (
            f"Mean ± sample standard deviation over {' or '.join(map(str, counts))} seeds"
            f"{' (in brackets)' if many else ''}; a number without ± is a single one: no seed of ours changes it."
        )
    if any(cell.interval for cell in cells):
        yield "[low, high]: 95 % bootstrap interval over the test objects and, where there are seeds, the seeds."
    if table not in (RETRIEVAL, SCENES):
        yield "Chance is 100 divided by the number of classes."


def _caveats(settings: params.Params, table: str, cells: Sequence[Cell], data: str) -> Iterator[str]:
    measured = [cell for cell in cells if cell.mean is not None]
    if data and not as_published(settings):
        shapes = "shapes this project makes" if settings.download.source == "toy" else "other shapes"
        yield (
            f"Ours: profile {settings.profile}, {shapes}, encoder {settings.teacher.model}. Published: {data}, "
            "ViT-B/32 with OpenAI's weights. The two don't measure the same thing."
        )
    if any(cell.dataset == "validation" for cell in measured):
        yield "Validation split: of the pre-training collection, all rendered views; the checkpoint was chosen on it."
    if any(cell.method == "pointclip" for cell in measured) and table in "123":
        yield "PointCLIP: ours takes equal view weights and the last epoch; the published searched on the test set."
        if not settings.teacher.pretrained:
            yield (
                "PointCLIP's pictures go to CLIP as published, not standardised: OpenAI's CLIP bears that, a small one "
                "trained in the run may not and then stays at chance."
            )
    if table == "1":
        yield from _published_zero_shot()
    if table == "2":
        yield (
            f"Published, PointCLIP with ResNet101: its released checkpoint gives "
            f"{published.POINTCLIP_RELEASED.value:.2f} ({published.POINTCLIP_RELEASED.source})."
        )
    if table == SHOTS and measured:
        yield (
            "Every method sees the same training objects under the same seed; those of fewer shots are among those of "
            "more."
        )
    yield from published_sources(cells)


def _published_zero_shot() -> Iterator[str]:
    """What else is known of the published numbers of Table 1."""
    larger, again = published.V2_LARGER, published.REEVALUATED
    low, lower, mended = (number.value for number in published.REPORTED)
    yield (
        f"Published, PointCLIP V2: prompts of a language model for every class, view weights tuned on the test set; "
        f"{larger.value:.2f} with ViT-B/16."
    )
    yield (
        f"Published, CLIP2Point: others evaluated its released checkpoint at {again['modelnet40'].value:.1f} on "
        f"ModelNet40 and {again['scanobjectnn_obj_only'].value:.1f} on ScanObjectNN OBJ_ONLY "
        f"({published.OPENSHAPE}). Nobody has publicly reproduced its training: {low:.2f} and {lower:.2f} on "
        f"ModelNet40 were reported, {mended:.2f} after a rotation was mended ({published.ISSUE})."
    )


def _gaps(cells: Sequence[Cell]) -> Iterator[str]:
    """Why cells have no number of ours."""
    reasons: dict[str, list[str]] = {}
    for cell in cells:
        if cell.why and cell.why != OTHER_NETWORK:
            reasons.setdefault(cell.why, []).append(", ".join([*cell.heads, cell.column]))
    if any(cell.why == OTHER_NETWORK for cell in cells):
        yield "Rows of other networks have published numbers only."
    for why, places in reasons.items():
        where = "; ".join(places) if len(places) <= FEW else f"{len(places)} cells"
        yield f"– {where}: {why}."
