"""What there is to evaluate in a project that has not come so far."""

from pathlib import Path

import pytest

from c2p.params import load
from tasks.checkpoints import Checkpoint, frozen_trials, selected_checkpoints

REPOSITORY = Path(__file__).resolve().parents[2]


def test_without_checkpoints_there_is_nothing_to_evaluate_and_no_teacher_is_missed(tmp_path: Path) -> None:
    params = load(REPOSITORY / "params.yaml")
    with frozen_trials(tmp_path, params, selected_checkpoints(tmp_path)) as trials:
        assert trials == []
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_without_its_teacher_is_one_line(tmp_path: Path) -> None:
    params = load(REPOSITORY / "params.yaml")
    with (
        pytest.raises(ValueError, match="make it with `dvc repro teacher`"),
        frozen_trials(tmp_path, params, [Checkpoint("models/depth_encoder/seed-0")]),
    ):
        pass
