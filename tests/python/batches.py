# SPDX-License-Identifier: Apache-2.0
"""Batches to mix, and what their mixing is by the rows of a plan."""

from __future__ import annotations

import numpy


def images(shape: tuple[int, ...] = (6, 3, 9, 8), dtype: str = "float32") -> numpy.ndarray:
    values = numpy.random.default_rng(sum(shape)).random(shape)
    return (values * 255).astype("uint8") if dtype == "uint8" else values.astype(dtype)


def ids(count: int = 6, classes: int = 5) -> numpy.ndarray:
    return numpy.arange(count, dtype="int64") % classes


def weights_of(rows: numpy.ndarray, shape: tuple[int, ...]) -> numpy.ndarray:
    """Of the own sample at each pixel; the last two axes are h and w."""
    h, w = numpy.ogrid[: shape[-2], : shape[-1]]
    weights = numpy.empty((len(rows), *shape[-2:]))
    for i, row in enumerate(rows):
        inside = (
            (row["lo"][0] <= h) & (h < row["hi"][0]) & (row["lo"][1] <= w) & (w < row["hi"][1])
        )
        weights[i] = numpy.where(inside, row["inside"], row["outside"])
    return weights.reshape(len(rows), *[1] * (len(shape) - 3), *shape[-2:])


def mixed_by(rows: numpy.ndarray, batch: numpy.ndarray) -> numpy.ndarray:
    """In float64, unrounded."""
    weights = weights_of(rows, batch.shape)
    own = numpy.stack([x[..., ::-1] if row["flip"] else x for x, row in zip(batch, rows, strict=True)])
    partner = own[rows["partner"]]
    return numpy.where(weights == 1, own, weights * own + (1 - weights) * partner)


def targets_by(rows: numpy.ndarray, labels: numpy.ndarray, classes: int) -> numpy.ndarray:
    share = rows["label"][:, None].astype("float64")
    rows_of = numpy.eye(classes)[labels]
    return share * rows_of + (1 - share) * rows_of[rows["partner"]]
