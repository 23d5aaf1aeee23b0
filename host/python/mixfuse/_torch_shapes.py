# SPDX-License-Identifier: Apache-2.0
"""What the PyTorch operators return, its values not set: the same tensors for the kernels, which
write them, and for a trace, in which only their shapes count."""

from __future__ import annotations

import torch
from torch import Tensor

from mixfuse._layouts import BY_RANK, ROW_WORDS


def layout_of(x: Tensor, layout: str | None) -> str:
    """The one given, or the rank's."""
    layout = layout or BY_RANK.get(x.dim(), "")
    if len(layout) != x.dim():
        raise ValueError(f"layout: {layout!r}, images have {x.dim()} axes")
    return layout


def order(layout: str, out_layout: str) -> list[int]:
    """Which axis of `layout` becomes which of `out_layout`."""
    if sorted(layout) != sorted(out_layout):
        raise ValueError(f"out_layout: {out_layout!r}, expected the axes of {layout!r}")
    return [layout.index(axis) for axis in out_layout]


def new_mixed(
    x: Tensor, layout: str | None, out_layout: str | None, dtype: torch.dtype | None
) -> Tensor:
    dtype = dtype or x.dtype
    own = layout_of(x, layout)
    if out_layout is None or out_layout == own:
        return torch.empty_like(x, dtype=dtype, requires_grad=False)
    return x.new_empty([x.shape[axis] for axis in order(own, out_layout)], dtype=dtype)


def new_targets(
    x: Tensor, y: Tensor | None, classes: int | None, dtype: torch.dtype | None
) -> Tensor:
    if y is None:
        return x.new_empty([0], dtype=torch.float32)
    if y.dim() == 2:
        made = y.dtype if y.is_floating_point() else torch.float32
        return y.new_empty(y.shape, dtype=dtype or made)
    if y.dim() != 1:
        raise ValueError(f"labels: {tuple(y.shape)}, expected class ids (B,) or rows (B, K)")
    if not classes or classes < 0:
        raise ValueError(f"num_classes: {classes}, expected the number that the ids count to")
    return y.new_empty([y.shape[0], classes], dtype=dtype or torch.float32)


def new_plan(x: Tensor) -> Tensor:
    return x.new_empty([x.shape[0], ROW_WORDS], dtype=torch.int32)
