"""A GPU that isn't there: tensors that say that they lie on `cuda:0`, and are computed by the CPU.

`pytest --emulated-gpu` runs tests on it. As with CUDA, an operation on tensors of host and device is refused, so is a
device's tensor asked for as an array, or drawn with the host's generator; what asks `is_cuda` takes the GPU's way.
Nothing is seen of kernels, their rounding, streams, memory and time; autocast does nothing; other processes have a CPU.
"""

import contextlib
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any
from unittest import mock

import torch
import torch._dynamo  # before torch.Generator is another class: modules that it imports name it in signatures
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map_only

GPU, HOST = torch.device("cuda", 0), torch.device("cpu")
ACROSS = {torch.ops.aten.copy_.default, torch.ops.aten._to_copy.default}
"""Operations from one device to another."""
INDEXED = {
    torch.ops.aten.index.Tensor,
    torch.ops.aten.index_put.default,
    torch.ops.aten.index_put_.default,
    torch.ops.aten._index_put_impl_.default,
}
"""Operations whose second argument, the indices, may lie on the host."""
MEMORY = 10**11
"""Bytes of the device, all of them free."""
operations = [0]
"""Computed on the device so far, in this process."""
readings = [0]
"""Of a value or a tensor from the device by the main thread so far: each waits for all that was asked for."""
_made = [0]
"""Bytes of the tensors made since the peak was reset, as if none of them went away."""


class OnGpu(Tensor):
    """A tensor of the device; autograd and C++ take it for one of `meta`, since there is no CUDA to ask."""

    value: Tensor
    """What it holds, on the host; views share it as they would."""
    __torch_function__ = torch._C._disabled_torch_function_impl
    device = property(lambda self: GPU)  # type: ignore[assignment]
    is_cuda = property(lambda self: True)  # type: ignore[assignment]
    is_meta = property(lambda self: False)  # type: ignore[assignment]

    @staticmethod
    def __new__(cls, value: Tensor) -> "OnGpu":
        with torch.inference_mode(False):  # one of inference could not be a view of one that isn't
            made: OnGpu = Tensor._make_wrapper_subclass(
                cls,
                value.size(),
                strides=value.stride(),
                storage_offset=value.storage_offset(),
                dtype=value.dtype,
                device="meta",
            )
        made.value = value
        _made[0] += value.numel() * value.element_size()
        return made

    def __init__(self, value: Tensor) -> None:
        pass

    def __repr__(self, **_: Any) -> str:  # type: ignore[override]
        return f"OnGpu({self.value!r})"

    def get_device(self) -> int:
        return 0

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _compute(function, args, kwargs or {})


class Generator(torch.Generator):
    """Random numbers of the host or the device."""

    def __new__(cls, device: Any = HOST) -> "Generator":
        made = super().__new__(cls, HOST)
        made.of_gpu = _is_gpu(torch.device(device))
        return made

    def __init__(self, device: Any = HOST) -> None:
        pass

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        return GPU if self.of_gpu else HOST


@contextlib.contextmanager
def emulated_gpu() -> Iterator[torch.device]:
    """Let this thread find one CUDA device, and give it."""
    from c2p.training import meter

    stream = SimpleNamespace(
        wait_event=lambda event: None, record_event=object, is_capturing=lambda: False, synchronize=lambda: None
    )
    cuda = {
        "_lazy_init": lambda: None, "is_available": lambda: True, "device_count": lambda: 1,
        "current_device": lambda: 0, "set_device": lambda device: None, "synchronize": lambda device=None: None,
        "get_device_name": lambda device=None: "emulated", "get_device_capability": lambda device=None: (9, 0),
        "get_device_properties": lambda device=None: SimpleNamespace(name="emulated", total_memory=MEMORY, major=9),
        "mem_get_info": lambda device=None: (MEMORY, MEMORY), "memory_reserved": lambda device=None: 0,
        "memory_allocated": lambda device=None: 0, "max_memory_allocated": lambda device=None: _made[0],
        "reset_peak_memory_stats": lambda device=None: _made.__setitem__(0, 0), "empty_cache": lambda: None,
        "Stream": lambda device=None: stream, "current_stream": lambda device=None: stream,
        "stream": lambda stream: contextlib.nullcontext(), "get_rng_state": lambda device=None: torch.get_rng_state(),
        "is_current_stream_capturing": lambda: False, "set_sync_debug_mode": lambda mode: None,
        "set_rng_state": lambda state, device=None: None,
    }  # fmt: skip
    with contextlib.ExitStack() as stack:
        for name, stand_in in cuda.items():
            stack.enter_context(mock.patch.object(torch.cuda, name, stand_in))
        stack.enter_context(mock.patch.object(torch.accelerator, "current_stream", lambda device=None: stream))
        stack.enter_context(mock.patch.object(torch, "Generator", Generator))
        stack.enter_context(mock.patch.object(torch, "load", _load))
        stack.enter_context(mock.patch.dict(meter.SIDES, cuda=128))  # a GPU's product would take the CPU a minute
        stack.callback(torch._C._set_only_lift_cpu_tensors, torch._C._only_lift_cpu_tensors())
        torch._C._set_only_lift_cpu_tensors(True)  # torch.tensor(..., device=GPU) copies from the host
        swapped = torch.__future__.get_swap_module_params_on_conversion()
        stack.callback(torch.__future__.set_swap_module_params_on_conversion, swapped)
        torch.__future__.set_swap_module_params_on_conversion(True)  # else a parameter keeps its class
        stack.enter_context(_Operations())
        stack.enter_context(_Functions())
        yield GPU


