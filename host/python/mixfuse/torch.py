# SPDX-License-Identifier: Apache-2.0
"""PyTorch operators: differentiable, and kept whole by torch.compile(fullgraph=True).

    key = mixfuse.torch.key(device=x.device)
    targets, plan = mixfuse.torch.mix_(x, y, key, mixup=0.2, num_classes=1000)  # in place
    h, targets, plan = mixfuse.torch.mix(h, y, key, mixup=2.0, num_classes=1000)  # with a gradient

`torch.ops.mixfuse.mix` and `mix_` are the same with alphas as lists. For torch 2.4 and later; no
part of it is linked with torch.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mixfuse import _api
from mixfuse._torch_backward import Rows, images_backward, labels_backward
from mixfuse._torch_shapes import layout_of, new_mixed, new_plan, new_targets

_SPEC = (
    "float[] mixup=[], float[] cutmix=[], float switch=0.5, float[] minmax=[], "
    'str boxes="paper", str fold="none", float probability=1.0, str pairing="permutation", '
    'str granularity="sample", int group=0, float flip=0.0'
)
_LABELS = (
    "int num_classes=0, float smoothing=0.0, int? ignored=None, ScalarType? target_dtype=None, "
    "str? layout=None"
)
_IMAGES = (
    "float[] mean=[], float[] std=[], str? out_layout=None, ScalarType? out_dtype=None"
)

# No output is an input: what is mixed in place is not returned. `plan` is mixfuse::Row by Row.
_library = torch.library.Library("mixfuse", "DEF")
_tags = (torch.Tag.pt2_compliant_tag,)
_library.define(
    f"mix(Tensor x, Tensor? y, Tensor key, Tensor? partners=None, *, {_SPEC}, {_LABELS}, {_IMAGES})"
    " -> (Tensor mixed, Tensor targets, Tensor plan)",
    tags=_tags,
)
_library.define(
    f"mix_(Tensor(a!) x, Tensor? y, Tensor(b!) key, Tensor? partners=None, *, {_SPEC}, {_LABELS})"
    " -> (Tensor targets, Tensor plan)",
    tags=_tags,
)


def key(
    seed: int | None = None, step: int = 0, first: int = 0, *, device: Any = None
) -> Tensor:
    """The draw of an operator: int64 (3,) of seed, step and the global index of the batch's first
    sample. seed=None takes a word of torch's CPU generator, so torch.manual_seed(seed + rank) is
    heard. On the device of the images, a captured CUDA graph draws anew at each replay; in host
    memory it serves images on any device, and is read when the operator runs."""
    if seed is None:
        seed = int(torch.empty((), dtype=torch.int64).random_(-(1 << 63), None))
    word = (seed + (1 << 63)) % (1 << 64) - (1 << 63)
    return torch.tensor([word, step, first], dtype=torch.int64, device=device)


def _numbers(value: Any) -> list[float]:
    if value is None:
        return []
    if isinstance(value, (int, float)):
        value = (value,)
    return [float(number) for number in value]


def _arguments(
    mixup: Any, cutmix: Any, boxes: Any, num_classes: int | None, options: dict[str, Any]
) -> dict[str, Any]:
    sides = [] if isinstance(boxes, str) else _numbers(boxes)
    return options | {
        "mixup": _numbers(mixup),
        "cutmix": _numbers(cutmix),
        "minmax": sides,
        "boxes": boxes if isinstance(boxes, str) else "paper",
        "num_classes": num_classes or 0,
    }


def mix(
    x: Tensor,
    y: Tensor | None,
    key: Tensor,
    *,
    partners: Tensor | None = None,
    mixup: float | Sequence[float] = 0.0,
    cutmix: float | Sequence[float] = 0.0,
    boxes: str | tuple[float, float] = "paper",
    num_classes: int | None = None,
    mean: float | Sequence[float] | None = None,
    std: float | Sequence[float] | None = None,
    **options: Any,
) -> tuple[Tensor, Tensor, Tensor]:
    """Mixes images, signals or hidden activations and their labels; differentiable in both.

    x, y: as `images` and `labels` of mixfuse.mix; y=None: targets are empty.
    key: int64 (3,) of seed, step and first, from `key()`; read, and left as it is: the same key
        gives the same plan again, so recomputation is safe. key[1] += 1 is the next step.
    partners: (B,) int32 or int64, with pairing="given"; the key is then in host memory.
    options: of Spec: switch, fold, probability, pairing, granularity, group, flip; and of
        mixfuse.mix: smoothing, ignored, layout, out_layout, and as torch.dtype out_dtype and
        target_dtype.

    Returns mixed, targets (dense) and the plan: int32 (B, 11), rows of Plan.rows() as they lie.
    Raises as mixfuse.mix.
    """
    return torch.ops.mixfuse.mix(
        x, y, key, partners, mean=_numbers(mean), std=_numbers(std),
        **_arguments(mixup, cutmix, boxes, num_classes, options),
    )  # fmt: skip


def mix_(
    x: Tensor,
    y: Tensor | None,
    key: Tensor,
    *,
    partners: Tensor | None = None,
    mixup: float | Sequence[float] = 0.0,
    cutmix: float | Sequence[float] = 0.0,
    boxes: str | tuple[float, float] = "paper",
    num_classes: int | None = None,
    **options: Any,
) -> tuple[Tensor, Tensor]:
    """The same in place, for a training loop: x is mixed, and the key's step advanced by one.

    Returns targets and the plan. ValueError where x or y requires a gradient, which an operator
    that overwrites its input does not have.
    """
    return torch.ops.mixfuse.mix_(
        x, y, key, partners, **_arguments(mixup, cutmix, boxes, num_classes, options)
    )


@functools.lru_cache(maxsize=256)
def _spec(
    mixup: tuple[float, ...] = (),
    cutmix: tuple[float, ...] = (),
    minmax: tuple[float, ...] = (),
    boxes: str = "paper",
    **options: Any,
) -> _api.Spec:
    def weight(name: str, numbers: tuple[float, ...]) -> Any:
        if len(numbers) > 2:
            raise ValueError(f"{name}: {list(numbers)}, expected alpha or a and b")
        return numbers if len(numbers) == 2 else numbers[0] if numbers else 0.0

    return _api.Spec(
        mixup=weight("mixup", mixup), cutmix=weight("cutmix", cutmix), boxes=minmax or boxes,
        **options,
    )  # fmt: skip


def _is_live(key: Tensor) -> bool:
    """On a device, where nothing here may wait for it."""
    return key.is_cuda


def _draw(
    x: Tensor, key: Tensor, partners: Tensor | None, layout: str | None, spec: dict[str, Any]
) -> _api.Plan:
    made = _spec(**{name: tuple(v) if isinstance(v, list) else v for name, v in spec.items()})
    if _is_live(key):
        return _api.plan(x, made, draw=key, partners=partners, layout=layout)
    if key.dtype != torch.int64 or key.shape != (3,):
        raise ValueError(
            f"key: {key.dtype} {tuple(key.shape)}, expected int64 (3,) of seed, step and first"
        )
    seed, step, first = key.tolist()
    return _api.plan(
        x, made, seed=seed % (1 << 64), step=step, first=first, partners=partners, layout=layout
    )


def _detached(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.detach()


def _mix(
    x: Tensor,
    y: Tensor | None,
    key: Tensor,
    partners: Tensor | None = None,
    *,
    num_classes: int = 0,
    smoothing: float = 0.0,
    ignored: int | None = None,
    target_dtype: torch.dtype | None = None,
    layout: str | None = None,
    mean: Sequence[float] = (),
    std: Sequence[float] = (),
    out_layout: str | None = None,
    out_dtype: torch.dtype | None = None,
    **spec: Any,
) -> tuple[Tensor, Tensor, Tensor]:
    x, y = x.detach(), _detached(y)
    mixed = new_mixed(x, layout, out_layout, out_dtype)
    targets = new_targets(x, y, num_classes, target_dtype)
    rows = new_plan(x)
    plan = _draw(x, key.clone() if _is_live(key) else key, partners, layout, spec)
    plan.rows_into(rows)
    _api.mix(
        x, y, plan=plan, out=mixed, targets_out=None if y is None else targets,
        num_classes=num_classes or None, smoothing=smoothing, ignored=ignored, layout=layout,
        out_layout=out_layout, mean=list(mean) or None, std=list(std) or None,
    )  # fmt: skip
    return mixed, targets, rows


def _mix_in_place(
    x: Tensor,
    y: Tensor | None,
    key: Tensor,
    partners: Tensor | None = None,
    *,
    num_classes: int = 0,
    smoothing: float = 0.0,
    ignored: int | None = None,
    target_dtype: torch.dtype | None = None,
    layout: str | None = None,
    **spec: Any,
) -> tuple[Tensor, Tensor]:
    if torch.is_grad_enabled() and (x.requires_grad or (y is not None and y.requires_grad)):
        raise ValueError("x: mixed in place, but a gradient is required; expected mixfuse.torch.mix")
    x, y = x.detach(), _detached(y)
    targets = new_targets(x, y, num_classes, target_dtype)
    rows = new_plan(x)
    plan = _draw(x, key, partners, layout, spec)
    plan.rows_into(rows)
    _api.mix(
        x, y, plan=plan, out=x, targets_out=None if y is None else targets,
        num_classes=num_classes or None, smoothing=smoothing, ignored=ignored, layout=layout,
    )  # fmt: skip
    if not _is_live(key):  # there drawing the plan has done it
        key[1] += 1
    return targets, rows


def _mix_fake(
    x: Tensor, y: Any, key: Tensor, partners: Any = None, *, num_classes: int = 0,
    target_dtype: Any = None, layout: Any = None, out_layout: Any = None, out_dtype: Any = None,
    **_: Any,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    mixed = new_mixed(x, layout, out_layout, out_dtype)
    return mixed, new_targets(x, y, num_classes, target_dtype), new_plan(x)


def _mix_in_place_fake(
    x: Tensor, y: Any, key: Tensor, partners: Any = None, *, num_classes: int = 0,
    target_dtype: Any = None, **_: Any,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    return new_targets(x, y, num_classes, target_dtype), new_plan(x)


def _setup(ctx: Any, inputs: Any, keyword_only_inputs: Any, output: Any) -> None:
    x, y, options = inputs[0], inputs[1], keyword_only_inputs
    ctx.save_for_backward(output[2])
    ctx.set_materialize_grads(False)
    ctx.permuted = options["pairing"] not in ("replacement", "given")
    layout = layout_of(x, options["layout"])
    ctx.images = {
        "layout": layout,
        "out_layout": options["out_layout"] or layout,
        "dtype": x.dtype,
        "std": list(options["std"]),
        "boxes": any(options["cutmix"]) or len(options["minmax"]) > 0,
        "flips": options["flip"] > 0,
    }
    ctx.rows_dtype = None if y is None else y.dtype


def _backward(ctx: Any, mixed: Any, targets: Any, _: Any) -> tuple[Any, Any, None, None]:
    rows = Rows(ctx.saved_tensors[0], ctx.permuted)
    x = y = None
    if mixed is not None and ctx.needs_input_grad[0]:
        x = images_backward(mixed, rows, **ctx.images)
    if targets is not None and ctx.needs_input_grad[1]:
        y = labels_backward(targets, rows, ctx.rows_dtype)
    return x, y, None, None


for _device in ("CPU", "CUDA"):
    _library.impl("mix", _mix, _device)
    _library.impl("mix_", _mix_in_place, _device)
torch.library.register_fake("mixfuse::mix", _mix_fake, lib=_library)
torch.library.register_fake("mixfuse::mix_", _mix_in_place_fake, lib=_library)
torch.library.register_autograd("mixfuse::mix", _backward, setup_context=_setup, lib=_library)
