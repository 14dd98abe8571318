"""Controls as jobs: a linear probe, Tip-Adapter's cache or searched view weights over features of the bank.

Legend: N object, V view, C feature width, K class.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from c2p import params
from c2p.evaluation.features import one_thread, read_features, write_array
from c2p.evaluation.linear_probe import probe_logits
from c2p.evaluation.tip_adapter import tip_adapter_logits
from c2p.evaluation.view_weights import search_view_weights, weighted_logits
from c2p.evaluation.zeroshot import cosines

CONTROL_CODE = (
    "c2p.evaluation.linear_probe",
    "c2p.evaluation.selection",
    "c2p.evaluation.tip_adapter",
    "c2p.evaluation.view_weights",
    "c2p.evaluation.zeroshot",
    __name__,
)
"""Modules whose text decides what a control answers."""


@dataclass(frozen=True)
class ControlJob:
    """One control to fit and to evaluate: plain values and paths, so that any process can do it."""

    head: Literal["linear", "cache", "views"]
    train: tuple[Path, ...]
    """Feature files (n, V, C), one after the other the encoded training objects."""
    test: tuple[Path, ...]
    """Those of the test objects."""
    rows: np.ndarray
    """(n,) int64 training objects taken, in an order drawn by the seed."""
    labels: np.ndarray
    """(n,) int64 their classes."""
    text: Path
    """File of the prompts (K, C)."""
    settings: params.Controls
    scale: float
    """CLIP's learnt factor on cosines."""
    seed: int
    out: Path
    """Where the logits go."""

    @property
    def factor(self) -> float:
        """What the logits have been multiplied with already, where cosines have been with 1."""
        return 1.0 if self.head == "views" else self.scale


def settings_key(settings: params.Controls) -> dict[str, Any]:
    """All of the parameters that decides a control's answers."""
    values = asdict(settings)
    del values["methods"]
    return values


def run_job(job: ControlJob) -> Path:
    """Fit the control, classify the test objects and write the logits (N, K) float32; an existing file stays."""
    if not job.out.exists():
        train, test = read_features(job.train)[job.rows], read_features(job.test)
        text = np.load(job.text, allow_pickle=False)
        with one_thread():
            logits = control_logits(job.head, train, job.labels, test, text, settings=job.settings, scale=job.scale)
        write_array(job.out, logits.astype(np.float32))
    return job.out


def control_logits(
    head: Literal["linear", "cache", "views"],
    train: np.ndarray,
    labels: np.ndarray,
    test: np.ndarray,
    text: np.ndarray,
    *,
    settings: params.Controls,
    scale: float,
) -> np.ndarray:
    """Logits (N, K) float64 of test objects (N, V, C), from training objects (n, V, C), their labels and the prompts.

    Raises ValueError: no training objects, or widths that differ.
    """
    share = settings.held_out
    if head == "linear":
        return probe_logits(
            train,
            labels,
            test,
            classes=len(text),
            pooling=settings.pooling,
            strength=settings.strength,
            share=share,
        )
    if head == "cache":
        fixed = {"alpha": settings.alpha, "beta": settings.beta}
        return tip_adapter_logits(train, labels, test, text, scale=scale, share=share, **fixed)
    weights = search_view_weights(cosines(train, text), labels, scale=scale)
    return weighted_logits(cosines(test, text), weights)
