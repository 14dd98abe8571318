"""Pre-training the published way, from the facts known of it: in float32, images decoded and encoded at every step, and
depth maps by testing every point against every pixel.

Kind to it: images are decoded by threads beside the step, the loops over points and pixels are machine code shared by
two threads (PyTorch3D's on a CPU use one, and take 116 ms a map where these take about 60), and the optimiser is ours.
Letters: B batch, P points, H = W pixels, C feature width.
"""

import io
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from c2p import params
from c2p.models.depth_encoder import DepthEncoder
from c2p.models.losses import Balance
from c2p.models.network import Clip, prepare_images
from c2p.training.gradients import losses
from c2p.training.optim import create_optimizer

Draw = Callable[[Tensor, Tensor, Tensor, int, float], Tensor]
"""Draws (P,) view coordinates x, y, z as a map of so many pixels with discs of a radius."""


class PublishedStep:
    """One step of the published training at every call."""

    def __init__(
        self,
        clip: Clip,
        encoder: DepthEncoder,
        settings: params.Pretrain,
        depth: params.Depth,
        *,
        threads: int,
    ) -> None:
        self._clip, self._encoder, self._settings, self._depth = clip, encoder, settings, depth
        self._balance = Balance().to(encoder.device)
        self._optimizer = create_optimizer([*encoder.parameters(), *self._balance.parameters()], settings)
        self._pool = ThreadPoolExecutor(threads)
        self._waiting: list[Future[np.ndarray]] = []
        self._draw, self.drawn_by = rasteriser(encoder.device)

    def __call__(self, points: Tensor, rotations: Tensor, factors: Tensor, pictures: Sequence[bytes]) -> float:
        """Train on points (B, P, 3) in views (B, 3, 3) at (2, B) distances, and B encoded pictures; returns the loss.

        The pictures of the next call are taken to be the same: they are decoded while this one computes.
        """
        decoded = self._waiting or [self._pool.submit(decode, data) for data in pictures]
        images = np.stack([future.result() for future in decoded])
        self._waiting = [self._pool.submit(decode, data) for data in pictures]
        device = self._encoder.device
        pixels = torch.from_numpy(images).to(device).permute(0, 3, 1, 2).float() / 255
        with torch.no_grad():
            targets = self._clip.model.visual(prepare_images(pixels, self._clip))
        maps = torch.cat([naive_maps(points, rotations, factor, self._depth, self._draw) for factor in factors])
        features = self._encoder(normalise(maps)).unflatten(0, (2, len(points)))
        loss = losses(features, targets, self._balance, self._settings)[0]
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self._optimizer.step()
        return float(loss.detach())


def naive_maps(
    points: Tensor,
    rotations: Tensor,
    factors: Tensor,
    depth: params.Depth,
    draw: Draw | None = None,
) -> Tensor:
    """Raw depth maps of clouds (B, P, 3) in views (B, 3, 3) at distance factors (B,): (B, H, W), 0 = empty.

    Orthographic over [-1, 1]^2; a point covers pixels whose centres are nearer than depth.radius; the nearest shows.
    """
    camera = depth.distance * factors
    turned = to_view(points / camera[:, None, None], rotations.unsqueeze(1)).squeeze(1)
    draw = draw or naive_map

    def one(number: int) -> Tensor:
        x, y, z = turned[number].unbind(-1)
        return draw(x, y, z + camera[number], depth.size, depth.radius)

    if points.device.type != "cpu":
        return torch.stack([one(number) for number in range(len(points))])
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        return torch.stack(list(pool.map(one, range(len(points)))))


def naive_map(x: Tensor, y: Tensor, z: Tensor, size: int, radius: float) -> Tensor:
    """Every point against every pixel: (P,) coordinates to (H, W) view depth, 0 = empty."""
    centres = (2 * torch.arange(size - 1, -1, -1, device=x.device) + 1) / size - 1
    square, z = z.new_full((), radius).square(), torch.where(z >= 0, z, torch.inf)
    squares = (y - centres[:, None]).square()[:, None] + (x - centres[:, None]).square()
    found = torch.where(squares < square, z, torch.inf).amin(-1)
    return torch.where(found.isinf(), 0, found)


def to_view(points: Tensor, rotations: Tensor) -> Tensor:
    """(B, P, 3) to the frames of (B, V, 3, 3) views, (B, V, P, 3), summed in the order of depth_maps."""
    x, y, z = points[:, None].unbind(-1)
    turns = rotations[..., None]
    axes = [x * turns[..., 0, axis, :] + y * turns[..., 1, axis, :] + z * turns[..., 2, axis, :] for axis in range(3)]
    return torch.stack(axes, -1)


def normalise(raw: Tensor) -> Tensor:
    """The published normalisation, written plainly: (B, H, W) to (B, 3, H, W)."""
    covered = raw > 0
    background = torch.ones_like(raw)
    nearest = torch.where(covered, raw, background).amin((1, 2), keepdim=True)
    farthest = raw.amax((1, 2), keepdim=True)
    grey = torch.where(covered, (raw - nearest) / farthest * 200 / 255, background)
    return grey[:, None].repeat(1, 3, 1, 1)


def encode(picture: np.ndarray) -> bytes:
    """A picture (H, W, 3) uint8 as PNG; without Pillow as it is, and decoding is then free."""
    try:
        from c2p.data.pictures import encode_png
    except ModuleNotFoundError:
        buffer = io.BytesIO()
        np.save(buffer, picture)
        return buffer.getvalue()
    return encode_png(picture)


def decode(data: bytes) -> np.ndarray:
    """What `encode` has made."""
    if data.startswith(b"\x93NUMPY"):
        return np.asarray(np.load(io.BytesIO(data)))
    from c2p.data.pictures import decode_image

    return decode_image(data)


def rasteriser(device: torch.device) -> tuple[Draw, str]:
    """The fastest form of `naive_map` on a device, and what it is: one kernel on a GPU, loops on a CPU.

    Where torch or numba can't compile, the plain operations.
    """
    if device.type == "cpu":
        try:
            from benchmarks.loops import naive_loops
        except ModuleNotFoundError:
            return naive_map, "plain operations"

        def draw(x: Tensor, y: Tensor, z: Tensor, size: int, radius: float) -> Tensor:
            out = np.empty((size, size), np.float32)
            across, up, deep = (axis.contiguous().numpy() for axis in (x, y, z))
            naive_loops(across, up, deep, np.float32(radius), out)
            return torch.from_numpy(out)

        return draw, "compiled loops"
    compiled: Draw = torch.compile(naive_map, dynamic=False)
    probe = torch.zeros(4, device=device)
    try:
        compiled(probe, probe, probe, 8, 0.1)
    except Exception:  # without a compiler torch raises one of many kinds
        return naive_map, "plain operations"
    return compiled, "torch.compile"
