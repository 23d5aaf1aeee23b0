# SPDX-License-Identifier: Apache-2.0
"""A training loop in JAX: softmax regression on 8 x 8 images of four classes, each step on a batch
that mixfuse.jax mixes by Mixup or CutMix inside the compiled step. What a checkpoint needs beside
the weights is the key."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import mixfuse.jax
import numpy

SAMPLES, SIDE, CLASSES, STEPS, RATE = 32, 8, 4, 60, 0.5
MIXING = mixfuse.Spec(mixup=0.2, cutmix=1.0)


def make_data() -> tuple[numpy.ndarray, numpy.ndarray]:
    """Noise as u8, and a bright quarter that says the class."""
    labels = numpy.arange(SAMPLES, dtype="int32") % CLASSES
    images = numpy.random.default_rng(0).integers(0, 160, (SAMPLES, 1, SIDE, SIDE), "uint8")
    half = SIDE // 2
    for image, label in zip(images[:, 0], labels):
        row, column = half * (label // 2), half * (label % 2)
        image[row : row + half, column : column + half] += 90
    return images, labels


def logits_of(weights: Any, images: Any) -> Any:
    return images.reshape(len(images), -1) @ weights


def loss_of(weights: Any, images: Any, targets: Any) -> Any:
    return -(targets * jax.nn.log_softmax(logits_of(weights, images))).sum(1).mean()


@functools.partial(jax.jit, donate_argnames="weights")
def train_step(weights: Any, key: Any, images: Any, labels: Any) -> tuple[Any, Any]:
    mixed, targets, key = mixfuse.jax.mix(
        images, labels, key, MIXING, num_classes=CLASSES, out_dtype="float32", mean=0.5, std=0.25
    )
    return weights - RATE * jax.grad(loss_of)(weights, mixed, targets), key


def train(steps: int = STEPS) -> tuple[Any, Any]:
    """Weights, and the key of the step that would come next."""
    images, labels = make_data()
    weights, key = jnp.zeros((SIDE * SIDE, CLASSES)), mixfuse.jax.key(seed=42)
    for _ in range(steps):
        weights, key = train_step(weights, key, images, labels)
    return weights, key


def accuracy(weights: Any) -> float:
    images, labels = make_data()
    plain = (images / 255 - 0.5) / 0.25
    return float((logits_of(weights, plain).argmax(1) == labels).mean())


if __name__ == "__main__":
    trained, _ = train()
    print(f"{accuracy(trained):.0%} right after {STEPS} mixed steps")
