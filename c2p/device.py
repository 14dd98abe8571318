"""Where work runs that knows GPUs: C2P_DEVICE, by one rule for renderers and networks."""

import os
import re


class DeviceUnavailable(ValueError):
    """The device asked for is none, or not there; the message is one line."""


def choose_device(cuda_devices: int, *, finder: str) -> str:
    """Name the device to work on: C2P_DEVICE, else the first CUDA device, else the CPU.

    cuda_devices: how many the library sees; finder: its name, for the message. Returns "cpu" or "cuda:N".
    Raises DeviceUnavailable: C2P_DEVICE is no device, or one that the library does not see.
    """
    text = os.environ.get("C2P_DEVICE", "")
    if not text:
        return "cuda:0" if cuda_devices else "cpu"
    if not re.fullmatch(r"cpu|cuda(:\d+)?", text):
        raise DeviceUnavailable(f"C2P_DEVICE: got {text!r}; allowed: cpu, cuda, cuda:0, cuda:1, ...")
    if text == "cpu":
        return text
    index = int(text.partition(":")[2] or 0)
    if index >= cuda_devices:
        seen = ", ".join(["cpu", *(f"cuda:{number}" for number in range(cuda_devices))])
        raise DeviceUnavailable(f"C2P_DEVICE: got {text!r}, which {finder} does not find; it finds: {seen}")
    return f"cuda:{index}"
