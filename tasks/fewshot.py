"""Stage fewshot: k-shot adapters on frozen features, Table 2."""

from pathlib import Path

from c2p.data.files import write_json
from c2p.evaluation.protocols import run_fewshot
from c2p.models.device import compute_device
from c2p.params import Params
from tasks.layout import Layout
from tasks.shard_map import Map


def run(params: Params, root: Path, map_: Map) -> None:
    """Write metrics/fewshot.json and data/predictions/fewshot.parquet."""
    layout = Layout(root)
    metrics = run_fewshot(
        params,
        clip_dir=layout.clip,
        encoder_dir=layout.encoder,
        benchmarks=sorted(layout.benchmarks.glob("*.parquet")),
        cache=layout.evaluation,
        predictions=layout.predictions("fewshot"),
        device=str(compute_device()),
        map_=map_,
    )
    write_json(layout.metrics("fewshot"), metrics)
