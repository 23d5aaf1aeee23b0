# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import mixfuse


def python(code: str, **environment: str) -> Any:
    return subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | environment, capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip


def test_importing_and_mixing_on_the_cpu_asks_nothing_of_cuda() -> None:
    """The runtime, linked statically, looks for the driver at its first call and not before."""
    if "cuda" not in mixfuse.info()["backends"]:
        pytest.skip("this build has no CUDA")
    mix = "import numpy, mixfuse; mixfuse.mix(numpy.ones((4, 3, 8, 8)), mixup=1.0)"
    assert "libcuda.so" not in python(mix, LD_DEBUG="libs").stderr
    assert "libcuda.so" in python(f"{mix}; mixfuse.info()", LD_DEBUG="libs").stderr


def test_nothing_is_printed_at_exit() -> None:
    code = (
        "import ctypes, numpy, mixfuse; plan = mixfuse.plan(numpy.ones((4, 3, 8, 8)), mixup=1.0); "
        "ctypes.pythonapi.Py_IncRef(ctypes.py_object(plan))  # somebody holds it for ever"
    )
    done = python(code)
    assert (done.stdout, done.stderr) == ("", "")


def test_importing_it_imports_no_framework() -> None:
    code = "import sys, mixfuse; print(sorted({'torch', 'jax', 'numpy', 'cupy'} & {*sys.modules}))"
    assert python(code).stdout == "[]\n"


def test_info_says_what_is_here() -> None:
    info = mixfuse.info()
    assert info["version"] == mixfuse.__version__
    assert info["stream_version"] == mixfuse.stream_version == 1
    assert info["backends"][0] == "cpu"
    assert (info["devices"] > 0) != bool(info["absent"])


def test_types_are_there() -> None:
    folder = Path(mixfuse.__file__).parent
    assert (folder / "py.typed").exists() and (folder / "_core.pyi").exists()


@pytest.mark.parametrize("name", mixfuse.__all__)
def test_everything_public_is_there_and_explained(name: str) -> None:
    value = getattr(mixfuse, name)
    assert isinstance(value, (str, int)) or value.__doc__


def test_a_spec_is_a_value() -> None:
    one = mixfuse.Spec(mixup=0.2, cutmix=1.0, pairing="roll")
    assert one == mixfuse.Spec(mixup=0.2, cutmix=1.0, pairing="roll")
    assert one != mixfuse.Spec(mixup=0.2, cutmix=1.0)
    assert hash(one) == hash(mixfuse.Spec(policies=one.policies, pairing="roll"))
    assert "pairing='roll'" in repr(one)
