# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import ast
import importlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import mixfuse
from mixfuse import _core


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


def test_the_module_needs_the_system_alone() -> None:
    """No framework, no CUDA and no Python of a certain name: it serves whichever is loaded."""
    if Path(mixfuse.__file__).parents[1].name == "shared":
        pytest.skip("the build on the shared runtime, which is for the tests")
    if shutil.which("readelf") is None:
        pytest.skip("there is no readelf")
    told = subprocess.check_output(["readelf", "--dynamic", _core.__file__], text=True)
    needed = set(re.findall(r"\(NEEDED\).*\[(.*?)\.so", told))
    assert "libc" in needed
    assert needed <= {"libc", "libm", "libgcc_s", "libstdc++", "libgomp", "ld-linux-x86-64",
                      "ld-linux-aarch64", "libpthread", "libdl", "librt"}  # fmt: skip


def test_types_are_there() -> None:
    folder = Path(mixfuse.__file__).parent
    assert (folder / "py.typed").exists() and (folder / "_core.pyi").exists()


Stubs = dict[str, Any]


def by_name(statements: list[ast.stmt]) -> Stubs:
    return {
        it.target.id if isinstance(it, ast.AnnAssign) else it.name: it
        for it in statements
        if isinstance(it, (ast.FunctionDef, ast.ClassDef, ast.AnnAssign))
    }


@pytest.fixture
def stubs() -> Stubs:
    all_of_it = by_name(ast.parse(Path(mixfuse.__file__).with_name("_core.pyi").read_text()).body)
    with_jax = hasattr(_core, "jax_handlers")
    return {name: it for name, it in all_of_it.items() if with_jax or not name.startswith("jax_")}


def test_the_stubs_are_of_the_module(stubs: Stubs) -> None:
    assert {*stubs} == {name for name in dir(_core) if name[0] != "_"}
    for name, stub in stubs.items():
        value = getattr(_core, name)
        assert isinstance(stub, ast.ClassDef) == isinstance(value, type), name
        assert isinstance(stub, ast.AnnAssign) != callable(value), name


@pytest.mark.parametrize("kind", [it for it in vars(_core).values() if isinstance(it, type)])
def test_the_stubs_are_of_its_classes(kind: type, stubs: Stubs) -> None:
    """Each member that is not every object's, and whether it is a property."""
    named = {
        name: "property" in [ast.unparse(it) for it in stub.decorator_list]
        for name, stub in by_name(stubs[kind.__name__].body).items()
        if not hasattr(object, name)
    }
    there = {
        name: isinstance(value, property)
        for name, value in vars(kind).items()
        if not hasattr(object, name)
    }
    assert named == there


def explained(value: Any) -> bool:
    """In words: nanobind and named tuples begin with a signature."""
    return bool(re.sub(r"\A\w*\(.*\)( -> .*)?", "", value.__doc__ or "").strip())


@pytest.mark.parametrize("module", ["mixfuse", "mixfuse.torch", "mixfuse.jax"])
def test_everything_public_is_there_and_explained(module: str) -> None:
    if module != "mixfuse":
        pytest.importorskip(module.partition(".")[2])
    here = importlib.import_module(module)
    public = [it for it, value in vars(here).items() if getattr(value, "__module__", "") == module]
    public = [name for name in getattr(here, "__all__", public) if name[0] != "_"]
    values = {name: getattr(here, name) for name in public}
    assert values
    for name, kind in [*values.items()]:
        for member in dir(kind) if isinstance(kind, type) else ():
            value = getattr(kind, member)
            if member != "__call__" and member[0] == "_":
                continue
            if callable(value) or isinstance(value, property):
                values[f"{name}.{member}"] = value
    assert not [name for name, value in values.items() if not explained(value)]


def test_a_spec_is_a_value() -> None:
    one = mixfuse.Spec(mixup=0.2, cutmix=1.0, pairing="roll")
    assert one == mixfuse.Spec(mixup=0.2, cutmix=1.0, pairing="roll")
    assert one != mixfuse.Spec(mixup=0.2, cutmix=1.0)
    assert hash(one) == hash(mixfuse.Spec(policies=one.policies, pairing="roll"))
    assert "pairing='roll'" in repr(one)
