"""What stands in a stage's way for a while."""


class Busy(RuntimeError):
    """Another process reads or writes what a stage is to write; the message names it."""
