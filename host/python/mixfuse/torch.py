# SPDX-License-Identifier: Apache-2.0
"""PyTorch operators: differentiable, and kept whole by torch.compile(fullgraph=True).

    key = mixfuse.torch.key(device=x.device)
    targets, plan = mixfuse.torch.mix_(x, y, key, mixup=0.2, num_classes=1000)  # in place
    h, targets, plan = mixfuse.torch.mix(h, y, key, mixup=2.0, num_classes=1000)  # with a gradient

They are `torch.ops.mixfuse.mix` and `mix_`, whose last argument is `options(mixup=0.2, ...)`. For
torch 2.4 and later; no part of this is linked with torch.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mixfuse import _api
from mixfuse._draws import checked, seed_of_framework
from mixfuse._torch_backward import Rows, images_backward, labels_backward
from mixfuse._torch_options import Options, options_of, text_of
from mixfuse._torch_shapes import layout_of, new_mixed, new_plan, new_targets

# No output is an input: what is mixed in place is not returned. `plan` is mixfuse::Row by Row.
_library = torch.library.Library("mixfuse", "DEF")
_tags = (torch.Tag.pt2_compliant_tag,)
_library.define(
    "mix(Tensor x, Tensor? y, Tensor key, Tensor? partners, str options)"
    " -> (Tensor mixed, Tensor targets, Tensor plan)",
    tags=_tags,
)
_library.define(
    "mix_(Tensor(a!) x, Tensor? y, Tensor(b!) key, Tensor? partners, str options)"
    " -> (Tensor targets, Tensor plan)",
    tags=_tags,
)


def key(seed: int | None = None, step: int = 0, first: int = 0, *, device: Any = None) -> Tensor:
    """The draw of an operator: int64 (3,) of seed, step and the global index of the batch's first
    sample (seed 64 bits, the others 48). seed=None takes a word of torch's CPU generator, so
    torch.manual_seed(seed + rank) is heard. On the device of the images, a captured CUDA graph
    draws anew at each replay; in host memory it serves images on any device, and is read when the
    operator runs. Raises TypeError and ValueError, naming the argument."""
    word = seed_of_framework() if seed is None else checked("seed", seed, 64)
    word -= (word >> 63) << 64  # the same bits, signed
    words = [word, checked("step", step, 48), checked("first", first, 48)]
    return torch.tensor(words, dtype=torch.int64, device=device)


@torch.compiler.assume_constant_result  # or a trace would follow how the text is made
def options(**how: Any) -> str:
    """The operators' last argument, from spec=, a Spec, or its keyword arguments (mixup, cutmix,
    switch, boxes, fold, policies, probability, pairing, granularity, group, flip) and from those of
    mixfuse.mix (num_classes, smoothing, ignored, target_dtype, layout; out of place mean, std,
    out_layout, out_dtype)."""
    return text_of(how)


def mix(
    x: Tensor, y: Tensor | None, key: Tensor, *, partners: Tensor | None = None, **how: Any
) -> tuple[Tensor, Tensor, Tensor]:
    """Mixes images, signals or hidden activations and their labels; differentiable in both.

    x, y: as `images` and `labels` of mixfuse.mix; y=None: targets are empty.
    key: int64 (3,) of seed, step and first, from `key()`; read, and left as it is: the same key
        gives the same plan again, so recomputation is safe. Add 1 to key[1] for the next step.
    partners: (B,) int32 or int64, with pairing="given"; the key is then in host memory.
    how: as of `options`.

    Returns mixed, targets (dense) and the plan: int32 (B, 11), rows of Plan.rows() as they lie.
    Raises as mixfuse.mix. What is wrong with values on a CUDA device (ids, a key's step) is told by
    nobody here: bad ids leave their share out, a bad key leaves the batch unmixed.
    """
    return torch.ops.mixfuse.mix(x, y, key, partners, options(**how))


def mix_(
    x: Tensor, y: Tensor | None, key: Tensor, *, partners: Tensor | None = None, **how: Any
) -> tuple[Tensor, Tensor]:
    """The same in place, for a training loop: x is mixed, and the key's step advanced by one.

    Returns targets and the plan. ValueError where x or y requires a gradient, which an operator
    that overwrites its input does not have.
    """
    return torch.ops.mixfuse.mix_(x, y, key, partners, options(**how))


def _is_live(key: Tensor) -> bool:
    """On a device, where nothing here may wait for it."""
    return key.is_cuda


def _draw(x: Tensor, key: Tensor, partners: Tensor | None, how: Options) -> _api.Plan:
    if _is_live(key):
        return _api.plan(x, how.spec, draw=key, partners=partners, layout=how.layout)
    if key.dtype != torch.int64 or key.shape != (3,):
        raise ValueError(
            f"key: {key.dtype} {tuple(key.shape)}, expected int64 (3,) of seed, step and first"
        )
    seed, step, first = key.tolist()
    return _api.plan(
        x, how.spec, seed=seed % (1 << 64), step=step, first=first, partners=partners,
        layout=how.layout,
    )  # fmt: skip


def _mix(
    x: Tensor, y: Tensor | None, key: Tensor, partners: Tensor | None, options: str
) -> tuple[Tensor, Tensor, Tensor]:
    how = options_of(options)
    x, y = x.detach(), None if y is None else y.detach()
    mixed, targets, rows = _mix_fake(x, y, key, partners, options)
    plan = _draw(x, key.clone() if _is_live(key) else key, partners, how)
    plan.rows_into(rows)
    _api.mix(
        x, y, plan=plan, out=mixed, targets_out=None if y is None else targets, layout=how.layout,
        **how.labels, **how.images,
    )  # fmt: skip
    return mixed, targets, rows


def _mix_in_place(
    x: Tensor, y: Tensor | None, key: Tensor, partners: Tensor | None, options: str
) -> tuple[Tensor, Tensor]:
    targets, rows = _mix_in_place_fake(x, y, key, partners, options)
    how = options_of(options)
    x, y = x.detach(), None if y is None else y.detach()
    plan = _draw(x, key, partners, how)
    plan.rows_into(rows)
    _api.mix(
        x, y, plan=plan, out=x, targets_out=None if y is None else targets, layout=how.layout,
        **how.labels,
    )  # fmt: skip
    if not _is_live(key):  # there drawing the plan has done it
        key[1] += 1
    return targets, rows


def _mix_fake(
    x: Tensor, y: Tensor | None, key: Tensor, partners: Tensor | None, options: str
) -> tuple[Tensor, Tensor, Tensor]:
    how = options_of(options)
    mixed = new_mixed(x, how.layout, how.out_layout, how.out_dtype)
    return mixed, new_targets(x, y, how.labels["num_classes"], how.target_dtype), new_plan(x)


def _mix_in_place_fake(
    x: Tensor, y: Tensor | None, key: Tensor, partners: Tensor | None, options: str
) -> tuple[Tensor, Tensor]:
    if torch.is_grad_enabled() and (x.requires_grad or (y is not None and y.requires_grad)):
        raise ValueError("x: mixed in place, but it requires grad; expected mixfuse.torch.mix")
    how = options_of(options)
    if how.only_out_of_place:
        raise ValueError(f"{how.only_out_of_place[0]}: given in place, expected mixfuse.torch.mix")
    return new_targets(x, y, how.labels["num_classes"], how.target_dtype), new_plan(x)


def _setup(ctx: Any, inputs: Any, output: Any) -> None:
    x, y, *_, text = inputs
    ctx.save_for_backward(output[2])
    ctx.set_materialize_grads(False)
    ctx.options, ctx.layout = text, layout_of(x, options_of(text).layout)
    ctx.dtypes = x.dtype, None if y is None else y.dtype


def _backward(ctx: Any, mixed: Any, targets: Any, _: Any) -> tuple[Any, ...]:
    how = options_of(ctx.options)
    rows = Rows(ctx.saved_tensors[0], how.permuted)
    x = y = None
    if mixed is not None and ctx.needs_input_grad[0]:
        x = images_backward(
            mixed, rows, layout=ctx.layout, out_layout=how.out_layout or ctx.layout,
            dtype=ctx.dtypes[0], std=how.std, boxes=how.boxes, flips=how.flips,
        )  # fmt: skip
    if targets is not None and ctx.needs_input_grad[1]:
        y = labels_backward(targets, rows, ctx.dtypes[1])
    return x, y, None, None, None


for _device in ("CPU", "CUDA"):
    _library.impl("mix", _mix, _device)
    _library.impl("mix_", _mix_in_place, _device)
torch.library.register_fake("mixfuse::mix", _mix_fake, lib=_library)
torch.library.register_fake("mixfuse::mix_", _mix_in_place_fake, lib=_library)
torch.library.register_autograd("mixfuse::mix", _backward, setup_context=_setup, lib=_library)
