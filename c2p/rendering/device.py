"""Where a renderer that knows GPUs runs, and what it says when it cannot."""

from c2p import device


class RendererUnavailable(ValueError):
    """The asked-for renderer or its device is not there; the message says how to get one."""


def choose_device(cuda_devices: int, *, finder: str) -> str:
    """The device to render on, as `c2p.device.choose_device` says.

    Raises RendererUnavailable: C2P_DEVICE is no device, or one that the library does not see.
    """
    try:
        return device.choose_device(cuda_devices, finder=finder)
    except device.DeviceUnavailable as error:
        raise RendererUnavailable(str(error)) from None
