"""Settings of small scenes without noise."""

from c2p.cg3d_params import Cg3dScenes

SETTINGS = Cg3dScenes(
    scenes=3,
    tuning_scenes=2,
    objects=4,
    floor_points=300,
    gap=0.2,
    scale=1.5,
    noise=0.0,
    turns=4,
    methods=("dbscan", "hdbscan"),
    reaches=(1.5, 2.5),
    neighbours=(4,),
    queries=(),
    seed=3,
)
