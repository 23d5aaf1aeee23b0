# SPDX-License-Identifier: Apache-2.0
"""scikit-build-core, the CUDA toolkit's wheels where the system has no complete toolkit, and jaxlib
for XLA's headers, which mixfuse.jax is compiled with; the module neither links nor needs it.

MIXFUSE_CUDA=OFF and MIXFUSE_JAX=OFF, in the environment or as the settings
cmake.define.MIXFUSE_CUDA and cmake.define.MIXFUSE_JAX, leave them out.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from scikit_build_core import build as _build
from scikit_build_core.build import (  # noqa: F401
    build_sdist,
    get_requires_for_build_sdist,
    prepare_metadata_for_build_editable,
    prepare_metadata_for_build_wheel,
)

_ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(_ROOT / "cmake"))
import toolkit_wheels  # noqa: E402

Settings = dict[str, Any] | None


#: Where there are wheels of jaxlib; elsewhere mixfuse.jax is left out.
_JAXLIB = (
    "jaxlib; python_version < '3.15' and (platform_machine == 'x86_64' or "
    "platform_machine == 'aarch64' or platform_machine == 'arm64')"
)


def _is_off(option: str, settings: Settings) -> bool:
    asked = (settings or {}).get(f"cmake.define.{option}") or os.environ.get(option)
    return (asked or "").upper() in ("OFF", "0", "FALSE", "NO")


def _wants_wheels(settings: Settings) -> bool:
    """Whether CUDA is wanted, wheels of it exist for this system, and it has no toolkit itself."""
    if _is_off("MIXFUSE_CUDA", settings) or sys.platform != "linux":
        return False
    cmake = shutil.which("cmake")
    if cmake is None:
        return True  # it comes with the requirements, and is asked when it is there
    answer = subprocess.run(
        [cmake, "-P", _ROOT / "cmake/toolkit.cmake"], capture_output=True, text=True, check=True
    )
    return answer.stdout.startswith("none")


@contextlib.contextmanager
def _toolkit(settings: Settings) -> Iterator[None]:
    if not _wants_wheels(settings):
        yield
        return
    with tempfile.TemporaryDirectory(prefix="mixfuse-toolkit-") as folder:
        before = os.environ.get("CUDACXX")
        os.environ["CUDACXX"] = str(toolkit_wheels.lay_out(Path(folder)))
        try:
            yield
        finally:
            os.environ.pop("CUDACXX")
            if before is not None:
                os.environ["CUDACXX"] = before


def _with_optional(requirements: list[str], settings: Settings) -> list[str]:
    return (
        requirements
        + ([toolkit_wheels.REQUIREMENT] if _wants_wheels(settings) else [])
        + ([] if _is_off("MIXFUSE_JAX", settings) else [_JAXLIB])
    )


def get_requires_for_build_wheel(config_settings: Settings = None) -> list[str]:
    return _with_optional(_build.get_requires_for_build_wheel(config_settings), config_settings)


def get_requires_for_build_editable(config_settings: Settings = None) -> list[str]:
    return _with_optional(_build.get_requires_for_build_editable(config_settings), config_settings)


def build_wheel(
    wheel_directory: str, config_settings: Settings = None, metadata_directory: str | None = None
) -> str:
    with _toolkit(config_settings):
        return _build.build_wheel(wheel_directory, config_settings, metadata_directory)


def build_editable(
    wheel_directory: str, config_settings: Settings = None, metadata_directory: str | None = None
) -> str:
    with _toolkit(config_settings):
        return _build.build_editable(wheel_directory, config_settings, metadata_directory)
