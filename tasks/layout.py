"""Where the stages' files lie below the project's root; dvc.yaml names the same paths."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Layout:
    """Folders and files of a project."""

    root: Path

    @property
    def raw(self) -> Path:
        """Archives as delivered, and sources.json."""
        return self.root / "data/raw"

    @property
    def rgb(self) -> Path:
        """Part tars of RGB views."""
        return self.root / "data/rgb"

    @property
    def clouds(self) -> Path:
        """Part tables of surface clouds."""
        return self.root / "data/clouds"

    @property
    def points(self) -> Path:
        """Part tables of farthest points."""
        return self.root / "data/points"

    @property
    def shards(self) -> Path:
        """WebDataset shards and their manifest."""
        return self.root / "data/shards"

    @property
    def benchmarks(self) -> Path:
        """Benchmark sets, one Parquet file each."""
        return self.root / "data/benchmarks"

    @property
    def features(self) -> Path:
        """Image features of the training and validation views."""
        return self.root / "data/features"

    @property
    def clip(self) -> Path:
        """The teacher, open_clip `local-dir` layout."""
        return self.root / "models/clip"

    @property
    def pretrain(self) -> Path:
        """Checkpoints and history, one folder a seed."""
        return self.root / "models/pretrain"

    @property
    def encoder(self) -> Path:
        """The selected depth encoder, open_clip `local-dir` layout, and every seed's below it."""
        return self.root / "models/depth_encoder"

    @property
    def cross_only(self) -> Path:
        """The depth encoder of the control without the intra-modality loss, and its checkpoints."""
        return self.root / "models/cross_only"

    @property
    def cg3d_clip(self) -> Path:
        """The CLIP whose language the 3D encoders learn, open_clip `local-dir` layout."""
        return self.root / "models/cg3d_clip"

    @property
    def cg3d(self) -> Path:
        """The chosen 3D encoders, one folder a seed, each with its checkpoints and history below `checkpoints`."""
        return self.root / "models/cg3d"

    @property
    def cg3d_scenes(self) -> Path:
        """Made scenes: a picture, a page to turn and search them, and the clustering that cut them."""
        return self.root / "data/cg3d_scenes"

    @property
    def store(self) -> Path:
        """Content-keyed store of finished pieces."""
        return self.root / ".c2p"

    @property
    def evaluation(self) -> Path:
        """Features of benchmark objects, kept by content: stages share them."""
        return self.store / "evaluation"

    @property
    def results(self) -> Path:
        """Tables and report."""
        return self.root / "results"

    def predictions(self, stage: str) -> Path:
        """What every classifier of a stage said of every test object."""
        return self.root / "data/predictions" / f"{stage}.parquet"

    def metrics(self, stage: str) -> Path:
        """Metrics of a stage."""
        return self.root / "metrics" / f"{stage}.json"

    def plots(self, name: str) -> Path:
        """A table that `dvc plots` draws."""
        return self.root / "plots" / f"{name}.csv"
