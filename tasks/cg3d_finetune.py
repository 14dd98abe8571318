"""Stage cg3d_finetune: supervised fine-tuning of the 3D encoder, from CG3D's weights and from scratch."""

from pathlib import Path

from c2p.data.files import write_json
from c2p.evaluation.finetuning import run_finetune
from c2p.evaluation.predictions import PredictionTable
from c2p.models.device import compute_device
from c2p.params import Params
from tasks.layout import Layout
from tasks.shard_map import Map, serial


def run(params: Params, root: Path, map_: Map) -> None:
    """Write metrics/cg3d_finetune.json (its form: c2p.evaluation.finetuning) and the predictions behind it.

    Both empty where cg3d.run is false. Trainings run side by side on CPUs, one after another on a GPU; a killed stage
    loses those that were running.
    """
    layout, name = Layout(root), "cg3d_finetune"
    if not params.cg3d.run:
        write_json(layout.metrics(name), {})
        PredictionTable().write(layout.predictions(name))
        return
    device = compute_device()
    metrics = run_finetune(
        params,
        encoder_dir=layout.cg3d,
        benchmark=layout.benchmarks / f"{params.fullshot.dataset}.parquet",
        cache=layout.evaluation,
        predictions=layout.predictions(name),
        device=str(device),
        map_=map_ if device.type == "cpu" else serial,
    )
    write_json(layout.metrics(name), metrics)
