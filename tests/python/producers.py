# SPDX-License-Identifier: Apache-2.0
"""Tensors of no framework: each hands its memory over by one way of DLPack's, and counts."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy

CPU, CUDA, PINNED = 1, 2, 3
READ_ONLY, IS_COPIED = 1, 2

_CODES = {"i": 0, "u": 1, "f": 2, "b": 6}


class _DLTensor(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    ]


_DELETER = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


class _Managed(ctypes.Structure):
    _fields_ = [("tensor", _DLTensor), ("context", ctypes.c_void_p), ("deleter", _DELETER)]


class _Versioned(ctypes.Structure):
    _fields_ = [
        ("major", ctypes.c_uint32),
        ("minor", ctypes.c_uint32),
        ("context", ctypes.c_void_p),
        ("deleter", _DELETER),
        ("flags", ctypes.c_uint64),
        ("tensor", _DLTensor),
    ]


class _Exchange(ctypes.Structure):
    _fields_ = [("major", ctypes.c_uint32), ("minor", ctypes.c_uint32)] + [
        (name, ctypes.c_void_p)
        for name in ("previous", "allocate", "managed", "to_object", "tensor", "stream")
    ]


_new_capsule = ctypes.pythonapi.PyCapsule_New
_new_capsule.restype = ctypes.py_object
_new_capsule.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]


class Memory:
    """`data` bytes somewhere, and the capsules that were made of it, which it keeps."""

    def __init__(
        self,
        address: int,
        shape: tuple[int, ...],
        dtype: str,
        device: tuple[int, int] = (CPU, 0),
        version: tuple[int, int] = (1, 3),
        flags: int = 0,
    ) -> None:
        self.address, self.shape, self.dtype, self.dl_device = address, shape, dtype, device
        self.version, self.flags = version, flags
        self.asked: list[dict[str, Any]] = []  #: the keyword arguments of each call
        self.deleted = 0
        self._kept: list[Any] = []

    def _count(self, _: int) -> None:
        self.deleted += 1

    def _tensor(self) -> _DLTensor:
        kind = numpy.dtype(self.dtype)
        shape = (ctypes.c_int64 * len(self.shape))(*self.shape)
        self._kept.append(shape)
        return _DLTensor(
            self.address, *self.dl_device, len(self.shape), _CODES[kind.kind], 8 * kind.itemsize, 1,
            shape, None, 0,
        )  # fmt: skip

    def capsule(self, versioned: bool) -> Any:
        deleter = _DELETER(self._count)
        if versioned:
            managed = _Versioned(*self.version, None, deleter, self.flags, self._tensor())
        else:
            managed = _Managed(self._tensor(), None, deleter)
        name = b"dltensor_versioned" if versioned else b"dltensor"
        self._kept += [deleter, managed, name]
        return _new_capsule(ctypes.addressof(managed), name, None)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.dl_device


class Versioned(Memory):
    def __dlpack__(self, *, stream: Any = None, max_version: Any = None) -> Any:
        self.asked.append({"stream": stream, "max_version": max_version})
        return self.capsule(versioned=True)


class Legacy(Memory):
    """From before max_version."""

    def __dlpack__(self, stream: Any = None) -> Any:
        self.asked.append({"stream": stream})
        return self.capsule(versioned=False)


class Oldest(Memory):
    """From before stream."""

    def __dlpack__(self) -> Any:
        self.asked.append({})
        return self.capsule(versioned=False)


def of_array(array: numpy.ndarray, kind: type[Memory] = Versioned, **how: Any) -> Any:
    """The array's own memory, C order; the array must outlive it."""
    assert array.flags.c_contiguous
    return kind(array.ctypes.data, array.shape, array.dtype.str[1:], **how)


