"""The bank: encoders that share a job's pictures have the features that each would have alone."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest

from c2p.evaluation.bank import TOWERS, Bank, EncodeJob, Source, TextJob, open_source, run_job, serial
from c2p.evaluation.drawings import Clip2PointDrawing, Drawing, PointclipDrawing
from c2p.models.clip import CONFIG_FILE, create_clip, save_clip


def planned(bank: Bank, lab: Any, source: Source, encoders: list[Path], drawings: list[Drawing]) -> list[Path]:
    """Files of every encoder's features with every drawing, of both splits, and of one encoder's prompts."""
    files = [bank.text(encoders[0], ("a {}",), source.read().classes)]
    for drawing in drawings:
        for split in ("train", "test"):
            for encoder in encoders:
                files += bank.features(encoder, source, split, drawing, "six", label=split)
    return files


def test_shared_pictures_change_no_byte(lab: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoders = [lab.clip, lab.encoders / "seed-0", lab.encoders / "seed-4"]
    drawings: list[Drawing] = [Clip2PointDrawing(lab.settings.depth), PointclipDrawing(32, 1.6)]
    source = open_source(lab.benchmarks[0])
    alone = []
    for number, encoder in enumerate(encoders):
        bank = Bank(tmp_path / f"alone-{number}")
        alone.append(planned(bank, lab, source, [encoder], drawings))
        bank.make(serial)
    drawn: list[int] = []
    draw = Clip2PointDrawing.draw
    monkeypatch.setattr(Clip2PointDrawing, "draw", lambda *given, **named: drawn.append(1) or draw(*given, **named))
    jobs: list[EncodeJob | TextJob] = []

    def noted(function: Any, some: list[Any], *, names: list[str]) -> list[Any]:
        assert function is run_job and len(names) == len(some)
        jobs.extend(some)
        return serial(function, some)

    bank = Bank(tmp_path / "together")
    files = planned(bank, lab, source, encoders, drawings)
    bank.make(noted)
    found = {path.name: path.read_bytes() for path in files}
    assert found == {path.name: path.read_bytes() for some in alone for path in some if path.name in found}
    assert len(found) == 1 + 2 * 2 * 3
    towers = sorted(len(job.towers) for job in jobs if isinstance(job, EncodeJob))
    assert towers == [1] * 4 + [TOWERS] * 4, "three encoders: two share a job, one is left"
    assert len(drawn) == 2 * (1 + 2), "once a job: nine objects are one batch of ten, twelve are two"
    read = [np.load(path) for path in files[1:4]]
    assert all(values.shape == (9, 6, read[0].shape[-1]) for values in read)
    assert not np.array_equal(read[0], read[1])


def test_towers_of_another_size_share_a_job_but_no_picture(lab: Any, tmp_path: Path) -> None:
    """PointCLIP's pictures have the tower's own size."""
    config = json.loads((lab.clip / CONFIG_FILE).read_text())["model_cfg"]
    config["vision_cfg"]["image_size"] = 32
    (tmp_path / "c2p-half.json").write_text(json.dumps(config))
    open_clip.add_model_config(tmp_path)
    save_clip(create_clip(replace(lab.settings.teacher, model="c2p-half")), tmp_path / "half")
    source, drawing = open_source(lab.benchmarks[0]), PointclipDrawing(48, 1.6)
    read = []
    for number, encoders in enumerate([(lab.clip, tmp_path / "half"), (lab.clip,), (tmp_path / "half",)]):
        bank = Bank(tmp_path / str(number))
        files = [bank.features(e, source, "test", drawing, "six", label="")[0] for e in encoders]
        bank.make(serial)
        read += [np.load(file) for file in files]
    assert np.array_equal(read[0], read[2]) and np.array_equal(read[1], read[3])
