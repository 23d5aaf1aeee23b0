# SPDX-License-Identifier: Apache-2.0
"""How tensors come in: who is asked for what, who deletes, and what is refused."""

from __future__ import annotations

import gc
import sys
import types
from typing import Any

import numpy
import pytest
from batches import ids, images
from producers import (
    IS_COPIED,
    PINNED,
    READ_ONLY,
    Legacy,
    Memory,
    Oldest,
    Versioned,
    exchanging,
    of_array,
)

import mixfuse


def wanted(batch: numpy.ndarray) -> numpy.ndarray:
    return mixfuse.mix(batch, mixup=1.0)


def mix_into(out: Any, batch: Any) -> Any:
    return mixfuse.mix(batch, mixup=1.0, out=out)


@pytest.mark.parametrize(
    ("kind", "asked"),
    [
        (Versioned, {"stream": None, "max_version": (1, 3)}),
        (Legacy, {"stream": None}),
        (Oldest, {}),
    ],
)
def test_a_producer_is_asked_as_it_can_answer(kind: type[Memory], asked: Any) -> None:
    batch, result = images(), numpy.empty((6, 3, 9, 8), "float32")
    source, out = of_array(batch, kind), of_array(result, kind)
    assert mix_into(out, source) is out
    assert (result == wanted(batch)).all()
    assert source.asked == [asked] and out.asked == [asked]
    assert (source.deleted, out.deleted) == (1, 1)


@pytest.mark.parametrize("lends", [True, False])
def test_the_exchange_api_comes_first(lends: bool) -> None:
    kind = exchanging(lends=lends)
    batch, result = images(), numpy.empty((6, 3, 9, 8), "float32")
    source, out = of_array(batch, kind), of_array(result, kind)
    mix_into(out, source)
    assert (result == wanted(batch)).all()
    assert source.asked == [{"by": "tensor_from_object" if lends else "managed_from_object"}]
    assert out.asked == [{"by": "managed_from_object"}]
    assert (source.deleted, out.deleted) == (0 if lends else 1, 1)


def test_an_older_exchange_api_is_found_behind_a_newer() -> None:
    newer = exchanging(major=2, previous=exchanging())
    gc.collect()
    batch = images()
    source = of_array(batch, newer)
    assert (mix_into(numpy.empty_like(batch), source) == wanted(batch)).all()
    assert source.asked == [{"by": "tensor_from_object"}]


def test_an_unknown_exchange_api_is_left_alone() -> None:
    class Both(exchanging(major=2), Versioned): ...

    batch = images()
    source = of_array(batch, Both)
    assert (mix_into(numpy.empty_like(batch), source) == wanted(batch)).all()
    assert source.asked == [{"stream": None, "max_version": (1, 3)}]


@pytest.mark.parametrize("versioned", [True, False])
def test_a_capsule_is_taken_once(versioned: bool) -> None:
    batch = images()
    source = of_array(batch)
    capsule = source.capsule(versioned)
    assert (mix_into(numpy.empty_like(batch), capsule) == wanted(batch)).all()
    assert source.deleted == 1 and "used_dltensor" in repr(capsule)
    with pytest.raises(ValueError, match="^images: a capsule that was used before"):
        mix_into(numpy.empty_like(batch), capsule)
    assert source.deleted == 1


def test_a_producer_that_hands_out_a_used_capsule_is_refused() -> None:
    batch = images()

    class Twice(Versioned):
        def __dlpack__(self, **_: Any) -> Any:
            return capsule

    source = of_array(batch, Twice)
    capsule = source.capsule(versioned=True)
    mix_into(numpy.empty_like(batch), source)
    with pytest.raises(ValueError, match="^images: a capsule that was used before"):
        mix_into(numpy.empty_like(batch), source)


def test_what_was_taken_is_deleted_when_the_call_fails() -> None:
    batch = images()
    source, labels = of_array(batch), of_array(ids(5))
    with pytest.raises(ValueError, match="^labels: shape .5., the plan has 6"):
        mixfuse.mix(source, labels, mixup=1.0, out=numpy.empty_like(batch),
                    targets_out=numpy.empty((6, 5), "float32"))  # fmt: skip
    assert (source.deleted, labels.deleted) == (1, 1)


def test_of_an_unknown_version_only_the_deleter_is_used() -> None:
    source = of_array(images(), version=(2, 0))
    with pytest.raises(NotImplementedError, match="^images: DLPack 2.0, expected 1.x"):
        mix_into(images(), source)
    assert source.deleted == 1


@pytest.mark.parametrize(
    ("flag", "text"), [(READ_ONLY, "out: read-only"), (IS_COPIED, "out: its producer hands out a")]
)
def test_an_output_must_be_the_tensor_itself(flag: int, text: str) -> None:
    batch, result = images(), numpy.zeros((6, 3, 9, 8), "float32")
    out = of_array(result, flags=flag)
    with pytest.raises(ValueError, match=f"^{text}"):
        mix_into(out, batch)
    assert out.deleted == 1 and not result.any()
    assert (mix_into(numpy.empty_like(batch), of_array(batch, flags=flag)) == wanted(batch)).all()


