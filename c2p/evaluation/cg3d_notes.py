"""What stands below CG3D's tables: how ours were measured, what the published numbers are worth, what reaches what."""

from collections.abc import Iterator, Sequence

from c2p import params
from c2p.evaluation.cells import Cell
from c2p.evaluation.cg3d_contents import ABLATIONS, FINETUNE, HEADLINE, QUERIES, RETRIEVAL, SCENES, ZEROSHOT

_CLIPS = {"teacher": "pipeline's teacher", "student": "small student of the pipeline's teacher"}
TIMES = 5
"""Times chance that a number is asked to reach."""


def cg3d_notes(settings: params.Params, table: str, cells: Sequence[Cell]) -> Iterator[str]:
    """The notes of one table of CG3D that are no claims; cells are its own."""
    if not any(cell.mean is not None for cell in cells):
        return
    yield from {
        ZEROSHOT: _zeroshot,
        RETRIEVAL: _retrieval,
        ABLATIONS: _ablations,
        FINETUNE: _finetune,
        SCENES: _scenes,
    }[table](settings, cells)


def _zeroshot(settings: params.Params, cells: Sequence[Cell]) -> Iterator[str]:
    encoder, clip = settings.point_encoder, settings.cg3d.clip
    shapes = "shapes this project makes" if settings.download.source == "toy" else "other shapes or encoders"
    yield (
        f"Ours: profile {settings.profile}, {shapes}, a {encoder.kind} of width {encoder.width}, which speaks the "
        f"language of the {_CLIPS[clip]}. Published: the real sets, checkpoints that others evaluated, CG3D's beside "
        "SLIP's ViT-B/16. The two don't measure the same thing."
    )
    yield (
        "The captions that the 3D encoder learns from name the classes of the training shapes; classes of a set that "
        "have the same names are new shapes to it, not new classes."
    )
    yield from _five_times([cell for cell in cells if cell.method == "cg3d"])
    yield from published_sources(cells)


def _retrieval(settings: params.Params, cells: Sequence[Cell]) -> Iterator[str]:
    query, relevant = QUERIES[HEADLINE]
    yield (
        f"Text to shape is judged by the row “{query}”, {relevant}; a caption that several shapes share is one query. "
        "Chosen before there were numbers: with few queries a class, five times the chance of a class's prompt is "
        "out of reach."
    )
    yield (
        "Only the validation split has captions and RGB views. Cosines that agree in nine decimals are equal; of "
        "equals, the first by name."
    )
    yield "Chance is exact: the expectation over all orders of the shapes."
    yield "The interval draws shapes with all their queries: the views of one are no independent questions."
    yield from _five_times([cell for cell in cells if cell.metric == "r5"])


def _ablations(settings: params.Params, cells: Sequence[Cell]) -> Iterator[str]:
    yield (
        "One part of the recipe is changed at a time, and every variant is trained anew without some classes, for "
        "fewer epochs: these numbers compare with one another, not with those of the other tables."
    )
    yield (
        "Points forgotten are of the same RGB views before and after, so their interval is narrower than those of the "
        "two numbers by which the claims are judged."
    )


def _finetune(settings: params.Params, cells: Sequence[Cell]) -> Iterator[str]:
    shares = ", ".join(f"{100 * share:g}" for share in settings.cg3d_finetune.shares)
    yield (
        f"{shares} % of each class's training objects, one at least; both starts see the same objects in the same "
        "order."
    )


def _scenes(settings: params.Params, cells: Sequence[Cell]) -> Iterator[str]:
    yield "Scenes of test objects on a floor; the clustering was chosen on other scenes, of validation shapes."
    yield "The mean IoU is over the objects' classes, those named wrongly among them; the floor doesn't count."


def _five_times(cells: Sequence[Cell]) -> Iterator[str]:
    """Which numbers reach five times chance, which don't, and where nothing could."""
    groups: dict[str, list[str]] = {}
    for cell in cells:
        if cell.mean is not None and cell.chance is not None:
            bar = TIMES * cell.chance
            told = "out of reach (above 100 %)" if bar > 100 else "reached" if cell.mean >= bar else "not reached"
            groups.setdefault(told, []).append(", ".join(cell.heads))
    if groups:
        parts = [f"{told} in {len(places)} ({'; '.join(places)})" for told, places in groups.items()]
        what = "R@5 at five times chance" if cells[0].metric == "r5" else "Five times chance"
        yield f"{what}: {', '.join(parts)}."


def published_sources(cells: Sequence[Cell]) -> Iterator[str]:
    """Where the published numbers of some cells stand."""
    sources = dict.fromkeys(cell.published.source for cell in cells if cell.published)
    if sources:
        yield f"Published: {'; '.join(sources)}."
