"""Stage cg3d_evaluate: the 3D encoders' zero-shot classification of every benchmark set, and retrieval."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from c2p.data.files import write_json
from c2p.data.manifest import Manifest, read_manifest, read_rgb
from c2p.evaluation.bank import open_source
from c2p.evaluation.cg3d_features import Speakers, open_speakers, view_features
from c2p.evaluation.cg3d_retrieval import run_retrieval, sorted_shapes, write_rankings
from c2p.evaluation.cg3d_zeroshot import run_cg3d_zeroshot
from c2p.evaluation.experiment import Experiment
from c2p.evaluation.features import one_thread
from c2p.evaluation.methods import VALIDATION
from c2p.evaluation.predictions import PredictionTable
from c2p.models.device import compute_device
from c2p.params import Params
from tasks.layout import Layout
from tasks.shard_map import Map


def run(params: Params, root: Path, map_: Map) -> None:
    """Write metrics/cg3d_zeroshot.json, metrics/cg3d_retrieval.json and their predictions; empty without cg3d.run.

    Shapes of the validation split and of fewshot.dataset are searched; by captions and images only the former, since no
    others have any.
    """
    layout = Layout(root)
    if not params.cg3d.run:
        PredictionTable().write(layout.predictions("cg3d"))
        write_rankings(layout.predictions("cg3d_retrieval"), [])
        for name in ("cg3d_zeroshot", "cg3d_retrieval"):
            write_json(layout.metrics(name), {})
        return
    device = str(compute_device())
    manifest = read_manifest(layout.shards)
    lab = Experiment(
        params, clip_dir=layout.cg3d_clip, depth_encoders=(), cache=layout.evaluation, device=device, map_=map_
    )
    with one_thread():  # features must not depend on the machine's cores
        speakers = open_speakers(layout.cg3d_clip, layout.cg3d, params.cg3d.seeds, device=device)
        paths = sorted(layout.benchmarks.glob("*.parquet"))
        zeroshot, features = run_cg3d_zeroshot(params, lab, speakers, paths)
        searched = [path for path in paths if path.stem in (VALIDATION, params.fewshot.dataset)]
        retrieval, rows = run_retrieval(
            params,
            speakers,
            [sorted_shapes(path.stem, open_source(path), features[path.stem]) for path in searched],
            captions={row["key"]: row["captions"] or [] for row in manifest.split("val")},
            views=lambda keys: _views(speakers, manifest, keys),
            pictured=VALIDATION,
        )
    lab.finish(layout.predictions("cg3d"))
    write_rankings(layout.predictions("cg3d_retrieval"), rows)
    write_json(layout.metrics("cg3d_zeroshot"), zeroshot)
    write_json(layout.metrics("cg3d_retrieval"), retrieval)


def _views(speakers: Speakers, manifest: Manifest, keys: Sequence[str]) -> Mapping[int, np.ndarray]:
    by_key = {row["key"]: row for row in manifest.split("val")}
    return view_features(speakers, read_rgb(manifest, [by_key[key] for key in keys]))
