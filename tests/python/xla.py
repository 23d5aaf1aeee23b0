# SPDX-License-Identifier: Apache-2.0
"""As much of XLA as a handler sees of it: a call with buffers, attributes, a device and a stream.
So the handler for CUDA runs without JAX's own build for CUDA. Structures as in xla/ffi/api/c_api.h
of jaxlib 0.10.2, version 0.3."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy

_DTYPES = {
    "uint8": 6, "int32": 4, "int64": 5, "uint32": 8, "float16": 10, "float32": 11, "float64": 12,
}  # fmt: skip
_BUFFER, _ARRAY, _EXECUTE, _METADATA = 1, 1, 3, 1
_STREAM_GET, _ERROR_CREATE, _DEVICE_ORDINAL_GET, _FUNCTIONS = 4, 0, 17, 18

_Pointer = ctypes.c_void_p


class _Base(ctypes.Structure):
    _fields_ = [("struct_size", ctypes.c_size_t), ("extension", _Pointer)]


class _Version(_Base):
    _fields_ = [("major", ctypes.c_int), ("minor", ctypes.c_int)]


class _Api(_Base):
    _fields_ = [
        ("version", _Version),
        ("internal", _Pointer),
        ("functions", _Pointer * _FUNCTIONS),
    ]


class _Buffer(_Base):
    _fields_ = [
        ("dtype", ctypes.c_int),
        ("data", _Pointer),
        ("rank", ctypes.c_int64),
        ("dims", ctypes.POINTER(ctypes.c_int64)),
    ]


class _List(_Base):
    _fields_ = [
        ("size", ctypes.c_int64),
        ("types", ctypes.POINTER(ctypes.c_int)),
        ("items", ctypes.POINTER(_Pointer)),
    ]


class _Attributes(_Base):
    _fields_ = [
        ("size", ctypes.c_int64),
        ("types", ctypes.POINTER(ctypes.c_int)),
        ("names", ctypes.POINTER(_Pointer)),
        ("items", ctypes.POINTER(_Pointer)),
    ]


class _Text(ctypes.Structure):
    _fields_ = [("text", ctypes.c_char_p), ("size", ctypes.c_size_t)]


class _Array(ctypes.Structure):
    _fields_ = [("dtype", ctypes.c_int), ("size", ctypes.c_size_t), ("data", _Pointer)]


class _CallFrame(_Base):
    _fields_ = [
        ("api", ctypes.POINTER(_Api)),
        ("context", _Pointer),
        ("stage", ctypes.c_int),
        ("operands", _List),
        ("results", _List),
        ("attributes", _Attributes),
        ("future", _Pointer),
    ]


class _Extension(ctypes.Structure):
    _fields_ = [
        ("struct_size", ctypes.c_size_t),
        ("type", ctypes.c_int),
        ("next", _Pointer),
        ("metadata", _Pointer),
    ]


class _Metadata(ctypes.Structure):
    _fields_ = [
        ("struct_size", ctypes.c_size_t),
        ("version", _Version),
        ("traits", ctypes.c_uint32),
        ("state", ctypes.c_int64),
    ]


class _ErrorCreate(_Base):
    _fields_ = [("message", ctypes.c_char_p), ("code", ctypes.c_int)]


class _StreamGet(_Base):
    _fields_ = [("context", _Pointer), ("stream", _Pointer)]


class _DeviceOrdinalGet(_Base):
    _fields_ = [("context", _Pointer), ("ordinal", ctypes.c_int32)]


_pointer_of = ctypes.pythonapi.PyCapsule_GetPointer
_pointer_of.restype = ctypes.c_void_p
_pointer_of.argtypes = [ctypes.py_object, ctypes.c_char_p]


class Handler:
    """One of _core.jax_handlers, on device 0. An error is raised as RuntimeError(code, text)."""

    def __init__(self, capsule: Any, stream: int = 0) -> None:
        self._call = ctypes.CFUNCTYPE(_Pointer, ctypes.POINTER(_CallFrame))(
            _pointer_of(capsule, None)
        )
        self._errors: list[tuple[int, str]] = []

        def error_create(arguments: Any) -> int:
            self._errors.append((arguments[0].code, arguments[0].message.decode()))
            return 1  # some address

        def stream_get(arguments: Any) -> None:
            arguments[0].stream = stream

        def device_ordinal_get(arguments: Any) -> None:
            arguments[0].ordinal = 0

        def function(kind: Any, body: Any) -> Any:
            return ctypes.CFUNCTYPE(_Pointer, ctypes.POINTER(kind))(body)

        self._functions = {
            _ERROR_CREATE: function(_ErrorCreate, error_create),
            _STREAM_GET: function(_StreamGet, stream_get),
            _DEVICE_ORDINAL_GET: function(_DeviceOrdinalGet, device_ordinal_get),
        }
        self._api = _Api(ctypes.sizeof(_Api), None, _Version(ctypes.sizeof(_Version), None, 0, 3))
        for index, made in self._functions.items():
            self._api.functions[index] = ctypes.cast(made, _Pointer)

    def _frame(self) -> _CallFrame:
        return _CallFrame(_CallFrame.future.offset, None, ctypes.pointer(self._api), None, _EXECUTE)

    def _run(self, frame: _CallFrame) -> None:
        failed = self._call(ctypes.byref(frame))
        if failed:
            raise RuntimeError(*self._errors.pop())

    def traits(self) -> int:
        metadata = _Metadata(ctypes.sizeof(_Metadata))
        extension = _Extension(
            ctypes.sizeof(_Extension), _METADATA, None, ctypes.addressof(metadata)
        )
        frame = self._frame()
        frame.extension = ctypes.addressof(extension)
        self._run(frame)
        return metadata.traits

    def __call__(self, operands: list[Any], results: list[Any], options: list[float]) -> None:
        """Tensors have `address`, `shape` and `dtype`."""
        kept: list[Any] = []

        def keep(thing: Any) -> Any:
            kept.append(thing)
            return thing

        def address(thing: Any) -> int:
            return ctypes.addressof(keep(thing))

        def buffer(tensor: Any) -> int:
            dims = keep((ctypes.c_int64 * len(tensor.shape))(*tensor.shape))
            dtype = _DTYPES[numpy.dtype(tensor.dtype).name]
            size = ctypes.sizeof(_Buffer)
            return address(_Buffer(size, None, dtype, tensor.address, len(tensor.shape), dims))

        def buffers(tensors: list[Any]) -> _List:
            types = keep((ctypes.c_int * len(tensors))(*[_BUFFER] * len(tensors)))
            items = keep((_Pointer * len(tensors))(*map(buffer, tensors)))
            return _List(ctypes.sizeof(_List), None, len(tensors), types, items)

        numbers = address((ctypes.c_double * len(options))(*options))
        array = address(_Array(_DTYPES["float64"], len(options), numbers))
        name = address(_Text(b"options", len(b"options")))
        frame = self._frame()
        frame.operands, frame.results = buffers(operands), buffers(results)
        frame.attributes = _Attributes(
            ctypes.sizeof(_Attributes), None, 1, keep((ctypes.c_int * 1)(_ARRAY)),
            keep((_Pointer * 1)(name)), keep((_Pointer * 1)(array)),
        )  # fmt: skip
        self._run(frame)
