# SPDX-License-Identifier: Apache-2.0
"""timm's Mixup, by mixfuse."""

from __future__ import annotations

import sys
from typing import Any

from mixfuse import _api, _frameworks
from mixfuse._draws import Draws, loader_worker

_GRANULARITY = {"batch": "batch", "pair": "pair", "elem": "sample"}


def requires_gradient(*tensors: Any) -> bool:
    return any(map(_frameworks.requires_gradient, tensors))


def by_operator(images: Any, labels: Any, draw: dict[str, int], options: dict[str, Any]) -> Any:
    """Mixed by the operator that has a gradient: images and targets, or images alone."""
    from mixfuse import torch as operators

    key = operators.key(draw["seed"], draw["step"], draw["first"])
    mixed, targets, _ = operators.mix(images, labels, key, **options)
    return mixed if labels is None else (mixed, targets)


def check_not_captured(tensor: Any) -> None:
    """The host draws here, once, so each replay would repeat its draw."""
    if _frameworks.framework_of(tensor) == "torch" and tensor.is_cuda:
        if sys.modules["torch"].cuda.is_current_stream_capturing():
            raise RuntimeError(
                "x: captured in a CUDA graph, whose replays would all repeat one draw; "
                "expected mixfuse.torch.mix_, whose key lives on the device"
            )


