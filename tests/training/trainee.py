"""A training so small that processes can be killed over it: towers, data, and one process of it as a function."""

import ctypes
import dataclasses
import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import open_clip
import torch
from torch import distributed

from c2p import params
from c2p.geometry.views import view_set
from c2p.models.clip import Clip
from c2p.models.depth_encoder import DepthEncoder
from c2p.training.checkpoint import STATE_FILE
from c2p.training.distributed import open_ranks
from c2p.training.history import ACCURACY, History
from c2p.training.machine import Machine
from c2p.training.pretrain import pretrain

SAMPLES, BATCH, EPOCHS = 26, 8, 4
STEPS = SAMPLES // BATCH * EPOCHS
CLONE_NEWNS, CLONE_NEWUSER = 0x00020000, 0x10000000
EVERY_STEP = Machine(save_seconds=0)
SETTINGS = params.Pretrain(
    seeds=(0,),
    epochs=EPOCHS,
    batch=BATCH,
    optimizer="lamb",
    lr=1e-3,
    weight_decay=1e-4,
    schedule="restarts",
    restart_epochs=2,
    warmup=0.0,
    lr_min=1e-5,
    temperature=0.7,
    intra=True,
    hard_negatives=0,
    precision="float32",
    checkpoint_every=1,
    keep_last=1,
    keep_best=1,
)
DEPTH = params.Depth(
    projection="perspective",
    size=32,
    footprint="window",
    dilation=2,
    radius=0.02,
    reach=1.0,
    aggregation="minimum",
    fov=60.0,
    distance=2.0,
    jitter=0.1,
)
ROTATIONS = torch.tensor(view_set("six").rotations)
TOWERS: dict[str, dict[str, Any]] = {
    "vit": {"image_size": 32, "layers": 2, "width": 64, "head_width": 32, "patch_size": 8},
    "resnet": {"image_size": 32, "layers": [1, 1, 1, 1], "width": 16, "patch_size": None},
}
"""CLIP's two kinds of towers; the second has batch norm."""
HARD = "vit, hard negatives"
"""The first, trained in batches of neighbours."""


def make_encoder(kind: str) -> DepthEncoder:
    """A depth encoder with the same random weights every time."""
    text = {"context_length": 4, "vocab_size": 8, "width": 32, "heads": 1, "layers": 1}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        model = open_clip.CLIP(32, TOWERS[kind.partition(",")[0]], text)
    clip = Clip(model, None, {"embed_dim": 32}, (32, 32), (0.48,) * 3, (0.27,) * 3, "bicubic", 32)
    return DepthEncoder.from_clip(clip)


def make_data() -> tuple[torch.Tensor, torch.Tensor]:
    """Clouds and image features."""
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(SAMPLES, 64, 3, generator=generator)
    points /= points.norm(dim=-1).amax(1)[:, None, None]
    return points, torch.randn(SAMPLES, len(ROTATIONS), 32, generator=generator).half()


def run(
    folder: Path,
    kind: str = "vit",
    *,
    settings: params.Pretrain = SETTINGS,
    machine: Machine = EVERY_STEP,
    device: str = "cpu",
    **options: Any,
) -> tuple[DepthEncoder, History]:
    """The training in this process; accuracies are made up from the weights, so they tell whether those are right."""
    encoder = make_encoder(kind).to(device)
    if kind == HARD:
        settings = dataclasses.replace(settings, hard_negatives=2)

    def evaluate(current: DepthEncoder) -> dict[str, float]:
        return {ACCURACY: 100 * sum(weight.double().sum().item() for weight in current.parameters()) % 1}

    history = pretrain(
        encoder, *make_data(), settings, DEPTH, ROTATIONS,
        seed=5, folder=folder, machine=machine, evaluate=evaluate, **options,
    )  # fmt: skip
    return encoder, history


