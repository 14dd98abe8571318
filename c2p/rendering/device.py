"""Where a renderer that knows GPUs runs, and what it says when it cannot."""

import os
import re


class RendererUnavailable(ValueError):
    """The asked-for renderer or its device is not there; the message says how to get one."""


def choose_device(cuda_devices: int, *, finder: str) -> str:
    """Name the device to render on: C2P_DEVICE, else the first CUDA device, else the CPU.

    cuda_devices: how many the library sees; finder: its name, for the message. Returns "cpu" or "cuda:N".
    Raises RendererUnavailable: C2P_DEVICE is no device, or one that the library does not see.
    """
    text = os.environ.get("C2P_DEVICE", "")
    if not text:
        return "cuda:0" if cuda_devices else "cpu"
    if not re.fullmatch(r"cpu|cuda(:\d+)?", text):
        raise RendererUnavailable(f"C2P_DEVICE: got {text!r}; allowed: cpu, cuda, cuda:0, cuda:1, ...")
    if text == "cpu":
        return text
    index = int(text.partition(":")[2] or 0)
    if index >= cuda_devices:
        seen = ", ".join(["cpu", *(f"cuda:{number}" for number in range(cuda_devices))])
        raise RendererUnavailable(f"C2P_DEVICE: got {text!r}, which {finder} does not find; it finds: {seen}")
    return f"cuda:{index}"
