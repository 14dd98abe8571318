"""Stage cg3d_scenes: made scenes are cut, their segments named and searched by text, by every 3D encoder."""

import dataclasses
import logging
from functools import partial
from pathlib import Path

import numpy as np

from c2p.data.benchmarks import Benchmark, read_benchmark
from c2p.data.files import sha256, write_atomic, write_json, write_text
from c2p.evaluation.cg3d_features import Speakers, class_features, cloud_features, open_speakers, text_features
from c2p.evaluation.experiment import REVISION_DIGITS
from c2p.evaluation.features import digest_array
from c2p.evaluation.scene_names import best_cosines
from c2p.evaluation.scene_picture import scenes_sheet
from c2p.evaluation.scene_scores import DIGITS
from c2p.evaluation.scene_segments import CLUSTERING_FILE, Choice, candidates, choose_clustering
from c2p.evaluation.scene_study import CutScene, Heard, Reading, cut_scenes, hear, metrics_of
from c2p.evaluation.scene_view import ShownScene, Vocabulary, scene_page
from c2p.evaluation.scenes import make_scenes
from c2p.models.device import compute_device
from c2p.models.templates import templates_of
from c2p.params import Params
from tasks.layout import Layout
from tasks.progress import tell
from tasks.shard_map import Map

logger = logging.getLogger(__name__)
SHOWN = 4
"""Scenes of the picture and the view."""
NOTE = "Each segment's likeliest names with their probabilities. A name, or a text above, lights up what fits it best."


def run(params: Params, root: Path, map_: Map) -> None:
    """Write metrics/cg3d_scenes.json, and data/cg3d_scenes: scenes.png, scenes.html and clustering.json.

    The clustering is chosen on scenes of validation shapes by how well it cuts them; scored are scenes of test objects
    of fewshot.dataset. Empty outputs where cg3d.run is false.
    """
    layout, settings = Layout(root), params.cg3d_scenes
    layout.cg3d_scenes.mkdir(parents=True, exist_ok=True)
    if not params.cg3d.run:
        write_json(layout.metrics("cg3d_scenes"), {})
        return
    validation, scored = (
        read_benchmark(layout.benchmarks / f"{name}.parquet") for name in ("validation", params.fewshot.dataset)
    )
    choices = _choose(params, validation)
    scenes = make_scenes(scored.test, scored.classes, settings, count=settings.scenes)
    cuts = cut_scenes(scenes, choices[0].clustering, seed=settings.seed)
    speakers = open_speakers(layout.cg3d_clip, layout.cg3d, params.cg3d.seeds, device=str(compute_device()))
    text = class_features(speakers, scored.classes, templates_of(params.zeroshot))
    scale = float(speakers.clip.model.logit_scale.exp())
    reading = Reading(params.sample.points, settings.turns, text, scale)
    heard: dict[int, Heard] = {}
    for seed, model in speakers.models.items():
        heard[seed] = hear(cuts, reading, partial(cloud_features, model))
        tell("cg3d_scenes", len(heard), len(speakers.models))
    _show(params, layout, speakers, reading, cuts, heard[params.cg3d.seeds[0]])
    metrics = metrics_of(cuts, heard, choices[0], settings, params.fewshot.dataset)
    files = [sha256(layout.benchmarks / f"{name}.parquet") for name in ("validation", params.fewshot.dataset)]
    read = np.array([*files, speakers.clip_digest, *speakers.digests])
    metrics["inputs"] = digest_array(read)[:REVISION_DIGITS]
    logger.info(
        "scenes: mean IoU %.1f %%, of the true masks %.1f %%", metrics["named"]["mean"], metrics["true_masks"]["mean"]
    )
    write_json(layout.metrics("cg3d_scenes"), metrics)
    tried = [dataclasses.asdict(each.clustering) | {"covering": round(each.covering, DIGITS)} for each in choices]
    write_json(
        layout.cg3d_scenes / CLUSTERING_FILE, {"chosen": dataclasses.asdict(choices[0].clustering), "tried": tried}
    )


def _choose(params: Params, validation: Benchmark) -> list[Choice]:
    """Clusterings tried on scenes of validation shapes, the best first."""
    settings = params.cg3d_scenes
    scenes = make_scenes(validation.test, validation.classes, settings, count=settings.tuning_scenes)
    among = list(candidates(settings.methods, settings.reaches, settings.neighbours))
    return choose_clustering(scenes, among, seed=settings.seed)


def _show(
    params: Params, layout: Layout, speakers: Speakers, reading: Reading, cuts: list[CutScene], heard: Heard
) -> None:
    """Draw the first scenes as the first encoder names them."""
    queries, text = params.cg3d_scenes.queries, reading.text
    words = Vocabulary(cuts[0].scene.classes, queries, reading.scale)
    if queries:
        text = np.concatenate([text, text_features(speakers, queries)])
    shown = [
        ShownScene(f"Scene {n}", cut.scene.points, cut.numbers, best_cosines(features, text), cut.scene.labels)
        for n, (cut, features) in enumerate(zip(cuts[:SHOWN], heard.features, strict=False), 1)
    ]
    asked = [_query(cut, number) for number, cut in enumerate(cuts[:SHOWN])]
    said = f"{params.fewshot.dataset}, test objects; named by the 3D encoder of seed {params.cg3d.seeds[0]}"
    sheet = scenes_sheet(
        shown, words, asked, note=f"Made scenes: {said}. Names stand above segments; the floor is grey."
    )
    write_atomic(layout.cg3d_scenes / "scenes.png", lambda path: sheet.save(path, "PNG"))
    page = scene_page(shown, words, title="Made scenes", note=f"{said[0].upper()}{said[1:]}. {NOTE}")
    write_text(layout.cg3d_scenes / "scenes.html", page)


def _query(cut: CutScene, number: int) -> str:
    """A class to ask for: one the scene holds, whatever was made of it, in turn."""
    classes = list(
        dict.fromkeys(int(cut.scene.labels[cut.scene.instances == n + 1][0]) for n in range(len(cut.scene.keys)))
    )
    return cut.scene.classes[classes[number % len(classes)]]
