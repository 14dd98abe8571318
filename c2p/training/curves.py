"""Curves of a training as TensorBoard shows them: every value of every step, and of every checkpoint."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol


class Curves(Protocol):
    """Takes values; steps may come again after a resumption."""

    def __call__(self, step: int, values: dict[str, float], /) -> None: ...


@contextmanager
def open_curves(folder: Path | None) -> Iterator[Curves]:
    """Yield what writes TensorBoard event files into a folder; with None, what writes nothing.

    Raises ValueError: the package tensorboard is not installed.
    """
    if folder is None:
        yield lambda step, values: None
        return
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ModuleNotFoundError:
        raise ValueError(
            "C2P_TENSORBOARD: the package tensorboard is missing; install it with: pip install 'c2p[tensorboard]'"
        ) from None
    writers: list[SummaryWriter] = []

    def write(step: int, values: dict[str, float]) -> None:
        if not writers:  # steps after this one, from before a kill, are taken back
            writers.append(SummaryWriter(str(folder), purge_step=step))
        for name, value in values.items():
            writers[0].add_scalar(name, value, step)

    try:
        yield write
    finally:
        for writer in writers:
            writer.close()
