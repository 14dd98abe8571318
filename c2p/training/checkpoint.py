"""Checkpoints of a run: weights to evaluate, and the state that resumes training bit for bit.

A run's folder holds `epoch-NNNN.safetensors` (visual tower after N finished epochs) for the epochs that are kept, one
`state.pt` (everything needed to go on from some step) and, at the end, `history.json`. Every file is written
atomically, weights before the state that tells of them, and old weights go after it; so a kill at any moment, or a full
disk, leaves a folder that resumes.
"""

import json
import pickle
import struct
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self

import torch
from torch import Tensor

from c2p.data.files import sweep, write_atomic, write_bytes
from c2p.training.history import ACCURACY, History

STATE_FILE = "state.pt"
HISTORY_FILE = "history.json"
PATTERN = "epoch-*.safetensors"
_TORN = (AttributeError, pickle.UnpicklingError, struct.error)
"""What else reading a damaged state raises."""


class CheckpointError(ValueError):
    """A checkpoint that can't be read or belongs to another run; the message is one line."""


@dataclass(frozen=True)
class Checkpoint:
    """Weights after some epochs."""

    epoch: int
    """Finished epochs: 1 is after the first."""
    path: Path


def list_checkpoints(folder: Path) -> list[Checkpoint]:
    """Checkpoints of a run, oldest first; none for a folder that does not exist."""
    found = [Checkpoint(int(path.stem.removeprefix("epoch-")), path) for path in folder.glob(PATTERN)]
    return sorted(found, key=lambda checkpoint: checkpoint.epoch)


def save_weights(folder: Path, epoch: int, weights: dict[str, Tensor]) -> Path:
    """Write the weights after `epoch` finished epochs; the same weights give the same bytes."""
    from safetensors.torch import save  # training itself takes torch and numpy alone

    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    return write_bytes(folder / f"epoch-{epoch:04d}.safetensors", save(tensors))


def load_weights(path: Path) -> dict[str, Tensor]:
    """Weights of one checkpoint.

    Raises CheckpointError: the file is missing or broken.
    """
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except Exception as error:  # safetensors has its own kinds of error
        raise CheckpointError(f"{path}: not a readable checkpoint ({error}); delete it and train again") from None


def save_state(folder: Path, state: dict[str, Any], *, run: dict[str, Any]) -> None:
    """Replace the training state; `run` describes what it belongs to in plain data."""
    whole = {"run": json.dumps(run, sort_keys=True), "state": state}

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:  # given a path, torch.save writes its name into the bytes
            torch.save(whole, file)

    write_atomic(folder / STATE_FILE, write)


def load_state(folder: Path, *, run: dict[str, Any], device: torch.device) -> dict[str, Any] | None:
    """The state to resume from, or None where the folder holds none.

    Raises CheckpointError: the state is broken, or was saved with another `run`.
    """
    path = folder / STATE_FILE
    if not path.is_file():
        return None
    try:
        saved = torch.load(path, map_location=device, weights_only=True)
        known, state = json.loads(saved["run"]), saved["state"]
    except (OSError, RuntimeError, EOFError, LookupError, ValueError, TypeError, *_TORN) as error:
        line = " ".join(str(error).split())[:120]
        raise CheckpointError(f"{path}: not a readable training state ({line}); delete the folder") from None
    wanted = json.loads(json.dumps(run))
    if known != wanted:
        differing = sorted(key for key in known.keys() | wanted.keys() if known.get(key) != wanted.get(key))
        raise CheckpointError(f"{path}: belongs to another run ({', '.join(differing)} differ); use an empty folder")
    return state


class Keeping(Protocol):
    """Which checkpoints a run keeps: what the parameters of every training say."""

    @property
    def checkpoint_every(self) -> int:
        """Epochs between validated checkpoints."""

    @property
    def keep_last(self) -> int:
        """Newest checkpoints that are kept."""

    @property
    def keep_best(self) -> int:
        """Checkpoints kept for their validation accuracy."""