def rank(number: int, size: int, meeting: Path, folder: Path, kind: str, told: Connection, limit: int) -> None:
    """One process of a training: tells each step's loss; dies by its own hand after `limit` steps (0: never).

    kind: the tower's, or `triplets` for a training of CG3D. Whoever reads may kill it at any moment.
    """
    os.environ |= {"RANK": str(number), "WORLD_SIZE": str(size), "LOCAL_RANK": str(number)}
    torch.set_num_threads(1)
    if size > 1:  # as torchrun's processes meet, but through a file: no port to find
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}
        store = distributed.FileStore(str(meeting), size)
        distributed.init_process_group("gloo", store=store, rank=number, world_size=size)
        distributed.init_process_group = lambda backend: None  # type: ignore[assignment]
    with open_ranks(torch.device("cpu")) as ranks:

        def on_step(step: int, steps: int, values: dict[str, float]) -> None:
            told.send((step, values["loss"], values["grad_norm"]))
            if step == limit:
                os.kill(os.getpid(), signal.SIGKILL)

        if kind == "triplets":
            from triplet_trainee import run_triplets

            weights = run_triplets(folder, ranks=ranks, on_step=on_step)[0]
        else:
            weights = run(folder, kind, ranks=ranks, on_step=on_step)[0].visual.state_dict()
        told.send(("weights", {name: tensor.numpy() for name, tensor in weights.items()}))


@contextmanager
def processes(
    context: ForkServerContext, folder: Path, *, size: int, kind: str = "vit", limit: int = 0
) -> Iterator[tuple[list[BaseProcess], list[Connection]]]:
    """Start a training of `size` processes; yields them and what they tell, and ends them."""
    folder.mkdir(parents=True, exist_ok=True)
    meeting = folder.with_name(f"{folder.name}-meeting-{os.urandom(4).hex()}")
    pipes = [context.Pipe(duplex=False) for _ in range(size)]
    started = [
        context.Process(target=rank, args=(number, size, meeting, folder, kind, pipes[number][1], limit))
        for number in range(size)
    ]
    try:
        for process, (_, told) in zip(started, pipes, strict=True):
            process.start()
            told.close()
        yield started, [heard for heard, _ in pipes]
    finally:
        for process in started:
            process.kill()
            process.join()


def listen(heard: Connection) -> Iterator[tuple[Any, ...]]:
    """What a process tells, until it ends."""
    while True:
        try:
            yield heard.recv()
        except (EOFError, OSError):  # killed in the middle of a word
            return


def saved_step(folder: Path) -> int:
    """Finished steps in a folder's state; 0 without one."""
    path = folder / STATE_FILE
    return int(torch.load(path, weights_only=True)["state"]["step"]) if path.is_file() else 0


def starve(folder: Path, told: Connection) -> None:
    """A batch far too large for the memory this process is allowed; tells what it raised."""
    torch.set_num_threads(1)
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    points = torch.rand(4096, 64, 3)
    targets = torch.zeros(4096, len(ROTATIONS), 32)
    resource.setrlimit(resource.RLIMIT_AS, (size + 2**28, resource.RLIM_INFINITY))
    try:
        pretrain(
            make_encoder("vit"), points, targets, replace(SETTINGS, batch=4096), DEPTH, ROTATIONS, seed=0, folder=folder
        )
    except Exception as error:
        told.send((type(error).__name__, str(error)))


def fill_the_disk(folder: Path, told: Connection) -> None:
    """A training on a file system of its own that fills up in the third epoch, and goes on when there is room again."""
    torch.set_num_threads(1)
    mount_memory(folder, 2**24)
    ballast = folder.parent / "ballast"

    def fill(step: int, steps: int, values: dict[str, float]) -> None:
        if step == 2 * STEPS // EPOCHS + 1:
            with ballast.open("wb", buffering=0) as file, suppress(OSError):
                while file.write(bytes(4096)):
                    pass

    try:
        run(folder, on_step=fill, machine=Machine(save_seconds=3600))
    except Exception as error:
        told.send((type(error).__name__, str(error), saved_step(folder), sorted(os.listdir(folder))))
    ballast.unlink()
    run(folder)
    told.send({path.name: path.read_bytes() for path in folder.iterdir() if path.name != "state.pt"})


def mount_memory(folder: Path, size: int) -> None:
    """Put the folder on a file system in memory that only this process sees.

    Raises OSError: the machine does not let it.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    user, group = os.getuid(), os.getgid()
    if libc.unshare(CLONE_NEWUSER | CLONE_NEWNS):
        raise OSError(ctypes.get_errno(), "unshare")
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"0 {user} 1")
    Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    folder.parent.mkdir(parents=True, exist_ok=True)
    if libc.mount(b"tmpfs", os.fsencode(folder.parent), b"tmpfs", 0, f"size={size}".encode()):
        raise OSError(ctypes.get_errno(), "mount")
