# SPDX-License-Identifier: Apache-2.0
"""The handlers that mixfuse.jax registers, called as XLA calls them: the one for CUDA needs no JAX
built for CUDA so."""

from __future__ import annotations

import contextlib
import ctypes
from typing import Any

import numpy
import pytest
import xla
from batches import ids, images
from producers import Memory

import mixfuse
from mixfuse import _core

if not hasattr(_core, "jax_handlers"):
    pytest.skip("mixfuse was built without jaxlib's headers", allow_module_level=True)

SPEC = mixfuse.Spec(mixup=0.4, cutmix=1.0, flip=0.5)
DRAW = {"seed": 2**63 + 5, "step": 2**40 + 7, "first": 2**33 + 1}
WORDS = numpy.array(list(DRAW.values()), "uint64").view("uint32")
BUFFERS_CAN_BE_CAPTURED = 1


class Host(Memory):
    def __init__(self, array: numpy.ndarray) -> None:
        self.array = array
        super().__init__(array.ctypes.data, array.shape, array.dtype.str[1:])


def call(
    place: Any, stream: int = 0, memory: int | None = None, queued: Any = None
) -> dict[str, Any]:
    """A step with all results, in the place's memory; tensors by name. `queued` is a context in
    which the handler is called."""
    cuda = place.device != "cpu"

    def put(array: numpy.ndarray) -> Any:
        return place.put(array) if cuda else Host(array)

    if memory is None:
        memory = _core.jax_memory(6, cuda)
    operands = {"draw": WORDS.copy(), "images": images(), "labels": ids().astype("int32")}
    results = {
        "mixed": numpy.zeros((6, 3, 9, 8), "float16"), "memory": numpy.zeros(memory, "uint8"),
        "targets": numpy.zeros((6, 5), "float32"), "rows": numpy.zeros((6, 11), "int32"),
        "error": numpy.ones(4, "uint32"),
    }  # fmt: skip
    tensors = {name: put(array) for name, array in (operands | results).items()}
    options = _core.jax_numbers(
        SPEC._core, "nchw", "nchw", 5, 0.0, None, None, None, True, False
    )
    if cuda and place.runtime.counts:
        place.runtime.reset()
    with queued or contextlib.nullcontext():
        xla.Handler(_core.jax_handlers["CUDA" if cuda else "cpu"], stream)(
            [tensors[name] for name in operands], [tensors[name] for name in results], options
        )
    return tensors


def read(place: Any, tensor: Any) -> numpy.ndarray:
    return tensor.array if isinstance(tensor, Host) else place.get(tensor)


def test_bits_are_those_of_the_eager_call(place: Any) -> None:
    tensors = call(place)
    mixed, targets = mixfuse.mix(
        images(), ids(), SPEC, **DRAW, num_classes=5, out_dtype="float16"
    )
    rows = mixfuse.plan(images(), SPEC, **DRAW).rows()
    assert (read(place, tensors["mixed"]) == mixed).all()
    assert (read(place, tensors["targets"]) == targets).all()
    assert read(place, tensors["rows"]).tobytes() == rows.tobytes()
    assert not read(place, tensors["error"]).any()
    assert (read(place, tensors["draw"]) == WORDS).all()
    assert (read(place, tensors["images"]) == images()).all()


def test_memory_that_is_too_small_is_refused(place: Any) -> None:
    with pytest.raises(RuntimeError, match=r"memory: \d+ bytes, expected \d+"):
        call(place, memory=300)


@pytest.mark.cuda
def test_all_work_is_on_xla_s_stream_and_nothing_waits(cuda: Any) -> None:
    if not cuda.runtime.counts:
        pytest.skip("this runtime does not count its calls")
    stream = cuda.runtime.stream()
    tensors = call(cuda, stream)
    assert cuda.runtime.calls_on(stream) == cuda.runtime.calls("ops") > 0
    counted = {name: cuda.runtime.calls(name) for name in ("launch", "malloc", "free", "sync")}
    assert counted == {"launch": 2, "malloc": 0, "free": 0, "sync": 0}
    assert len(tensors) == 8


@pytest.mark.cuda
def test_a_captured_call_follows_the_key_at_each_replay(cuda: Any) -> None:
    stream = ctypes.c_void_p(cuda.runtime.stream())
    graph, executable = ctypes.c_void_p(), ctypes.c_void_p()

    @contextlib.contextmanager
    def captured() -> Any:
        cuda.runtime.call("cudaStreamBeginCapture", stream, 0)
        yield
        cuda.runtime.call("cudaStreamEndCapture", stream, ctypes.byref(graph))

    tensors = call(cuda, stream.value, queued=captured())
    assert not cuda.get(tensors["mixed"]).any()
    no_flags = ctypes.c_ulonglong(0)
    cuda.runtime.call("cudaGraphInstantiate", ctypes.byref(executable), graph, no_flags)
    for step in (DRAW["step"], 3):
        words = numpy.array([DRAW["seed"], step, DRAW["first"]], "uint64")
        cuda.runtime.call(
            "cudaMemcpy", ctypes.c_void_p(tensors["draw"].address),
            ctypes.c_void_p(words.ctypes.data), ctypes.c_size_t(words.nbytes), 1,
        )  # fmt: skip
        cuda.runtime.call("cudaGraphLaunch", executable, stream)
        draw = {**DRAW, "step": step}
        wanted = mixfuse.mix(images(), ids(), SPEC, **draw, num_classes=5, out_dtype="float16")
        assert (cuda.get(tensors["mixed"]) == wanted[0]).all()
        assert (cuda.get(tensors["targets"]) == wanted[1]).all()


def test_a_call_on_cuda_can_be_captured() -> None:
    assert xla.Handler(_core.jax_handlers["CUDA"]).traits() == BUFFERS_CAN_BE_CAPTURED
    assert xla.Handler(_core.jax_handlers["cpu"]).traits() == 0
