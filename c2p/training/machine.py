"""How one machine trains: nothing here changes a result but for rounding, so none of it is a parameter."""

import os
from dataclasses import dataclass


def joined() -> bool:
    """Whether torchrun (or what sets its variables) started this process as one of several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def local_rank() -> int:
    """Number of this process among those of its machine."""
    return int(os.environ.get("LOCAL_RANK", "0"))


@dataclass(frozen=True)
class Machine:
    """Facts of the machine."""

    micro_batch: int = 0
    """Samples of one rank encoded at a time; 0: all of its rows of a batch."""
    compiled: bool = False
    """The tower through torch.compile."""
    save_seconds: float = 300.0
    """A killed run loses at most the steps of this time; 0: the state is saved after every step."""