def kept_epochs(history: History, settings: Keeping) -> set[int]:
    """Epochs (finished) whose weights are kept at a checkpoint: the newest and the most accurate checkpoints.

    Of equal accuracies, the one trained longest.
    """
    newest = int(history[-1]["epoch"])
    epochs = [epoch for epoch in range(1, newest) if epoch % settings.checkpoint_every == 0] + [newest]
    validated = sorted((row[ACCURACY], int(row["epoch"])) for row in history if ACCURACY in row)
    return {*epochs[-settings.keep_last :], *(epoch for _, epoch in validated[-settings.keep_best :])}


class Keeper:
    """Writes the checkpoints of a run behind the training's back, one file after the other, in the order given.

    What a killed run left half written goes first. Tensors are copied at once where they are, so training may go on; a
    GPU's are fetched by the thread that writes, on a stream of its own. What a write raises comes with the next call,
    or with the end of the `with` block: OSError, in one line, where the file system refuses.
    """

    def __init__(self, folder: Path, run: dict[str, Any]) -> None:
        sweep(folder)
        self._folder = folder
        self._run = run
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="checkpoints")
        self._writing: Future[object] | None = None
        self._saved = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._pool.shutdown()
        if kind is None:
            self._finish()

    @property
    def age(self) -> float:
        """Seconds since the state was saved, or since the start."""
        return time.monotonic() - self._saved

    def save_weights(self, epoch: int, weights: dict[str, Tensor]) -> None:
        """Write the weights after `epoch` finished epochs."""
        copies = _Copies(weights)
        self._submit(lambda: save_weights(self._folder, epoch, copies.fetch()))

    def save_state(self, state: dict[str, Any], keep: set[int] | None = None) -> None:
        """Replace the training state; then remove the weights of all epochs but those to `keep` (None: all)."""
        copies = _Copies(state)
        self._saved = time.monotonic()

        def write() -> None:
            save_state(self._folder, copies.fetch(), run=self._run)
            for checkpoint in list_checkpoints(self._folder) if keep is not None else []:
                if checkpoint.epoch not in (keep or ()):
                    checkpoint.path.unlink(missing_ok=True)

        self._submit(write)

    def _submit(self, write: Callable[[], object]) -> None:
        self._finish()
        self._writing = self._pool.submit(write)

    def _finish(self) -> None:
        if self._writing is not None:
            writing, self._writing = self._writing, None
            writing.result()


class _Copies:
    """Nested plain data with copies of its tensors: made where they are, fetched when they are wanted."""

    def __init__(self, value: Any) -> None:
        tensors = [tensor for tensor in _tensors(value) if tensor.is_cuda]
        self._device = tensors[0].device if tensors else None
        self._made: torch.cuda.Event | None = None
        wanted = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
        if self._device is not None and wanted <= room_beside(self._device):
            self._value = _each(value, lambda tensor: tensor.detach().clone())
            self._made = torch.cuda.current_stream(self._device).record_event()
        else:  # on a GPU without room for them who trains waits until they are here
            self._value = _each(value, lambda tensor: tensor.detach().to("cpu", copy=True))

    def fetch(self) -> Any:
        """The copies on the CPU; to be called once, by any thread."""
        value, self._value = self._value, None
        if self._made is None:
            return value
        beside = torch.cuda.Stream(self._device)
        beside.wait_event(self._made)
        with torch.cuda.stream(beside):
            return _each(value, Tensor.cpu)


def room_beside(device: torch.device) -> int:
    """Bytes of a GPU that would still be free at the peak of its work so far, which the next step will reach again."""
    free, _ = torch.cuda.mem_get_info(device)
    return int(free + torch.cuda.memory_reserved(device) - torch.cuda.max_memory_allocated(device))


def _each(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, dict):
        return {key: _each(item, change) for key, item in value.items()}
    return [_each(item, change) for item in value] if isinstance(value, list | tuple) else value


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict | list | tuple):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _tensors(item)
