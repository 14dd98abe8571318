"""How one machine trains: nothing here changes a result but for rounding, so none of it is a parameter."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Machine:
    """Facts of the machine."""

    micro_batch: int = 0
    """Samples of one rank encoded at a time; 0: all of its rows of a batch."""
    compiled: bool = False
    """The tower through torch.compile."""
    save_seconds: float = 300.0
    """A killed run loses at most the steps of this time; 0: the state is saved after every step."""
