# SPDX-License-Identifier: Apache-2.0
"""Which stream a call belongs to, with fakes: no CUDA is asked."""

from __future__ import annotations

import sys
import types
from typing import Any

import numpy
import pytest
from producers import CUDA, Versioned, exchanging, of_array

from mixfuse._core import stream_of

ARRAY = numpy.zeros(4, "float32")


def tensor(kind: Any = Versioned, index: int = 0) -> Any:
    return of_array(ARRAY, kind, device=(CUDA, index))


class Protocol:
    def __cuda_stream__(self) -> tuple[int, int]:
        return 0, 0x7000


@pytest.mark.parametrize(
    ("given", "address"),
    [
        (0x5000, 0x5000),
        (0, 0),  # of torch's and CuPy's default stream
        (1, 0),  # its other name
        (2, 2),  # the per-thread default stream
        (Protocol(), 0x7000),
        (types.SimpleNamespace(cuda_stream=0x6000), 0x6000),
        (types.SimpleNamespace(ptr=0x8000), 0x8000),
    ],
)
def test_the_one_given_comes_first(given: Any, address: int) -> None:
    assert stream_of(given, tensor(exchanging(stream=0x9000))) == address


def test_else_the_exchange_api_knows() -> None:
    assert stream_of(None, tensor(exchanging(stream=0x9000))) == 0x9000


@pytest.mark.parametrize("framework", ["torch", "cupy"])
def test_else_the_tensor_s_framework_if_it_is_loaded(
    monkeypatch: pytest.MonkeyPatch, framework: str
) -> None:
    def current(index: int) -> Any:
        return types.SimpleNamespace(cuda_stream=0x100 + index, ptr=0x100 + index)

    fake = types.SimpleNamespace(
        cuda=types.SimpleNamespace(current_stream=current, get_current_stream=current)
    )
    monkeypatch.setattr(Versioned, "__module__", f"{framework}.something")
    monkeypatch.setitem(sys.modules, framework, fake)
    assert stream_of(None, tensor(index=3)) == 0x103
    monkeypatch.delitem(sys.modules, framework)
    assert stream_of(None, tensor(index=3)) == 0
    assert framework not in sys.modules


def test_an_older_cupy_knows_the_current_device_only(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = types.SimpleNamespace(get_current_stream=lambda: types.SimpleNamespace(ptr=0x300))
    monkeypatch.setattr(Versioned, "__module__", "cupy._core")
    monkeypatch.setitem(sys.modules, "cupy", types.SimpleNamespace(cuda=cuda))
    assert stream_of(None, tensor()) == 0x300


def test_else_it_is_the_legacy_default_one() -> None:
    assert stream_of(None, tensor()) == 0


@pytest.mark.parametrize(
    ("given", "error", "text"),
    [
        (-1, ValueError, "stream: -1"),
        (True, TypeError, "stream: bool"),
        (1.5, TypeError, "stream: float, expected an int, or an object"),
        ("stream", TypeError, "stream: str"),
    ],
)
def test_what_is_no_stream_is_refused(given: Any, error: type, text: str) -> None:
    with pytest.raises(error, match=f"^{text}"):
        stream_of(given, tensor())


def test_host_memory_has_none() -> None:
    assert stream_of(None, ARRAY) == 0
    with pytest.raises(ValueError, match="^stream: given, but the tensors are in host memory"):
        stream_of(3, ARRAY)