class Mixup(Draws):
    """Mixup and CutMix of a batch; takes the place of timm.data.Mixup.

        mixup_fn = mixfuse.Mixup(mixup_alpha=0.8, cutmix_alpha=1.0, num_classes=1000)
        for x, target in loader:
            x, target = mixup_fn(x, target)

    mixup_alpha, cutmix_alpha: of Beta(alpha, alpha), 0 for off.
    cutmix_minmax: (lo, hi): sides of CutMix's boxes as shares of the image, in place of
        cutmix_alpha.
    prob: share that is mixed at all. switch_prob: CutMix's share where both are on.
    mode: "batch", "pair" or "elem": what lambda, policy and box are drawn once for.
    label_smoothing: 0.1, as timm's; off = s/K, on = 1 - s + s/K, unmixed samples too.
    num_classes: K.
    seed: 64 bits; None takes a word of the framework's CPU generator now, so that seeds which
        differ by rank do so here. first: global index of the batch's first sample, for ranks that
        share a seed.

    Called with images (B, ...) of any framework and class ids (B,), it mixes sample i with sample
    B-1-i, in place as timm's does, and returns images and targets: float32 (B, K). A new tensor is
    returned in place of x where x requires a gradient, which then flows, and for arrays that cannot
    be written (JAX). An odd B is legal: the middle sample stays as it is. Under `mixup_enabled =
    False` pixels stay as they are, labels are smoothed. The attributes are timm's and may be
    changed between calls.

    Unlike timm's: the label's lambda is that of the pixels pasted, always (correct_lam=False is
    refused), mode "half" of timm's collate class is not built (NotImplementedError), and draws come
    from (seed, step, first), which state_dict() holds. In a DataLoader's collate_fn each worker's
    draws are its own.

    Raises as mixfuse.mix. Mixup: Zhang et al. 2018, arXiv:1710.09412. CutMix: Yun et al. 2019,
    arXiv:1905.04899.
    """

    def __init__(
        self,
        mixup_alpha: float = 1.0,
        cutmix_alpha: float = 0.0,
        cutmix_minmax: tuple[float, float] | None = None,
        prob: float = 1.0,
        switch_prob: float = 0.5,
        mode: str = "batch",
        correct_lam: bool = True,
        label_smoothing: float = 0.1,
        num_classes: int = 1000,
        *,
        seed: int | None = None,
        first: int = 0,
    ) -> None:
        self.mixup_alpha = mixup_alpha
        self.cutmix_alpha = cutmix_alpha if cutmix_minmax is None else 1.0
        self.cutmix_minmax = cutmix_minmax
        self.mix_prob = prob
        self.switch_prob = switch_prob
        self.mode = mode
        self.correct_lam = correct_lam
        self.label_smoothing = label_smoothing
        self.num_classes = num_classes
        self.mixup_enabled = True
        self._known: Any = None
        self._options()  # which refuses what it cannot do
        _api.check_share("label_smoothing", label_smoothing)
        super().__init__(seed, first)

    def _options(self) -> tuple[dict[str, Any], _api.Spec]:
        """Arguments of the spec, and the spec, made anew when an attribute has changed."""
        minmax = self.cutmix_minmax
        if minmax is not None:
            if not isinstance(minmax, (list, tuple)) or len(minmax) != 2:
                raise TypeError(f"cutmix_minmax: {minmax!r}, expected (lo, hi)")
            minmax = tuple(minmax)
            if not 0 <= minmax[0] <= minmax[1] <= 1:
                raise ValueError(f"cutmix_minmax: {minmax}, expected 0 <= lo <= hi <= 1")
        now = (self.mixup_alpha, self.cutmix_alpha, minmax, self.mix_prob, self.switch_prob,
               self.mode, self.correct_lam, self.mixup_enabled)  # fmt: skip
        if self._known is None or self._known[0] != now:
            options = self._made(minmax)
            self._known = now, options, _api.Spec(**options)
        return self._known[1:]

    def _made(self, minmax: tuple[float, float] | None) -> dict[str, Any]:
        _api.check_alpha("mixup_alpha", self.mixup_alpha)
        _api.check_alpha("cutmix_alpha", self.cutmix_alpha)
        _api.check_share("prob", self.mix_prob)
        _api.check_share("switch_prob", self.switch_prob)
        if not self.correct_lam:
            raise NotImplementedError(
                "correct_lam: False; the label's lambda is always that of the pixels pasted"
            )
        if self.mode == "half":
            raise NotImplementedError("mode: 'half', expected 'batch', 'pair' or 'elem'")
        if self.mode not in _GRANULARITY:
            raise ValueError(f"mode: {self.mode!r}, expected 'batch', 'pair' or 'elem'")
        if self.mixup_alpha == 0 and self.cutmix_alpha == 0:
            raise ValueError("mixup_alpha: 0 beside cutmix_alpha 0, expected one above 0")
        return {
            "mixup": self.mixup_alpha,
            "cutmix": self.cutmix_alpha,
            "switch": self.switch_prob,
            "boxes": minmax or "paper",
            "probability": self.mix_prob if self.mixup_enabled else 0.0,
            "pairing": "reverse",
            "granularity": _GRANULARITY[self.mode],
        }

    def __call__(self, x: Any, target: Any) -> tuple[Any, Any]:
        """x: images (B, ...); target: class ids (B,). Returns both mixed, as the class says; raises
        as mixfuse.mix, which calls them images and labels."""
        options, spec = self._options()
        labels = {"num_classes": self.num_classes, "smoothing": self.label_smoothing}
        check_not_captured(x)

        def mixed(draw: dict[str, int]) -> Any:
            if requires_gradient(x, target):
                return by_operator(x, target, draw, options | labels)
            return _api.mix(
                x, target, spec, out=x if _frameworks.is_writable(x) else None,
                threads=0 if loader_worker() is None else 1, **draw, **labels,
            )  # fmt: skip

        return self._stepped(mixed)

    def __repr__(self) -> str:
        return (
            f"Mixup(mixup_alpha={self.mixup_alpha}, cutmix_alpha={self.cutmix_alpha}, "
            f"cutmix_minmax={self.cutmix_minmax}, prob={self.mix_prob}, "
            f"switch_prob={self.switch_prob}, mode={self.mode!r}, "
            f"label_smoothing={self.label_smoothing}, num_classes={self.num_classes}, "
            f"seed={self.seed}, step={self.step}, first={self.first})"
        )
