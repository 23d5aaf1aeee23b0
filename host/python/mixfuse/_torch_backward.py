# SPDX-License-Identifier: Apache-2.0
"""The mix's gradient. Forward, out_i = W_i x_i + (1 - W_i) x_p(i), of flipped samples; so

    dx_j = flip_j( W_j g_j + the sum of (1 - W_k) g_k over all k whose partner is j ).

One k where the pairing is a permutation: a gather by its inverse, which has no atomics. Two boxes
meet in one pixel, so this is no plan's mix; it is written in torch, which a compiler fuses.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mixfuse._layouts import SPATIAL
from mixfuse._torch_shapes import order


class Rows:
    """A plan's int32 words (B, 11), each sample's along the first axis of what they weigh."""

    def __init__(self, plan: Tensor, permuted: bool) -> None:
        self._words = plan
        partner = plan[:, 0].long()
        self._partner = partner
        self._inverse = None
        if permuted:
            samples = torch.arange(plan.shape[0], device=plan.device)
            self._inverse = torch.zeros_like(partner).scatter(0, partner, samples)

    def weight(self, word: int, like: Tensor, dtype: torch.dtype) -> Tensor:
        values = self._words[:, word].contiguous().view(torch.float32).to(dtype)
        return values.reshape([-1] + [1] * (like.dim() - 1))

    def weights(self, like: Tensor, layout: str, boxes: bool, dtype: torch.dtype) -> Tensor:
        """Of the own sample, at each pixel where there are boxes."""
        outside = self.weight(1, like, dtype)
        if not boxes:
            return outside
        within = torch.ones_like(outside, dtype=torch.bool)
        for number, name in enumerate(SPATIAL[layout]):
            axis = layout.index(name)
            shape = [1] * like.dim()
            shape[axis] = like.shape[axis]
            at = torch.arange(like.shape[axis], device=like.device).reshape(shape)
            lo, hi = (
                self._words[:, word + number].reshape(outside.shape) for word in (5, 8)
            )
            within = within & (lo <= at) & (at < hi)
        return torch.where(within, self.weight(2, like, dtype), outside)

    def to_sources(self, gradient: Tensor, own: Tensor) -> Tensor:
        """Each output's gradient, given to its sample and its partner by their weights. As in the
        mix itself, a weight of 0 leaves that side alone, whatever the gradient's value."""
        nothing = gradient.new_zeros(())
        partners = torch.where(own == 1, nothing, (1 - own) * gradient)
        owns = torch.where(own == 0, nothing, own * gradient)
        if self._inverse is not None:
            return owns + partners.index_select(0, self._inverse)
        return owns.index_add(0, self._partner, partners)

    def flipped(self, gradient: Tensor, layout: str) -> Tensor:
        flip = self._words[:, 4].reshape([-1] + [1] * (gradient.dim() - 1)) != 0
        return torch.where(flip, gradient.flip(layout.index("w")), gradient)


def _wide(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32


def images_backward(
    gradient: Tensor,
    rows: Rows,
    *,
    layout: str,
    out_layout: str,
    dtype: torch.dtype,
    std: list[float],
    boxes: bool,
    flips: bool,
) -> Tensor:
    wide = _wide(dtype)
    gradient = gradient.permute(order(out_layout, layout)).to(wide)
    if std:
        scale = torch.tensor([1 / value for value in std], dtype=wide, device=gradient.device)
        shape = [1] * gradient.dim()
        if len(std) > 1:
            shape[layout.index("c")] = len(std)
        gradient = gradient * scale.reshape(shape)
    gradient = rows.to_sources(gradient, rows.weights(gradient, layout, boxes, wide))
    if flips:
        gradient = rows.flipped(gradient, layout)
    return gradient.to(dtype)


def labels_backward(gradient: Tensor, rows: Rows, dtype: torch.dtype) -> Tensor:
    wide = _wide(dtype)
    return rows.to_sources(gradient.to(wide), rows.weight(3, gradient, wide)).to(dtype)