class Runtime:
    """The CUDA runtime that the module under test is linked with."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(None)  # an emulator is preloaded
        try:
            self._library.cudaMalloc
        except AttributeError:
            self._library = ctypes.CDLL("libcudart.so.13")
        self.count = ctypes.c_int(0)
        if self._library.cudaGetDeviceCount(ctypes.byref(self.count)) != 0:
            self.count.value = 0

    def call(self, name: str, *arguments: Any) -> None:
        code = getattr(self._library, name)(*arguments)
        assert code == 0, f"{name}: {code}"

    def stream(self) -> int:
        stream = ctypes.c_void_p()
        self.call("cudaStreamCreateWithFlags", ctypes.byref(stream), 1)
        return stream.value or 0

    def reset(self) -> None:
        """Counting starts anew, where the runtime counts its calls."""
        self._library.ptxrun_trace_reset()

    def calls(self, name: str) -> int:
        count = self._library.ptxrun_trace_count
        count.restype = ctypes.c_long
        return count(name.encode())

    def calls_on(self, stream: int) -> int:
        count = self._library.ptxrun_trace_on
        count.restype = ctypes.c_long
        return count(ctypes.c_void_p(stream))

    @property
    def counts(self) -> bool:
        return hasattr(self._library, "ptxrun_trace_reset")


class CudaArray(Versioned):
    """Memory of cudaMalloc."""

    def __init__(self, runtime: Runtime, array: numpy.ndarray, **how: Any) -> None:
        self.runtime, self.like = runtime, array
        self.bytes = max(array.nbytes, 1)
        pointer = ctypes.c_void_p()
        runtime.call("cudaMalloc", ctypes.byref(pointer), ctypes.c_size_t(self.bytes))
        super().__init__(
            pointer.value or 0, array.shape, array.dtype.str[1:], device=(CUDA, 0), **how
        )
        host = numpy.ascontiguousarray(array)
        runtime.call(
            "cudaMemcpy", pointer, ctypes.c_void_p(host.ctypes.data),
            ctypes.c_size_t(host.nbytes), 1,
        )  # fmt: skip

    def numpy(self) -> numpy.ndarray:
        array = numpy.empty(self.shape, self.dtype)
        self.runtime.call("cudaDeviceSynchronize")
        self.runtime.call(
            "cudaMemcpy", ctypes.c_void_p(array.ctypes.data), ctypes.c_void_p(self.address),
            ctypes.c_size_t(array.nbytes), 2,
        )  # fmt: skip
        return array

    def __del__(self) -> None:
        self.runtime.call("cudaFree", ctypes.c_void_p(self.address))


def exchanging(stream: int = 0, major: int = 1, previous: Any = None, lends: bool = True) -> type:
    """A type that has DLPack 1.3's table of C functions, `stream` being its current stream; behind
    it the table of `previous`, such a type too."""

    def object_at(address: int) -> Any:
        return ctypes.cast(address, ctypes.py_object).value

    @ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.POINTER(ctypes.c_void_p))
    def managed_from_object(address: int, out: Any) -> int:
        tensor = object_at(address)
        tensor.asked.append({"by": "managed_from_object"})
        deleter = _DELETER(tensor._count)
        managed = _Versioned(*tensor.version, None, deleter, tensor.flags, tensor._tensor())
        tensor._kept += [deleter, managed]
        out[0] = ctypes.addressof(managed)
        return 0

    @ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.POINTER(_DLTensor))
    def tensor_from_object(address: int, out: Any) -> int:
        tensor = object_at(address)
        tensor.asked.append({"by": "tensor_from_object"})
        out[0] = tensor._tensor()
        return 0

    @ctypes.CFUNCTYPE(
        ctypes.c_int, ctypes.c_int32, ctypes.c_int32, ctypes.POINTER(ctypes.c_void_p)
    )
    def current_stream(_: int, __: int, out: Any) -> int:
        out[0] = stream
        return 0

    def address(function: Any) -> int:
        return ctypes.cast(function, ctypes.c_void_p).value or 0

    table = _Exchange(
        major, 3, ctypes.addressof(previous.table) if previous is not None else None, None,
        address(managed_from_object), None, address(tensor_from_object) if lends else None,
        address(current_stream),
    )  # fmt: skip
    name = b"dlpack_exchange_api"
    return type(
        "Exchanging",
        (Memory,),
        {
            "__dlpack_c_exchange_api__": _new_capsule(ctypes.addressof(table), name, None),
            "table": table,
            "kept": (name, previous, managed_from_object, tensor_from_object, current_stream),
        },
    )
