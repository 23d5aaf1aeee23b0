# SPDX-License-Identifier: Apache-2.0
"""torchvision's MixUp and CutMix, by mixfuse."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Mapping
from typing import Any

from mixfuse import _api, _frameworks
from mixfuse._draws import Draws, loader_worker
from mixfuse._mixup import by_operator, check_not_captured, requires_gradient

_BATCHED = {"Image": 4, "Video": 5}  # axes of torchvision's typed tensors
_REFUSED = ("BoundingBoxes", "Mask", "KeyPoints")


def _leaves(sample: Any) -> list[Any]:
    if isinstance(sample, Mapping):
        return [leaf for value in sample.values() for leaf in _leaves(value)]
    if isinstance(sample, (tuple, list)):
        return [leaf for value in sample for leaf in _leaves(value)]
    return [sample]


def _replaced(sample: Any, change: Callable[[Any], Any]) -> Any:
    if isinstance(sample, Mapping):
        made = copy.copy(sample)
        for name, value in sample.items():
            made[name] = _replaced(value, change)
        return made
    if isinstance(sample, (tuple, list)):
        values = [_replaced(value, change) for value in sample]
        return type(sample)(*values) if hasattr(sample, "_fields") else type(sample)(values)
    return change(sample)


def _typed(leaf: Any) -> str | None:
    """'Image' of a torchvision.tv_tensors.Image, and so on."""
    module = sys.modules.get("torchvision.tv_tensors")
    for name in (*_BATCHED, *_REFUSED) if module is not None else ():
        kind = getattr(module, name, None)  # KeyPoints is not in every torchvision
        if kind is not None and isinstance(leaf, kind):
            return name
    return None


def _is_tensor(leaf: Any) -> bool:
    return hasattr(leaf, "__dlpack__") and hasattr(leaf, "ndim") and _typed(leaf) is None


def _labels_of(sample: Any) -> Any:
    """As torchvision looks for them: the second item, or what a mapping calls labels."""
    at = sample[1] if isinstance(sample, (tuple, list)) and len(sample) > 1 else sample
    if _is_tensor(at):
        return at
    if isinstance(at, Mapping):
        names = [name for name in at if isinstance(name, str)]
        for name in [n for n in names if n.lower() == "labels"] + [
            n for n in names if "label" in n.lower()
        ]:
            return at[name]
    raise ValueError(
        f"inputs: no labels in a {type(at).__qualname__}, expected (images, labels), or a mapping "
        "with a key such as 'labels', or labels_getter="
    )


class _Transform(Draws):
    _policy: str

    def __init__(
        self,
        *,
        alpha: float = 1.0,
        num_classes: int | None = None,
        labels_getter: Callable[[Any], Any] | str | None = "default",
        seed: int | None = None,
        first: int = 0,
    ) -> None:
        if labels_getter != "default" and not callable(labels_getter):
            raise ValueError(f"labels_getter: {labels_getter!r}, expected 'default' or a callable")
        _api.check_alpha("alpha", alpha)
        self.alpha, self.num_classes, self._labels_getter = float(alpha), num_classes, labels_getter
        self._options = {self._policy: self.alpha, "pairing": "roll", "granularity": "batch"}
        self._spec = _api.Spec(**self._options)
        super().__init__(seed, first)

    def __call__(self, *inputs: Any) -> Any:
        """inputs: a batch, images and labels among them. Returns the same with both mixed, as the
        class says; raises as mixfuse.mix, and ValueError where labels or images are not found."""
        if not inputs:
            raise TypeError("inputs: none, expected a batch")
        sample = inputs if len(inputs) > 1 else inputs[0]
        getter = self._labels_getter
        labels = getter(sample) if callable(getter) else _labels_of(sample)
        self._check_labels(labels)
        images = self._images(sample, labels)
        values = self._stepped(lambda draw: self._mixed(images, labels, draw))
        made = dict(zip(map(id, (labels, *images)), values, strict=True))
        return _replaced(sample, lambda leaf: made.get(id(leaf), leaf))

    forward = __call__

    def _check_labels(self, labels: Any) -> None:
        if not _is_tensor(labels):
            raise ValueError(f"labels: {type(labels).__qualname__}, expected a tensor")
        if labels.ndim not in (1, 2):
            raise ValueError(
                f"labels: {tuple(labels.shape)}, expected class ids (B,) or rows (B, K)"
            )
        if labels.ndim == 1 and self.num_classes is None:
            raise ValueError("num_classes: missing, expected the number that the ids count to")
        if labels.ndim == 2 and self.num_classes not in (None, labels.shape[1]):
            raise ValueError(
                f"labels: {labels.shape[1]} columns, expected num_classes {self.num_classes}"
            )

    def _images(self, sample: Any, labels: Any) -> list[Any]:
        """torchvision's choice: typed images and videos, else the first tensor."""
        every = _leaves(sample)
        leaves = [leaf for leaf in every if leaf is not labels]
        if len(leaves) == len(every):
            raise ValueError("labels_getter: its labels are not in the inputs, expected these")
        for leaf in leaves:
            if _typed(leaf) in _REFUSED or type(leaf).__module__.startswith("PIL."):
                raise ValueError(f"inputs: a {type(leaf).__qualname__}, expected batched tensors")
        framework = _frameworks.framework_of(labels)
        typed = [leaf for leaf in leaves if _typed(leaf) in _BATCHED]
        plain = [
            leaf for leaf in leaves
            if _is_tensor(leaf) and _frameworks.framework_of(leaf) == framework
        ]  # fmt: skip
        images = typed or plain[:1]
        if not images:
            raise TypeError("inputs: no image and no video, expected a batched tensor")
        for image in images:
            axes = _BATCHED[_typed(image) or "Image"]
            if image.ndim != axes or image.shape[0] != labels.shape[0]:
                raise ValueError(
                    f"inputs: images {tuple(image.shape)}, expected {axes} axes and "
                    f"{labels.shape[0]} samples, as there are labels"
                )
        if self._policy == "cutmix" and len({tuple(i.shape[-2:]) for i in images}) > 1:
            raise ValueError("inputs: images of several sizes, expected one, where one box fits")
        return images

    def _mixed(self, images: list[Any], labels: Any, draw: dict[str, int]) -> list[Any]:
        """Targets, then the images, all by one draw."""
        check_not_captured(labels)
        rows = labels
        if labels.ndim == 2 and _frameworks.is_integer(labels):
            rows = _frameworks.as_float(labels)
        options = {"num_classes": self.num_classes}
        threads = 0 if loader_worker() is None else 1
        made: list[Any] = []
        for number, image in enumerate(images):
            typed = _typed(image)
            plain = image if typed is None else _untyped(image)
            y = rows if number == 0 else None
            how = options | {"layout": "ntchw" if typed == "Video" else "nchw"}
            if requires_gradient(plain, y):
                result = by_operator(plain, y, draw, self._options | how)
            else:
                result = _api.mix(plain, y, self._spec, threads=threads, **draw, **how)
            if y is not None:
                result, targets = result
                made.append(targets)
            made.append(result if typed is None else _typed_like(result, image))
        return made

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(alpha={self.alpha}, num_classes={self.num_classes}, "
            f"seed={self.seed}, step={self.step}, first={self.first})"
        )


