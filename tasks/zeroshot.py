"""Stage zeroshot: Table 1 on every benchmark set, and RGB views against depth maps on the validation split."""

from pathlib import Path

from c2p.data.features import read_features
from c2p.data.files import write_json
from c2p.data.manifest import read_manifest
from c2p.evaluation.protocols import ImageFeatures, run_zeroshot
from c2p.models.device import compute_device
from c2p.params import Params
from tasks.layout import Layout
from tasks.shard_map import Map


def run(params: Params, root: Path, map_: Map) -> None:
    """Write metrics/zeroshot.json and data/predictions/zeroshot.parquet."""
    layout = Layout(root)
    rgb = read_features(layout.features, read_manifest(layout.shards), "val")
    metrics = run_zeroshot(
        params,
        clip_dir=layout.clip,
        encoder_dir=layout.encoder,
        benchmarks=sorted(layout.benchmarks.glob("*.parquet")),
        cache=layout.evaluation,
        image_features=ImageFeatures(rgb.keys, rgb.values),
        predictions=layout.predictions("zeroshot"),
        device=str(compute_device()),
        map_=map_,
    )
    write_json(layout.metrics("zeroshot"), metrics)
