"""Stage fullshot: adapters on all training objects, Table 3."""

from pathlib import Path

from c2p.data.files import write_json
from c2p.evaluation.protocols import run_fullshot
from c2p.models.device import compute_device
from c2p.params import Params
from tasks.layout import Layout
from tasks.shard_map import Map


def run(params: Params, root: Path, map_: Map) -> None:
    """Write metrics/fullshot.json and data/predictions/fullshot.parquet."""
    layout = Layout(root)
    metrics = run_fullshot(
        params,
        clip_dir=layout.clip,
        encoder_dir=layout.encoder,
        benchmarks=sorted(layout.benchmarks.glob("*.parquet")),
        cache=layout.evaluation,
        predictions=layout.predictions("fullshot"),
        device=str(compute_device()),
        map_=map_,
    )
    write_json(layout.metrics("fullshot"), metrics)
