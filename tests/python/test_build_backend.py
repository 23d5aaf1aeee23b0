# SPDX-License-Identifier: Apache-2.0
"""What pip is told to install before it builds the package from source."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("scikit_build_core")

ROOT = Path(__file__).parents[2]
WAYS = ["wheel", "editable"]
TOOLKIT = [
    "bin/nvcc",
    "include/cuda_runtime_api.h",
    "include/cub/cub.cuh",
    "include/curand_philox4x32_x.h",
    "lib64/libcudart.so",
    "lib64/libcudart_static.a",
]


@pytest.fixture
def backend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The backend of a project in a system that has cmake and nothing else."""
    monkeypatch.chdir(ROOT)  # as pip does
    monkeypatch.setattr(sys, "path", [*sys.path])
    spec = importlib.util.spec_from_file_location(
        "build_backend", ROOT / "host/python/build_backend.py"
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    # Its search for a toolkit ends in places that an environment cannot hide.
    search = (ROOT / "cmake/toolkit.cmake").read_text()
    (tmp_path / "cmake").mkdir()
    (tmp_path / "cmake/toolkit.cmake").write_text(search.replace("/usr/local", "/nowhere"))
    monkeypatch.setattr(module, "_ROOT", tmp_path)
    cmake = shutil.which("cmake")
    if cmake is None:
        pytest.skip("there is no cmake")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/cmake").symlink_to(cmake)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin")
    for name in ("CUDACXX", "CUDA_PATH", "CUDA_HOME", "MIXFUSE_CUDA", "MIXFUSE_JAX"):
        monkeypatch.delenv(name, raising=False)
    return module


def asked(backend: Any, way: str = "wheel", **settings: str) -> set[str]:
    """Which of the two optional requirements pip gets."""
    requires = getattr(backend, f"get_requires_for_build_{way}")(
        {f"cmake.define.{name}": value for name, value in settings.items()}
    )
    return {it for it in ("cuda-toolkit", "jaxlib") if any(r.startswith(it) for r in requires)}


def toolkit(folder: Path) -> Path:
    """What looks like a complete toolkit to our search."""
    for file in TOOLKIT:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).touch()
    (folder / "bin/nvcc").write_text(f"#!/bin/sh\necho V13.0\necho '#$ TOP={folder}' >&2\n")
    (folder / "bin/nvcc").chmod(0o755)
    return folder


@pytest.mark.parametrize("way", WAYS)
def test_a_system_without_a_toolkit_gets_the_wheels(backend: Any, way: str) -> None:
    assert asked(backend, way) == {"cuda-toolkit", "jaxlib"}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("variable", ["CUDA_HOME", "CUDA_PATH", "CUDACXX", "PATH"])
def test_a_complete_toolkit_is_enough(
    backend: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, way: str
) -> None:
    folder = toolkit(tmp_path / "toolkit")
    value = {"PATH": f"{tmp_path}/bin:{folder}/bin", "CUDACXX": f"{folder}/bin/nvcc"}
    monkeypatch.setenv(variable, value.get(variable, str(folder)))
    assert asked(backend, way) == {"jaxlib"}


@pytest.mark.parametrize("file", TOOLKIT)
def test_one_that_lacks_a_file_is_not(
    backend: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str
) -> None:
    folder = toolkit(tmp_path / "toolkit")
    (folder / file).unlink()
    monkeypatch.setenv("CUDA_HOME", str(folder))
    assert asked(backend) == {"cuda-toolkit", "jaxlib"}


def test_without_cmake_nobody_can_say_so_the_wheels_are_taken(
    backend: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert asked(backend) == {"cuda-toolkit", "jaxlib"}


@pytest.mark.parametrize("value", ["OFF", "off", "0", "False"])
@pytest.mark.parametrize("way", WAYS)
def test_what_is_switched_off_is_not_asked_for(
    backend: Any, monkeypatch: pytest.MonkeyPatch, way: str, value: str
) -> None:
    assert asked(backend, way, MIXFUSE_CUDA=value) == {"jaxlib"}
    assert asked(backend, way, MIXFUSE_JAX=value) == {"cuda-toolkit"}
    monkeypatch.setenv("MIXFUSE_CUDA", value)
    assert asked(backend, way) == {"jaxlib"}
    assert asked(backend, way, MIXFUSE_CUDA="ON") == {"cuda-toolkit", "jaxlib"}
    monkeypatch.setenv("MIXFUSE_JAX", value)
    assert asked(backend, way) == set()


def test_a_source_archive_needs_neither(backend: Any) -> None:
    assert asked(backend, "sdist") == set()
