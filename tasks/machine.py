"""Facts of this machine for a training, from the environment: none of them changes a result but for rounding."""

import os
from pathlib import Path

from c2p.training.machine import Machine


def training_machine() -> Machine:
    """C2P_MICRO_BATCH (samples, 0: whole batches), C2P_COMPILE (0 or 1), C2P_SAVE_MINUTES (5).

    Raises ValueError: a value that is none.
    """
    return Machine(
        micro_batch=int(_number("C2P_MICRO_BATCH", "0", "a whole number, 0 for whole batches", whole=True)),
        compiled=_switch("C2P_COMPILE"),
        save_seconds=60 * _number("C2P_SAVE_MINUTES", "5", "minutes, 0 or more", whole=False),
    )


def process_count() -> int:
    """C2P_PROCESSES: processes of a training on this machine, one a GPU where there are GPUs; 1 unless set.

    Raises ValueError: not a whole number of at least 1, or more than there are GPUs.
    """
    import torch  # takes seconds; the other variables don't need it

    count = int(_number("C2P_PROCESSES", "1", "a whole number of at least 1", whole=True))
    gpus = torch.cuda.device_count() if os.environ.get("C2P_DEVICE", "") != "cpu" else 0
    if count < 1 or 0 < gpus < count:
        allowed = f"1 to {gpus}, the number of GPUs here" if gpus else "a whole number of at least 1"
        raise ValueError(f"C2P_PROCESSES: got {count}; allowed: {allowed}")
    return count


def curves_folder(root: Path, run: str) -> Path | None:
    """Where TensorBoard's event files of a run go, below .c2p/tensorboard; None unless C2P_TENSORBOARD is 1."""
    return root / ".c2p" / "tensorboard" / run if _switch("C2P_TENSORBOARD") else None


def _switch(name: str) -> bool:
    text = os.environ.get(name, "") or "0"
    if text not in ("0", "1"):
        raise ValueError(f"{name}: got {text!r}; allowed: 0, 1")
    return text == "1"


def _number(name: str, default: str, allowed: str, *, whole: bool) -> float:
    text = os.environ.get(name, "") or default
    digits = text if whole else text.replace(".", "", 1)
    if not digits.isdecimal():
        raise ValueError(f"{name}: got {text!r}; allowed: {allowed}")
    return float(text)
