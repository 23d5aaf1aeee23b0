# SPDX-License-Identifier: Apache-2.0
"""What a call does on a CUDA stream. Run where there is a device, or what stands in for one."""

from __future__ import annotations

import contextlib
import gc
import sys
import types
from typing import Any

import numpy
import pytest
from batches import ids, images
from producers import CUDA, CudaArray, exchanging

import mixfuse

pytestmark = pytest.mark.cuda
SPEC = mixfuse.Spec(mixup=0.4, cutmix=1.0)


def step(cuda: Any, **how: Any) -> tuple[Any, Any]:
    out, targets = cuda.put(images()), cuda.put(numpy.zeros((6, 5), "float32"))
    mixfuse.mix(cuda.put(images()), cuda.put(ids()), out=out, targets_out=targets, **how)
    return out, targets


def test_nothing_is_copied_or_waited_for(cuda: Any) -> None:
    if not cuda.runtime.counts:
        pytest.skip("this runtime does not count its calls")
    tensors = [cuda.put(array) for array in (images(), ids(), images())]
    targets = cuda.put(numpy.zeros((6, 5), "float32"))
    plan = mixfuse.plan(tensors[0], SPEC)
    cuda.runtime.reset()
    draw = cuda.put(numpy.array([1, 2, 3]))
    cuda.runtime.reset()
    mixfuse.plan(tensors[0], SPEC, draw=draw, out=plan)
    made = mixfuse.mix(*tensors[:2], plan=plan, out=tensors[2], targets_out=targets)
    counted = {
        name: cuda.runtime.calls(name)
        for name in ("launch", "memcpy", "memset", "malloc", "free", "sync")
    }
    assert counted == {"launch": 2, "memcpy": 0, "memset": 0, "malloc": 0, "free": 0, "sync": 0}
    assert made[0] is tensors[2] and made[1] is targets
    assert cuda.get(draw).tolist() == [1, 3, 3]
    wanted = mixfuse.mix(images(), ids(), SPEC, seed=1, step=2, first=3, num_classes=5)
    assert (cuda.get(tensors[2]) == wanted[0]).all() and (cuda.get(targets) == wanted[1]).all()


def test_the_stream_given_gets_all_work_and_producers_hear_of_it(cuda: Any) -> None:
    stream = cuda.runtime.stream()
    tensors = [cuda.put(array) for array in (images(), ids(), images())]
    targets = cuda.put(numpy.zeros((6, 5), "float32"))
    if cuda.runtime.counts:
        cuda.runtime.reset()
    mixfuse.mix(*tensors[:2], SPEC, out=tensors[2], targets_out=targets, stream=stream)
    if cuda.runtime.counts:
        assert cuda.runtime.calls_on(stream) == cuda.runtime.calls("ops") > 0
    for tensor in (*tensors, targets):
        assert tensor.asked == [{"stream": stream, "max_version": (1, 3)}]


def test_without_one_the_legacy_default_stream_is_named_as_dlpack_wants(cuda: Any) -> None:
    out, targets = step(cuda, spec=SPEC)
    assert out.asked == targets.asked == [{"stream": 1, "max_version": (1, 3)}]


def test_the_current_stream_of_the_exchange_api_is_used(cuda: Any) -> None:
    stream = cuda.runtime.stream()
    memory = cuda.put(images())
    kind = exchanging(stream=stream)
    batch = kind(memory.address, memory.shape, memory.dtype, device=(CUDA, 0))
    out = cuda.put(images())
    if cuda.runtime.counts:
        cuda.runtime.reset()
    mixfuse.mix(batch, spec=SPEC, out=out)
    if cuda.runtime.counts:
        assert cuda.runtime.calls_on(stream) == cuda.runtime.calls("ops") > 0
    assert out.asked == [{"stream": stream, "max_version": (1, 3)}]
    assert (cuda.get(out) == mixfuse.mix(images(), spec=SPEC)).all()


def test_tensors_live_until_the_stream_given_has_used_them(cuda: Any) -> None:
    stream = types.SimpleNamespace(ptr=cuda.runtime.stream())
    died: list[str] = []

    class Mortal(CudaArray):
        def __del__(self) -> None:
            died.append("it")
            super().__del__()

    batch = Mortal(cuda.runtime, images())
    mixfuse.mix(batch, spec=SPEC, out=cuda.put(images()), stream=stream)
    del batch
    gc.collect()
    assert died == []
    cuda.runtime.call("cudaDeviceSynchronize")
    mixfuse.mix(cuda.put(images()), spec=SPEC, out=cuda.put(images()), stream=stream)
    gc.collect()
    assert died == ["it"]