def test_read_only_numpy_is_read_and_never_written() -> None:
    batch, result = images(), images()
    batch.flags.writeable = result.flags.writeable = False
    with pytest.raises(ValueError, match="^out: read-only"):
        mix_into(result, batch)
    with pytest.raises(ValueError, match="^images: read-only"):
        mix_into(batch, batch)
    assert (mix_into(numpy.empty_like(batch), batch) == wanted(batch)).all()


def test_a_jax_array_is_refused_as_output_by_its_name() -> None:
    kind = type("ArrayImpl", (Versioned,), {"__module__": "jaxlib._jax"})
    batch = images()
    source, out = of_array(batch, kind), of_array(images(), kind)
    assert (mix_into(numpy.empty_like(batch), source) == wanted(batch)).all()
    with pytest.raises(TypeError, match="^out: a JAX array, which is immutable"):
        mix_into(out, batch)
    assert out.asked == []


def test_tensorflow_from_before_dlpack_s_methods(monkeypatch: pytest.MonkeyPatch) -> None:
    class Eager:
        def __init__(self, array: numpy.ndarray) -> None:
            self.array = array

    def from_dlpack(capsule: Any) -> Eager:
        class Holder:
            def __dlpack__(self, **_: Any) -> Any:
                return capsule

            def __dlpack_device__(self) -> tuple[int, int]:
                return 1, 0

        return Eager(numpy.from_dlpack(Holder()))

    Eager.__module__ = "tensorflow.python.framework.ops"
    dlpack = types.SimpleNamespace(
        to_dlpack=lambda tensor: tensor.array.__dlpack__(), from_dlpack=from_dlpack
    )
    fake = types.SimpleNamespace(experimental=types.SimpleNamespace(dlpack=dlpack))
    batch = Eager(images())
    with pytest.raises(TypeError, match="^images: .*Eager, expected a tensor"):
        mixfuse.mix(batch, mixup=1.0)
    monkeypatch.setitem(sys.modules, "tensorflow", fake)
    mixed = mixfuse.mix(batch, mixup=1.0)
    assert isinstance(mixed, Eager) and (mixed.array == wanted(images())).all()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("images", [[1.0]]),
        ("labels", [1, 2]),
        ("partners", 3),
        ("out", "text"),
        ("targets_out", object()),
    ],
)
def test_what_is_no_tensor_is_named(name: str, value: Any) -> None:
    arguments = {"images": images(), "labels": ids(), "num_classes": 5, name: value}
    with pytest.raises(TypeError, match=f"^{name}: {type(value).__name__}, expected a tensor"):
        mixfuse.mix(**arguments, mixup=1.0)


def test_an_error_of_the_producer_is_passed_on() -> None:
    class Broken(Versioned):
        def __dlpack__(self, **_: Any) -> Any:
            raise BufferError("not today\nframe #0")

    with pytest.raises(BufferError, match="^images: not today$"):
        mixfuse.mix(of_array(images(), Broken), mixup=1.0, out=images())


def test_a_dtype_that_is_not_built_is_named() -> None:
    with pytest.raises(NotImplementedError, match="^images: int16"):
        mixfuse.mix(images().astype("int16"), mixup=1.0)


def test_pinned_memory_is_the_cpu_s() -> None:
    batch = images()
    source = of_array(batch, device=(PINNED, 0))
    assert (mix_into(numpy.empty_like(batch), source) == wanted(batch)).all()
    assert source.asked == [{"stream": None, "max_version": (1, 3)}]


def test_another_device_is_named_before_anybody_is_asked() -> None:
    batch = images()
    labels = of_array(ids(), device=(2, 0))
    with pytest.raises(ValueError, match="^labels: on cuda:0, expected cpu"):
        mixfuse.mix(batch, labels, mixup=1.0, num_classes=5)
    assert labels.asked == []


def test_a_cuda_tensor_on_a_machine_without_cuda_is_an_error() -> None:
    if mixfuse.info()["devices"]:
        pytest.skip("there is a CUDA device")
    source = of_array(images(), device=(2, 0))
    error = RuntimeError if "cuda" in mixfuse.info()["backends"] else NotImplementedError
    with pytest.raises(error, match="CUDA|cuda"):
        mixfuse.mix(source, mixup=1.0, out=of_array(images(), device=(2, 0)))


def test_memory_is_handed_over_without_a_copy() -> None:
    from mixfuse._core import Memory as Ours

    for version in (None, (1, 3)):
        memory = Ours((2, 3), "float32")
        capsule = memory.__dlpack__(max_version=version)
        assert ("versioned" in repr(capsule)) == (version is not None)
        del capsule  # nobody took it
        array = numpy.from_dlpack(memory)
        assert array.shape == (2, 3) and array.ctypes.data % 256 == 0
        array = array.view()
        address = array.ctypes.data
        del memory
        gc.collect()
        assert numpy.from_dlpack(array).ctypes.data == address


def test_references_are_given_back() -> None:
    batch, labels, result = images(), ids(), numpy.empty((6, 3, 9, 8), "float32")
    targets = numpy.empty((6, 5), "float32")
    before = [sys.getrefcount(x) for x in (batch, labels, result, targets)]
    for _ in range(10):
        mixfuse.mix(batch, labels, mixup=1.0, out=result, targets_out=targets)
    assert [sys.getrefcount(x) for x in (batch, labels, result, targets)] == before
