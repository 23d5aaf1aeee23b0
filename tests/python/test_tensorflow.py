# SPDX-License-Identifier: Apache-2.0
"""TensorFlow's tensors, by its own functions of DLPack: eager, on the CPU, immutable."""

from __future__ import annotations

import numpy
import pytest
from batches import ids, images

import mixfuse

tf = pytest.importorskip("tensorflow")

SPEC = mixfuse.Spec(mixup=0.4, cutmix=1.0)


def test_new_tensors_are_tensorflow_s_and_equal_numpy_s() -> None:
    mixed, targets = mixfuse.mix(tf.constant(images()), tf.constant(ids()), SPEC, num_classes=5)
    wanted = mixfuse.mix(images(), ids(), SPEC, num_classes=5)
    assert isinstance(mixed, tf.Tensor) and isinstance(targets, tf.Tensor)
    assert (mixed.numpy() == wanted[0]).all() and (targets.numpy() == wanted[1]).all()


def test_bytes_and_bfloat16() -> None:
    batch = images(dtype="uint8")
    mixed = mixfuse.mix(tf.constant(batch), spec=SPEC, step=3)
    assert (mixed.numpy() == mixfuse.mix(batch, spec=SPEC, step=3)).all()
    assert mixfuse.mix(tf.constant(images(), "bfloat16"), spec=SPEC).dtype == tf.bfloat16


def test_the_batch_stays_as_it_was() -> None:
    batch = tf.constant(images())
    mixfuse.mix(batch, spec=SPEC)
    assert (batch.numpy() == images()).all()


def test_numpy_writes_what_tensorflow_has() -> None:
    out = numpy.empty_like(images())
    assert mixfuse.mix(tf.constant(images()), spec=SPEC, out=out) is out
    assert (out == mixfuse.mix(images(), spec=SPEC)).all()
