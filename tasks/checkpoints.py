"""Checkpoints to evaluate: which there are, what decides their accuracy, and a row of the history for each.

Works on hard links of weights and benchmark sets: a stage that makes them anew meanwhile puts other files in their
places, and what is being evaluated stays as it was.
"""

import json
import logging
import shutil
import subprocess
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from c2p.data.files import sha256
from c2p.evaluation.history import Row
from c2p.params import Params
from tasks.closure import code_digest
from tasks.layout import Layout
from tasks.shard_map import Map
from tasks.store import Store, key, link_into

logger = logging.getLogger(__name__)

WEIGHTS = "open_clip_model.safetensors"
METHOD = "clip2point"
"""Zero-shot, with the pre-trained encoder: Table 1's own row."""
_CODE = ("c2p", "tasks", "flows", "params.yaml", "dvc.yaml")


@dataclass(frozen=True)
class Checkpoint:
    """An encoder's folder in the project; its seed and epoch where they are known."""

    folder: str
    """Relative to the project's root, or absolute."""
    seed: int | None = None
    epoch: int | None = None


@dataclass(frozen=True)
class Trial:
    """A checkpoint on a benchmark set, before it is evaluated."""

    checkpoint: Checkpoint
    encoder: Path
    clip: Path
    benchmark: Path
    sha256: str
    """Of the weights."""
    data_rev: str
    """SHA-256 of the benchmark's file."""
    key: str
    """Of all that decides the number."""

    @property
    def name(self) -> str:
        """What people read: seed (or folder) and set."""
        return f"{Path(self.checkpoint.folder).name} {self.benchmark.stem}"


def selected_checkpoints(root: Path) -> list[Checkpoint]:
    """What the stage select has left: the chosen checkpoint of every seed, in the order of seeds."""
    folders = [path.parent for path in Layout(root).encoder.glob(f"seed-*/{WEIGHTS}")]
    seeds = sorted(int(folder.name.removeprefix("seed-")) for folder in folders)
    encoder = Layout(root).encoder.relative_to(root)
    return [Checkpoint((encoder / f"seed-{seed}").as_posix(), seed, chosen_epoch(root, seed)) for seed in seeds]


def checkpoint_at(root: Path, path: str, *, seed: int | None = None, epoch: int | None = None) -> Checkpoint:
    """The checkpoint of a folder, or of a file of weights in it; seed and epoch, if not given, as select tells them.

    Raises ValueError: no such folder, or one without weights.
    """
    folder = Path(path).parent if path.endswith(".safetensors") else Path(path)
    if not (root / folder / WEIGHTS).is_file():
        raise ValueError(f"{folder}: no {WEIGHTS}; allowed: an encoder's folder, e.g. models/depth_encoder/seed-0")
    known = next((one for one in selected_checkpoints(root) if root / one.folder == root / folder), Checkpoint(""))
    return Checkpoint(folder.as_posix(), known.seed if seed is None else seed, known.epoch if epoch is None else epoch)


def chosen_epoch(root: Path, seed: int) -> int | None:
    """The epoch that select chose for a seed; None: its metrics don't say."""
    try:
        chosen = json.loads(Layout(root).metrics("select").read_text(encoding="utf-8"))
        return int(chosen[f"seed_{seed}"]["epoch"])
    except (FileNotFoundError, KeyError):
        return None


@contextmanager
def frozen_trials(root: Path, params: Params, checkpoints: Sequence[Checkpoint]) -> Iterator[list[Trial]]:
    """Yield every checkpoint on every benchmark set there is, as they are now, whatever happens to the files.

    Raises ValueError: no teacher. FileNotFoundError: a file vanished at this moment, for another run is making it.
    """
    layout = Layout(root)
    if not checkpoints:
        yield []
        return
    if not (layout.clip / WEIGHTS).is_file():
        raise ValueError(f"{layout.clip}: no {WEIGHTS}; make it with `dvc repro teacher`")
    folder = Store(root).folder(key("snapshot", uuid.uuid4().hex))  # after a kill, `c2p store prune` takes it
    try:
        clip = _link_folder(layout.clip, folder / "clip")
        sets = [link_into(path, folder / path.name) for path in sorted(layout.benchmarks.glob("*.parquet"))]
        encoders = [_link_folder(root / one.folder, folder / f"seed-{n}") for n, one in enumerate(checkpoints)]
        revisions = {path: sha256(path) for path in sets}
        of_clip = _digests(clip)
        trials = []
        for checkpoint, encoder in zip(checkpoints, encoders, strict=True):
            weights = _digests(encoder)
            for path, revision in revisions.items():
                piece = evaluation_key(params, [*weights, *of_clip], path.stem, revision)
                trials.append(Trial(checkpoint, encoder, clip, path, weights[0], revision, piece))
        yield trials
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def evaluation_key(params: Params, weights: Sequence[str], dataset: str, data_rev: str) -> str:
    """Hash of what decides an encoder's accuracy on a set: digests of weights and data, parameters, code."""
    settings = [params.depth, params.zeroshot, params.render.views]
    code = code_digest("c2p.evaluation.untrained")
    return key("history", METHOD, list(weights), [dataset, data_rev], settings, code)


def evaluate_trial(
    trial: Trial, *, root: Path, params: Params, when: datetime, git_rev: str, device: str, map_: Map
) -> Row:
    """Evaluate zero-shot, as the stage zeroshot does (there, from the same features); a row of the history."""
    from c2p.evaluation.evaluate import evaluate  # brings torch, which looking for what is new does without

    metrics = evaluate(
        params,
        trial.benchmark,
        encoder=trial.encoder,
        clip_dir=trial.clip,
        slugs=[METHOD],
        shots=[0],
        seeds=[0],
        cache=Layout(root).evaluation,
        device=device,
        map_=map_,
    )
    found = metrics["shots"]["0"][METHOD]
    return {
        "when": when,
        "dataset": trial.benchmark.stem,
        "accuracy": found["mean"],
        "low": found["interval"][0],
        "high": found["interval"][1],
        "class_mean": found["class_mean"],
        "objects": metrics["set"]["test"],
        "chance": metrics["set"]["chance"],
        "seed": trial.checkpoint.seed,
        "epoch": trial.checkpoint.epoch,
        "checkpoint": trial.checkpoint.folder,
        "sha256": trial.sha256,
        "data_rev": trial.data_rev,
        "git_rev": git_rev,
        "key": trial.key,
    }


def git_revision(root: Path) -> str:
    """The commit, with `-dirty` where code or parameters differ from it; empty: no git, or no commit yet."""
    revision = _git(root, "rev-parse", "--short=12", "HEAD")
    if revision is None:
        return ""
    return revision if _git(root, "diff", "--quiet", "HEAD", "--", *_CODE) is not None else f"{revision}-dirty"


def _git(root: Path, *arguments: str) -> str | None:
    """What git says; None: it failed."""
    try:
        done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True)
    except FileNotFoundError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _digests(folder: Path) -> list[str]:
    """Digests of an encoder's weights and its configuration."""
    return [sha256(folder / name) for name in (WEIGHTS, "open_clip_config.json")]


def _link_folder(folder: Path, out: Path) -> Path:
    """Link an encoder's files."""
    for path in sorted(path for path in folder.iterdir() if path.is_file()):
        link_into(path, out / path.name)
    return out
