"""Stage ablations: adapters and paths, depth renderings, Tables 4 and 5, and the text's controls."""

from pathlib import Path

from c2p.data.files import write_json
from c2p.evaluation.protocols import run_ablations
from c2p.models.device import compute_device
from c2p.params import Params
from tasks.layout import Layout
from tasks.shard_map import Map


def run(params: Params, root: Path, map_: Map) -> None:
    """Write metrics/ablations.json and data/predictions/ablations.parquet."""
    layout = Layout(root)
    metrics = run_ablations(
        params,
        clip_dir=layout.clip,
        encoder_dir=layout.encoder,
        benchmarks=sorted(layout.benchmarks.glob("*.parquet")),
        cache=layout.evaluation,
        cross_only=layout.cross_only if params.ablations.cross_only else None,
        predictions=layout.predictions("ablations"),
        device=str(compute_device()),
        map_=map_,
    )
    write_json(layout.metrics("ablations"), metrics)
