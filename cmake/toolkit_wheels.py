# SPDX-License-Identifier: Apache-2.0
"""The CUDA toolkit as PyPI has it, laid out as nvcc and CMake expect.

    python toolkit_wheels.py requirement      prints what to give to pip
    python toolkit_wheels.py layout FOLDER    links what pip installed beside this Python
"""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

REQUIREMENT = "cuda-toolkit[nvcc,cudart,cccl,curand,crt]==13.0.*"


def _installed() -> Path:
    spec = importlib.util.find_spec("nvidia")
    for folder in spec.submodule_search_locations if spec else []:
        if (Path(folder) / "cu13/bin/nvcc").exists():
            return (Path(folder) / "cu13").resolve()
    raise FileNotFoundError(f"{REQUIREMENT} is not installed beside {sys.executable}")


def lay_out(folder: Path) -> Path:
    """Links the installed wheels into `folder`, which must not have them yet; returns its nvcc."""
    wheels = _installed()
    folder = folder.resolve()
    for name in ("bin", "lib64"):
        (folder / name).mkdir(parents=True)

    def link(name: str, target: Path) -> None:
        # Relative, so that a checkout with its build folder can be moved.
        (folder / name).symlink_to(os.path.relpath(target, (folder / name).parent))

    for name in ("include", "nvvm"):
        link(name, wheels / name)
    for file in (wheels / "bin").iterdir():
        link(f"bin/{file.name}", file)
    for file in (wheels / "lib").iterdir():
        link(f"lib64/{file.name}", file)
        stem, versioned, _ = file.name.partition(".so.")
        if versioned and not (wheels / f"lib/{stem}.so").exists():
            link(f"lib64/{stem}.so", file)  # the name that linkers look for
    return folder / "bin/nvcc"


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["requirement"]:
            print(REQUIREMENT)
        case ["layout", where]:
            lay_out(Path(where))
        case _:
            sys.exit(__doc__)
