# SPDX-License-Identifier: Apache-2.0
"""A plan's rows as a NumPy structured array; NumPy is needed for these alone."""

from __future__ import annotations

from typing import Any

import numpy

#: As `mixfuse::Row` in include/mixfuse/plan.hpp; boxes are half-open, [lo, hi) on each axis.
DTYPE = numpy.dtype(
    [
        ("partner", "i4"),
        ("outside", "f4"),
        ("inside", "f4"),
        ("label", "f4"),
        ("flip", "u4"),
        ("lo", "i4", 3),
        ("hi", "i4", 3),
    ]
)


def array(rows: bytes) -> Any:
    return numpy.frombuffer(rows, DTYPE).copy()


def to_bytes(rows: Any) -> bytes:
    try:
        return numpy.ascontiguousarray(rows, DTYPE).tobytes()
    except (TypeError, ValueError) as error:
        raise TypeError(f"rows: {error}, expected an array as rows() gives") from None
