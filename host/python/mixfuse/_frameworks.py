# SPDX-License-Identifier: Apache-2.0
"""What mixfuse asks of the frameworks whose tensors it gets: new tensors, and their streams. None
is imported here that its user has not imported."""

from __future__ import annotations

import contextlib
import sys
import warnings
from typing import Any

from mixfuse import _core


def framework_of(tensor: Any) -> str:
    """'torch' of torch.Tensor and what derives from it, 'jaxlib' of a JAX array, 'builtins' of a
    capsule."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(tensor, torch.Tensor):
        return "torch"
    return type(tensor).__module__.partition(".")[0]


def empty(like: Any, shape: tuple[int, ...], dtype: str) -> Any:
    """A tensor of the framework and on the device of `like`, its values not set."""
    make = _EMPTY.get(framework_of(like))
    if make is None:
        raise TypeError(
            f"out: missing, and mixfuse does not know how to make a {type(like).__qualname__}; "
            "expected out= (and targets_out=) to write into"
        )
    return make(like, shape, dtype)


def memory(like: Any, size: int) -> Any:
    """`size` bytes on the device of `like`, or None where its framework is not known."""
    make = _EMPTY.get(framework_of(like))
    return None if make is None else make(like, (size,), "uint8")


def hand_over(like: Any, made: _core.Memory) -> Any:
    """What `empty` made in host memory, as an array of the framework of `like`; not copied."""
    if framework_of(like) == "tensorflow":
        return sys.modules["tensorflow"].experimental.dlpack.from_dlpack(made.__dlpack__())
    return sys.modules["jax"].dlpack.from_dlpack(made)


def requires_gradient(tensor: Any) -> bool:
    """And it would be recorded now."""
    return (
        getattr(tensor, "requires_grad", False)
        and framework_of(tensor) == "torch"
        and sys.modules["torch"].is_grad_enabled()
    )


def has_written(*tensors: Any) -> None:
    """Lets torch's autograd see that they are not what it saved of them."""
    torch = sys.modules.get("torch")
    if torch is None:
        return
    # Of torch.autograd.graph.increment_version, which costs three times as much.
    increment = torch._C._increment_version
    for tensor in tensors:
        if isinstance(tensor, tuple):  # sparse targets
            has_written(*tensor)
        elif tensor is not None and isinstance(tensor, torch.Tensor):
            try:
                increment((tensor,))
            except (TypeError, RuntimeError):  # torch 2.4
                increment(tensor)


def warn(text: str) -> None:
    """A warning of the line that called this package, whichever of its functions that was."""
    level, depth, frame = 2, 2, sys._getframe(1)
    while frame is not None:
        depth += 1  # of its caller
        if frame.f_globals.get("__name__", "").partition(".")[0] == "mixfuse":
            level = depth
        frame = frame.f_back
    warnings.warn(text, RuntimeWarning, stacklevel=level)


def is_writable(tensor: Any) -> bool:
    """Whether its framework lets anybody mix in place."""
    return framework_of(tensor) not in ("jax", "jaxlib", "tensorflow")


def is_integer(tensor: Any) -> bool:
    """By its dtype's name, which every framework spells alike."""
    return "int" in str(tensor.dtype)


def as_float(tensor: Any) -> Any:
    """A copy in float32."""
    return tensor.float() if framework_of(tensor) == "torch" else tensor.astype("float32")


@contextlib.contextmanager
def on_stream(like: Any, stream: Any) -> Any:
    """New tensors of the framework of `like` belong to that stream, where its allocator cares."""
    framework = framework_of(like)
    if framework == "torch" and like.is_cuda:
        cuda = sys.modules["torch"].cuda
        address = _core.stream_of(stream, like)
        with cuda.stream(cuda.ExternalStream(address, device=like.device)):
            yield
    elif framework == "cupy":
        address = _core.stream_of(stream, like)
        with like.device, sys.modules["cupy"].cuda.ExternalStream(address):
            yield
    else:
        yield


def _torch(like: Any, shape: tuple[int, ...], dtype: str) -> Any:
    torch = sys.modules["torch"]
    if tuple(like.shape) == tuple(shape):  # channels_last stays so
        return torch.empty_like(like, dtype=getattr(torch, dtype), requires_grad=False)
    return torch.empty(shape, dtype=getattr(torch, dtype), device=like.device)


def _numpy(like: Any, shape: tuple[int, ...], dtype: str) -> Any:
    return sys.modules["numpy"].empty(shape, dtype)


def _cupy(like: Any, shape: tuple[int, ...], dtype: str) -> Any:
    cupy = sys.modules["cupy"]
    with like.device:
        return cupy.empty(shape, dtype)


def _host(like: Any, shape: tuple[int, ...], dtype: str) -> Any:
    """For arrays that cannot be written: memory, to be handed over when it is filled."""
    if hasattr(like, "__dlpack_device__") and like.__dlpack_device__()[0] != 1:
        raise NotImplementedError(
            f"images: a {framework_of(like)} array on a GPU is immutable, so mix cannot write one "
            "there; JAX: use mixfuse.jax, inside jit or not"
        )
    return _core.Memory(shape, dtype)


_EMPTY = {
    "torch": _torch,
    "numpy": _numpy,
    "cupy": _cupy,
    "jax": _host,
    "jaxlib": _host,
    "tensorflow": _host,
}
