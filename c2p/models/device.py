"""Where networks run: the device that C2P_DEVICE names, by the rule that the renderers follow."""

import torch

from c2p.device import choose_device


def compute_device() -> torch.device:
    """The device for towers and training: C2P_DEVICE, else the first CUDA device, else the CPU.

    Raises DeviceUnavailable (a ValueError): C2P_DEVICE is no device, or one that PyTorch does not find.
    """
    return torch.device(choose_device(torch.cuda.device_count(), finder="PyTorch"))
