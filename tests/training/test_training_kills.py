"""Trainings killed for good at any step, on one process and on two: what comes out is what would have come out."""

import json
import random
from multiprocessing.context import ForkServerContext
from pathlib import Path

import pytest
from trainee import EPOCHS, STEPS, fill_the_disk, listen, processes, run, saved_step, starve


def _outputs(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.name != "state.pt"}


@pytest.mark.parametrize("size", [1, 2])
def test_killed_at_random_steps_it_ends_with_the_same_bits(forks: ForkServerContext, tmp_path: Path, size: int) -> None:
    with processes(forks, tmp_path / "whole", size=size) as (_, heard):
        whole = next(list(listen(connection)) for connection in heard)
    folder = tmp_path / "killed"
    losses: dict[int, float] = {}
    kills = 0
    generator = random.Random(size)
    while not (folder / "history.json").is_file():
        begin = saved_step(folder)
        last = begin + generator.randint(2, 4)
        with processes(forks, folder, size=size) as (started, heard):
            for message in listen(heard[0]):
                if message[0] == "weights":
                    break
                losses[message[0]] = message[1]
                if message[0] == last:  # while the state of this step or the one before is being written
                    started[-1].kill()
                    started[0].kill()
                    kills += 1
                    break
            else:
                pytest.fail("a training ended without a word")
            for connection in heard:  # whoever is alive ends when nobody keeps it from telling
                list(listen(connection))
            for process in started:
                process.join()
        if (folder / "history.json").is_file():
            break
        assert saved_step(folder) >= last - 2, "no more than the step in work and the one in writing is lost"
    assert kills >= 3
    assert losses == {step: loss for step, loss, _ in whole[:-1]} and len(losses) == STEPS
    assert _outputs(folder) == _outputs(tmp_path / "whole")
    rows = json.loads((folder / "history.json").read_text())
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4] and all(row["grad_norm"] > 0 for row in rows)


def test_a_batch_too_large_is_one_line_that_names_it(forks: ForkServerContext, tmp_path: Path) -> None:
    heard, told = forks.Pipe(duplex=False)
    process = forks.Process(target=starve, args=(tmp_path, told))
    process.start()
    told.close()
    kind, message = heard.recv()
    process.join()
    assert kind == "OutOfMemory" and "\n" not in message
    for part in ("pretrain.batch 4096", "VisionTransformer (0.", "4096 clouds of 64 points", "C2P_MICRO_BATCH"):
        assert part in message


def test_a_full_disk_leaves_the_last_good_checkpoint(forks: ForkServerContext, tmp_path: Path) -> None:
    heard, told = forks.Pipe(duplex=False)
    process = forks.Process(target=fill_the_disk, args=(tmp_path / "disk" / "run", told))
    process.start()
    told.close()
    try:
        kind, message, step, names = heard.recv()
    except EOFError:
        pytest.skip("needs file systems of its own (unshare), which this machine does not allow")
    assert kind == "NoRoom" and "\n" not in message
    assert "No space left on device; make room there and run again: what is finished is kept" in message
    assert step == 2 * STEPS // EPOCHS and names == ["epoch-0002.safetensors", "state.pt"], "nothing half made"
    resumed = heard.recv()
    process.join()
    run(tmp_path / "whole")
    assert resumed == _outputs(tmp_path / "whole")