class _Operations(TorchDispatchMode):
    """Makes tensors on the device."""

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _compute(function, args, kwargs or {})


class _Functions(TorchFunctionMode):
    """What C++ would decide by the device before any operation."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if function is Tensor.cuda:
            function, args = Tensor.to, (args[0], GPU)
        if function is Tensor.to:  # without a number C++ asks CUDA for the current device
            args = tree_map_only((str, torch.device), _numbered, args)
        if kwargs.get("device") is not None:
            kwargs = {**kwargs, "device": _numbered(kwargs["device"])}
        if args and isinstance(args[0], OnGpu):
            if function is Tensor.tolist:
                _read()
                return args[0].value.tolist()
            if function in (Tensor.numpy, Tensor.__array__):
                raise TypeError("can't convert cuda:0 device type tensor to numpy")
            if function is Tensor.to and _is_there(*args, **kwargs):
                return args[0]
        out = function(*args, **kwargs)
        generator = kwargs.get("generator")
        if generator is not None and isinstance(out, Tensor) and generator.device.type != out.device.type:
            raise RuntimeError(f"Expected a '{out.device}' device type for generator but found '{generator.device}'")
        return out


def _compute(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if function._can_decompose():  # in inference mode what is made of other operations comes whole
        with _Operations():
            return function.decompose(*args, **kwargs)
    leaves = tree_leaves((args, kwargs))
    given = there = any(isinstance(value, OnGpu) for value in leaves)
    if there and function not in ACROSS:
        free = {id(value) for value in tree_leaves(args[1])} if function in INDEXED else set()
        for value in leaves:
            if isinstance(value, Tensor) and not isinstance(value, OnGpu) and value.dim() and id(value) not in free:
                raise RuntimeError(
                    f"{function}: Expected all tensors to be on the same device, but found at least two devices, "
                    "cuda:0 and cpu!"
                )
    devices = [value for value in leaves if isinstance(value, torch.device)]
    there = _is_gpu(devices[0]) if devices else there
    if function in ACROSS and not devices:
        there = isinstance(args[0], OnGpu)
    plain = tree_map_only(torch.device, lambda _: HOST, (args, kwargs))
    plain_args, plain_kwargs = tree_map_only(OnGpu, lambda tensor: tensor.value, plain)
    out = function(*plain_args, **plain_kwargs)
    if not there or not any(isinstance(value, Tensor) for value in tree_leaves(out)):
        if given and out is not None:  # some that change lists of tensors return nothing
            _read()
        return out
    operations[0] += 1
    return return_and_correct_aliasing(function, args, kwargs, tree_map_only(Tensor, OnGpu, out))


def _read() -> None:
    if threading.current_thread() is threading.main_thread():
        readings[0] += 1


def _is_gpu(device: torch.device) -> bool:
    return device.type in ("cuda", "meta")


def _numbered(device: Any) -> torch.device:
    return GPU if _is_gpu(torch.device(device)) else torch.device(device)


def _is_there(tensor: Tensor, *args: Any, copy: bool = False, **kwargs: Any) -> bool:
    """Whether Tensor.to(...) of a device's tensor gives the tensor itself."""
    wanted = [*args, *kwargs.values()]
    others = [value for value in wanted if isinstance(value, Tensor)]
    wanted += [part for other in others for part in (other.device, other.dtype)]
    here = all(_is_gpu(value) for value in wanted if isinstance(value, torch.device))
    same = all(value is tensor.dtype for value in wanted if isinstance(value, torch.dtype))
    return here and same and not copy and "memory_format" not in kwargs


_load_there = torch.load


def _load(file: Any, map_location: Any = None, **kwargs: Any) -> Any:
    found = _load_there(file, map_location=HOST, **kwargs)
    if map_location is None or not _is_gpu(torch.device(map_location)):
        return found
    return tree_map_only(Tensor, lambda tensor: tensor.to(GPU), found)