def test_a_framework_s_memory_holds_the_plan(cuda: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from mixfuse import _frameworks

    made: list[Any] = []

    def make(like: Any, shape: Any, dtype: str) -> Any:
        made.append(cuda.put(numpy.zeros(shape, dtype)))
        return made[-1]

    monkeypatch.setitem(_frameworks._EMPTY, _frameworks.framework_of(cuda.put(ids())), make)
    batch = cuda.put(images())
    if cuda.runtime.counts:
        cuda.runtime.reset()
    plan = mixfuse.plan(batch, SPEC, seed=3)
    assert [tensor.dtype for tensor in made] == ["u1"]
    if cuda.runtime.counts:
        assert cuda.runtime.calls("malloc") == 1  # the framework's
    mixed, targets = mixfuse.mix(batch, cuda.put(ids()), plan=plan, num_classes=5)
    assert mixed is made[1] and targets is made[2]
    wanted = mixfuse.mix(images(), ids(), SPEC, seed=3, num_classes=5)
    assert (cuda.get(mixed) == wanted[0]).all() and (cuda.get(targets) == wanted[1]).all()


def test_cupy_s_arrays_on_its_current_stream(cuda: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a stand-in for CuPy: what it is asked, and what comes back."""
    current, other = cuda.runtime.stream(), cuda.runtime.stream()
    used: list[Any] = []

    class Ndarray(CudaArray):
        device = contextlib.nullcontext()

    def empty(shape: Any, dtype: str) -> Ndarray:
        used.append(dtype)
        return Ndarray(cuda.runtime, numpy.zeros(shape, dtype))

    @contextlib.contextmanager
    def external_stream(address: int) -> Any:
        used.append(address)
        yield

    Ndarray.__module__ = "cupy._core.core"
    streams = types.SimpleNamespace(
        get_current_stream=lambda _: types.SimpleNamespace(ptr=current),
        ExternalStream=external_stream,
    )
    monkeypatch.setitem(sys.modules, "cupy", types.SimpleNamespace(empty=empty, cuda=streams))
    batch, labels = (Ndarray(cuda.runtime, array) for array in (images(), ids()))
    mixed, targets = mixfuse.mix(batch, labels, SPEC, num_classes=5)
    assert used == ["float32", "float32", "uint8"]  # images, targets and the plan's memory
    assert type(mixed) is type(targets) is Ndarray
    assert {call["stream"] for call in batch.asked + labels.asked + mixed.asked} == {current}
    wanted = mixfuse.mix(images(), ids(), SPEC, num_classes=5)
    assert (cuda.get(mixed) == wanted[0]).all() and (cuda.get(targets) == wanted[1]).all()
    mixfuse.mix(batch, spec=SPEC, out=mixed, stream=types.SimpleNamespace(ptr=other))
    assert used[3:] == [other, "uint8"] and mixed.asked[-1]["stream"] == other


def test_devices_do_not_mix(cuda: Any) -> None:
    batch = cuda.put(images())
    with pytest.raises(ValueError, match="^labels: on cpu, expected cuda:0"):
        mixfuse.mix(batch, ids(), SPEC, out=cuda.put(images()), num_classes=5)
    with pytest.raises(ValueError, match="^out: on cpu, expected cuda:0"):
        mixfuse.mix(batch, spec=SPEC, out=images())
    with pytest.raises(ValueError, match="^plan: |cpu"):
        mixfuse.mix(batch, plan=mixfuse.plan(images(), SPEC), out=cuda.put(images()))


def test_nobody_knows_how_to_make_a_stranger_s_tensor(cuda: Any) -> None:
    with pytest.raises(TypeError, match="^out: missing, .* CudaArray; expected out="):
        mixfuse.mix(cuda.put(images()), spec=SPEC)


def test_a_bad_call_queues_nothing(cuda: Any) -> None:
    batch, draw = cuda.put(images()), cuda.put(numpy.array([1, 2, 3]))
    out = cuda.put(images())
    before = cuda.get(out).copy()
    with pytest.raises(ValueError, match="^targets_out: shape"):
        mixfuse.mix(
            batch, cuda.put(ids()), SPEC, draw=draw, out=out,
            targets_out=cuda.put(numpy.zeros((5, 5), "float32")),
        )  # fmt: skip
    assert cuda.get(draw).tolist() == [1, 2, 3] and (cuda.get(out) == before).all()
