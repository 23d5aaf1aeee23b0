# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import functools
import os
import sys
from collections.abc import Generator
from typing import Any

import numpy
import pytest
from producers import CudaArray, Runtime


class Cpu:
    device = "cpu"

    def put(self, array: numpy.ndarray) -> Any:
        return numpy.array(array)

    def get(self, tensor: Any) -> numpy.ndarray:
        return tensor


class Cuda:
    device = "cuda:0"

    def __init__(self) -> None:
        self.runtime = Runtime()
        if self.runtime.count.value == 0:
            missing = pytest.fail if os.environ.get("MIXFUSE_REQUIRE_GPU") == "1" else pytest.skip
            missing("no CUDA device")

    def put(self, array: numpy.ndarray) -> CudaArray:
        return CudaArray(self.runtime, numpy.asarray(array))

    def get(self, tensor: CudaArray) -> numpy.ndarray:
        return tensor.numpy()


@functools.cache
def cuda_place() -> Cuda:
    return Cuda()


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
def place(request: pytest.FixtureRequest) -> Any:
    """Where a test's tensors lie: NumPy's memory, or that of cudaMalloc."""
    return Cpu() if request.param == "cpu" else cuda_place()


@pytest.fixture
def cuda() -> Cuda:
    return cuda_place()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport() -> Generator[None, Any, None]:
    """Where a GPU is required, a torch with CUDA that does not see it is a failure."""
    outcome = yield
    report = outcome.get_result()
    if report.skipped and "torch sees no CUDA device" in str(report.longrepr):
        required = os.environ.get("MIXFUSE_REQUIRE_GPU") == "1"
        if required and sys.modules["torch"].version.cuda is not None:
            report.outcome = "failed"
