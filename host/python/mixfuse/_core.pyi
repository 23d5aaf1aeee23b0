# SPDX-License-Identifier: Apache-2.0
from typing import Any

version: str
stream_version: int

class Spec:
    def __init__(
        self,
        policies: list[tuple[Any, ...]],
        probability: float,
        pairing: str,
        granularity: str,
        group: int,
        flip: float,
    ) -> None: ...

class Plan:
    """The rows of a batch, in the memory where the work runs. Made by `mixfuse.plan`."""

    @property
    def samples(self) -> int: ...
    @property
    def capacity(self) -> int: ...
    @property
    def spatial(self) -> tuple[int, ...]: ...
    @property
    def device(self) -> str: ...
    def rows(self) -> Any:
        """NumPy structured array: partner, outside, inside, label, flip, lo (3), hi (3). Waits."""
    def rows_into(self, out: Any) -> None:
        """Copies them to an int32 tensor (B, 11) on the plan's device; does not wait."""
    def error(self) -> tuple[str, int, int] | None:
        """What only the device could find out: ("label", step, sample), or None. Waits."""
    def clear_error(self) -> None: ...

class Memory:
    def __init__(self, shape: tuple[int, ...], dtype: str) -> None: ...
    def __dlpack__(
        self,
        *,
        stream: Any = None,
        max_version: Any = None,
        dl_device: Any = None,
        copy: Any = None,
    ) -> Any: ...
    def __dlpack_device__(self) -> tuple[int, int]: ...

def info() -> dict[str, Any]: ...
def stream_of(stream: Any, tensor: Any, /) -> int:
    """The address of the stream that a call on `tensor` runs on; 0: the legacy default stream."""

def plan(*arguments: Any) -> Plan: ...
def mix(*arguments: Any) -> Any: ...

# Where mixfuse was built beside jaxlib's headers:
jax_handlers: dict[str, Any]

def jax_numbers(*arguments: Any) -> list[float]:
    """A call's options as the handlers read them."""

def jax_memory(samples: int, cuda: bool) -> int:
    """Bytes of memory that a call needs beside its tensors."""

def jax_check(*arguments: Any) -> None:
    """Raises what the call would, given (dtype, shape) of each tensor or None."""
