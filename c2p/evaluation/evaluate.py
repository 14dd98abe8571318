"""Any method on any benchmark file, with any encoder: what `c2p evaluate` computes."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from c2p import params
from c2p.evaluation import methods
from c2p.evaluation.bank import Map, open_source, serial
from c2p.evaluation.experiment import Experiment, describe
from c2p.evaluation.trained import AdaptedCell, adapt
from c2p.evaluation.untrained import plan_trial, score_trial

ALL = "all"
"""Every training object, in place of a number of shots."""

Shots = int | None
"""Training objects a class; 0: zero-shot, None: all."""


def evaluate(
    settings: params.Params,
    path: Path,
    *,
    encoder: Path,
    clip_dir: Path,
    slugs: Sequence[str],
    shots: Sequence[Shots],
    seeds: Sequence[int],
    cache: Path,
    device: str = "cpu",
    map_: Map = serial,
) -> dict[str, Any]:
    """Evaluate methods on a benchmark file.

    Args:
        settings: depth maps, views, prompts and recipes.
        path: the benchmark file.
        encoder: folder of the depth encoder, in open_clip's local-dir layout.
        clip_dir: folder of the CLIP whose prompts and whose image tower are used.
        slugs: methods of c2p.evaluation.methods.
        shots: each gives a row a method, where the method is defined so.
        seeds: of k-shot subsets and of trained heads.
        cache: folder of features.
    Returns:
        {"set": sizes, "shots": {"0": {slug: metrics}, "16": ..., "all": ...}}, metrics as in the protocols.
    Raises ValueError: an unknown method, or one that no number of shots asked for is defined for; files and folders
        that are missing or do not fit.
    """
    for slug in slugs:
        _check_defined(slug, shots)
    lab = Experiment(settings, clip_dir=clip_dir, depth_encoders=[encoder], cache=cache, device=device, map_=map_)
    source, dataset = open_source(path), path.stem
    found: dict[Shots, Mapping[str, Any]] = {}
    if untrained := list(_defined(slugs, learns=False)) if 0 in shots else []:
        trials = [plan_trial(lab, source, dataset, method) for method in untrained]
        lab.bank.make(map_)
        found[0] = {trial.method.slug: score_trial(lab, trial) for trial in trials}
    cells = [AdaptedCell(method.slug, method, lab.drawing(method)) for method in _defined(slugs, learns=True)]
    if some := sorted({k for k in shots if k}) if cells else []:
        few = adapt(lab, source, dataset, cells, seeds=seeds, shots=some[-1], curve=some)
        found |= {k: few["curve"][str(k)] for k in some}
    if None in shots and cells:
        found[None] = adapt(lab, source, dataset, cells, seeds=seeds, epochs=settings.fullshot.epochs)
    by_shots = {
        _name(k): {slug: found[k][slug] for slug in slugs if slug in found[k]}
        for k in dict.fromkeys(shots)
        if k in found
    }
    return {"set": describe(source.read()), "shots": by_shots}


def undefined(slugs: Sequence[str], shots: Sequence[Shots]) -> list[str]:
    """What was asked for and is not defined, e.g. `with training objects: pointclip_searched_on_test`."""
    lines = []
    for learns, words in ((False, "without"), (True, "with")):
        asked = slugs if any((k != 0) == learns for k in shots) else ()
        if absent := [slug for slug in asked if methods.pick(slug, learns=learns) is None]:
            lines.append(f"{words} training objects: {', '.join(absent)}")
    return lines


def label(slug: str, shots: str) -> str:
    """What people call a method, at a number of shots as the results name it."""
    method = methods.pick(slug, learns=shots != "0")
    assert method is not None
    return method.label


def _check_defined(slug: str, shots: Sequence[Shots]) -> None:
    if all(methods.pick(slug, learns=k != 0) is None for k in shots):
        learns = methods.pick(slug, learns=True) is not None
        raise ValueError(
            f"{slug}: not defined for shots {', '.join(map(_name, shots))}; allowed: "
            + ("1, 2, ... or all: it learns from training objects" if learns else "0: it takes no training objects")
        )


def _defined(slugs: Sequence[str], *, learns: bool) -> Iterator[methods.Method]:
    picked = (methods.pick(slug, learns=learns) for slug in slugs)
    return (method for method in picked if method is not None)


def _name(shots: Shots) -> str:
    return ALL if shots is None else str(shots)
