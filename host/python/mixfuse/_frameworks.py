# SPDX-License-Identifier: Apache-2.0
"""What mixfuse asks of the frameworks whose tensors it gets: new tensors. None is imported here
that its user has not imported."""

from __future__ import annotations

import sys
from typing import Any


def framework_of(tensor: Any) -> str:
    """'torch' of torch.Tensor, 'jaxlib' of a JAX array, 'builtins' of a capsule."""
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


_EMPTY = {"torch": _torch, "numpy": _numpy, "cupy": _cupy}
