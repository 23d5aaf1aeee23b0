# SPDX-License-Identifier: Apache-2.0
"""JAX's arrays in and out, eagerly, on the CPU."""

from __future__ import annotations

import numpy
import pytest
from batches import ids, images

import mixfuse

jax = pytest.importorskip("jax")

if jax.default_backend() != "cpu":
    pytest.skip("JAX's arrays are on a GPU, where mix cannot write", allow_module_level=True)

SPEC = mixfuse.Spec(mixup=0.4, cutmix=1.0)


def test_new_arrays_are_jax_s_and_equal_numpy_s() -> None:
    numbers = jax.numpy
    mixed, targets = mixfuse.mix(
        numbers.asarray(images()), numbers.asarray(ids(), "int32"), SPEC, num_classes=5
    )
    wanted = mixfuse.mix(images(), ids(), SPEC, num_classes=5)
    assert isinstance(mixed, jax.Array) and isinstance(targets, jax.Array)
    assert (numpy.asarray(mixed) == wanted[0]).all()
    assert (numpy.asarray(targets) == wanted[1]).all()


def test_bfloat16() -> None:
    mixed = mixfuse.mix(jax.numpy.asarray(images(), "bfloat16"), spec=SPEC)
    assert mixed.dtype == "bfloat16"


def test_sparse_targets() -> None:
    labels = jax.numpy.asarray(ids(), "int32")
    with jax.enable_x64():
        _, targets = mixfuse.mix(images(), labels, SPEC, num_classes=5, target="sparse")
    assert all(isinstance(part, jax.Array) for part in targets)
    assert (numpy.asarray(targets.own) == ids()).all()


def test_an_array_is_never_written() -> None:
    batch = jax.numpy.asarray(images())
    for out in (batch, jax.numpy.zeros_like(batch)):
        with pytest.raises(TypeError, match="^(out|images): a JAX array, which is immutable"):
            mixfuse.mix(batch, spec=SPEC, out=out)