def _untyped(image: Any) -> Any:
    return image.as_subclass(sys.modules["torch"].Tensor)


def _typed_like(tensor: Any, image: Any) -> Any:
    return sys.modules["torchvision.tv_tensors"].wrap(tensor, like=image)


_ABOUT = """

    alpha: of Beta(alpha, alpha); 0 leaves the samples as they are. num_classes: K, needed for ids.
    labels_getter: "default" finds labels as torchvision does: the second input, or under a key such
        as "labels"; or a callable that gets the inputs and returns the labels.
    seed, first: as in mixfuse.Mixup; state_dict() holds seed, step and first.

    Called with a batch, whatever its nesting, it returns the same with images mixed and labels as
    rows (B, K): float32 of ids and integers, else their own dtype. Images: torchvision's Image (B,
    C, H, W) and Video (B, T, C, H, W), else the first tensor, (B, C, H, W); sample i is mixed with
    sample i-1. Works for tensors of torch, for NumPy, CuPy and JAX arrays. Differentiable.

    Raises as mixfuse.mix; ValueError for PIL images, boxes, masks and key points, as torchvision.
    """


class MixUp(_Transform):
    __doc__ = (
        "Mixup of a batch (Zhang et al. 2018, arXiv:1710.09412); takes the place of "
        "torchvision.transforms.v2.MixUp." + _ABOUT
    )
    _policy = "mixup"


class CutMix(_Transform):
    __doc__ = (
        "CutMix of a batch (Yun et al. 2019, arXiv:1905.04899); takes the place of "
        "torchvision.transforms.v2.CutMix." + _ABOUT
    )
    _policy = "cutmix"
