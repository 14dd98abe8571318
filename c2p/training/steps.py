"""What both trainings share: how often they log, and how they fail."""

LOG_EVERY = 50
"""Steps between log lines."""


class TrainingError(RuntimeError):
    """Training can't go on; the message names the step."""
