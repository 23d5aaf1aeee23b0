# SPDX-License-Identifier: Apache-2.0
"""The functions of the package: (spec, draw) -> plan -> mixed batch -> mixed labels."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Sequence
from typing import Any, NamedTuple

from mixfuse import _core, _frameworks

Plan = _core.Plan


class Policy(NamedTuple):
    """One way to mix, and the share of samples that it gets.

    kind: "mixup", one weight for the whole sample (Zhang et al. 2018, arXiv:1710.09412), or
        "cutmix", a box of the partner pasted in (Yun et al. 2019, arXiv:1905.04899).
    weight: alpha, or (a, b): lambda ~ Beta(a, b), each 1e-6 to 1e6; 0 switches the policy off.
    probability: its share; those of a spec sum to at most 1, the rest is left unmixed.
    fold: which side gets the larger share: "none" (as drawn), "own" or "partner".
    boxes: of cutmix: "paper" (clipped at the border), "inside" (wholly inside, as Keras),
        "uniform" (covers each pixel equally often), or (lo, hi): sides drawn between these shares
        of the image, lambda not used.
    """

    kind: str
    weight: float | tuple[float, float] = 1.0
    probability: float = 1.0
    fold: str = "none"
    boxes: str | tuple[float, float] = "paper"


class Spec:
    """What to do; never how, where or when. Immutable; one serves any number of calls.

    mixup, cutmix: alpha or (a, b) of each, 0 for off; where both are on, `switch` is CutMix's.
    boxes, fold: as in Policy, for these two.
    policies: Policy values instead of these, at most 8.
    probability: share of samples that is mixed at all.
    pairing: who is mixed with whom: "permutation" (uniform over all B!), "cycle" (never oneself),
        "pairs", "reverse" (timm), "roll" (torchvision), "replacement", "given" (plan's `partners`).
    granularity: what lambda, policy, gate and box are drawn once for: "sample", "pair" or "batch".
    group: partners are chosen among this many consecutive samples; 0: the whole batch.
    flip: probability of a horizontal flip, for each sample.

    Raises TypeError and ValueError, naming the argument; what is out of range in `policies` and
    `group` is told by the first call that uses them.
    """

    __slots__ = ("_core", "flip", "granularity", "group", "pairing", "policies", "probability")

    def __init__(
        self,
        *,
        mixup: float | tuple[float, float] = 0.0,
        cutmix: float | tuple[float, float] = 0.0,
        switch: float = 0.5,
        boxes: str | tuple[float, float] = "paper",
        fold: str = "none",
        policies: Sequence[Policy] | None = None,
        probability: float = 1.0,
        pairing: str = "permutation",
        granularity: str = "sample",
        group: int = 0,
        flip: float = 0.0,
    ) -> None:
        if policies is None:
            policies = _two_policies(mixup, cutmix, switch, boxes, fold)
        elif (mixup, cutmix, switch, boxes, fold) != (0.0, 0.0, 0.5, "paper", "none"):
            raise TypeError("policies: given beside mixup, cutmix, switch, boxes or fold")
        elif not isinstance(policies, (list, tuple)):
            raise TypeError(f"policies: {_kind(policies)}, expected a list of Policy values")
        check_share("probability", probability)
        check_share("flip", flip)
        self.policies, self.probability = tuple(policies), probability
        self.pairing, self.granularity, self.group, self.flip = pairing, granularity, group, flip
        self._core = _core.Spec([tuple(policy) for policy in policies], *self._rest())

    def _rest(self) -> tuple[Any, ...]:
        return self.probability, self.pairing, self.granularity, self.group, self.flip

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Spec):
            return NotImplemented
        return (self.policies, *self._rest()) == (other.policies, *other._rest())

    def __hash__(self) -> int:
        return hash((self.policies, *self._rest()))

    def __reduce__(self) -> tuple[Any, ...]:
        return _spec_with, (self.policies, *self._rest())

    def __repr__(self) -> str:
        return (
            f"Spec(policies={self.policies}, probability={self.probability}, "
            f"pairing={self.pairing!r}, granularity={self.granularity!r}, group={self.group}, "
            f"flip={self.flip})"
        )


def _spec_with(
    policies: Any, probability: Any, pairing: Any, granularity: Any, group: Any, flip: Any
) -> Spec:
    return Spec(policies=policies, probability=probability, pairing=pairing,
                granularity=granularity, group=group, flip=flip)  # fmt: skip


def _kind(value: Any) -> str:
    return type(value).__qualname__


def _number(name: str, value: Any, expected: str) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{name}: {_kind(value)}, expected {expected}") from None


def check_share(name: str, value: Any) -> None:
    if not 0.0 <= _number(name, value, "a number") <= 1.0:
        raise ValueError(f"{name}: {value}, expected 0 to 1")


def check_alpha(name: str, value: Any) -> None:
    """Of Beta: a number or two, 0 for off."""
    pair = value if isinstance(value, (list, tuple)) else (value, value)
    numbers = [_number(name, one, "alpha or (a, b)") for one in pair]
    if len(numbers) != 2:
        raise ValueError(f"{name}: {len(numbers)} numbers, expected alpha or (a, b)")
    if numbers != [0.0, 0.0] and not all(1e-6 <= one <= 1e6 for one in numbers):
        raise ValueError(f"{name}: {value}, expected 1e-6 to 1e6, or 0 for off")


def _two_policies(mixup: Any, cutmix: Any, switch: Any, boxes: Any, fold: Any) -> list[Policy]:
    check_alpha("mixup", mixup)
    check_alpha("cutmix", cutmix)
    check_share("switch", switch)
    on = {name: alpha not in (0, (0, 0)) for name, alpha in (("m", mixup), ("c", cutmix))}
    if not isinstance(boxes, str) and not on["c"] and not on["m"]:
        cutmix, on["c"] = 1.0, True  # sides given and nothing else, as in timm
    share = switch if on["m"] and on["c"] else 1.0
    policies = []
    if on["m"]:
        policies.append(Policy("mixup", mixup, 1.0 - share if on["c"] else 1.0, fold))
    if on["c"]:
        policies.append(Policy("cutmix", cutmix, share, fold, boxes))
    return policies


class Schedule(NamedTuple):
    """What a live draw may read from memory at each step instead of the spec's: float32 tensors on
    the plan's device, or None.

    weights: (policies, 2), a and b of each.   probabilities: (policies,).   probability: (1,).
    """

    weights: Any = None
    probabilities: Any = None
    probability: Any = None


class Targets(NamedTuple):
    """Sparse targets: loss = weight * l(own) + (1 - weight) * l(partner)."""

    own: Any  #: (B,) int64, class of the own sample; -1 for an id that was no class
    partner: Any  #: (B,) int64, class of the partner
    weight: Any  #: (B,) float32, share of the own class


def spec_of(spec: Spec | None, options: dict[str, Any]) -> Spec:
    """The one given, or one made of `options`."""
    if spec is None and not options:
        raise ValueError("spec: missing, expected a Spec, or its arguments such as mixup=0.2")
    if spec is None:
        try:
            return _same_as_before(tuple(options.items()))
        except TypeError:  # cannot be hashed, or is wrong, which this tells
            if unknown := options.keys() - _OPTIONS:
                raise TypeError(f"{min(unknown)}: there is no such argument") from None
            return Spec(**options)
    if options:
        raise TypeError(f"{', '.join(options)}: given beside spec")
    if not isinstance(spec, Spec):
        raise TypeError(f"spec: {type(spec).__qualname__}, expected a mixfuse.Spec")
    return spec


@functools.lru_cache(maxsize=64)
def _same_as_before(options: tuple[tuple[str, Any], ...]) -> Spec:
    return Spec(**dict(options))


_ANY = Spec()
_OPTIONS = frozenset(inspect.signature(Spec).parameters)


def plan(
    images: Any,
    spec: Spec | None = None,
    *,
    seed: int = 0,
    step: int = 0,
    first: int = 0,
    draw: Any = None,
    schedule: Schedule | None = None,
    partners: Any = None,
    rows: Any = None,
    out: Plan | None = None,
    layout: str | None = None,
    device: str | None = None,
    stream: Any = None,
    threads: int = 0,
    **policy: Any,
) -> Plan:
    """Draws who is mixed with whom and how, where the images lie; `mix(..., plan=)` applies it, to
    as many tensors as you like.

    images: (B, ...), of which shape and device matter, or a shape, then with `device` ("cpu",
        "cuda:0"). Axes by `layout` as in `mix`.
    spec, policy: a Spec, or its arguments.
    seed, step, first: the whole randomness: seed of 64 bits, used as given; step and the global
        index of the batch's first sample below 2^48.
    draw: in their place an int64 tensor (3,) of seed, step, first on the images' device: read
        there, its step advanced by one, so that each replay of a CUDA graph draws anew. What is out
        of range there is told by the plan's error().
    schedule: what a live draw reads instead of the spec's numbers.
    partners: (B,) int32 or int64 with pairing="given": the partner of each.
    rows: instead of all that: NumPy rows, made by hand or read by Plan.rows().
    out: a plan of enough capacity to draw into, instead of a new one.
    stream, threads: as in `mix`.

    Returns the plan. Raises as `mix`.
    """
    if rows is not None:
        from mixfuse._rows import to_bytes

        if spec is not None or policy or partners is not None or draw is not None:
            raise TypeError("rows: given beside spec, partners or draw")
        rows = to_bytes(rows)
        spec = _ANY
    _check_draw(draw, seed, step, first, schedule)
    core = spec_of(spec, policy)._core
    arguments = (images, core, seed, step, first, draw, schedule, partners, rows, out, layout,
                 device, stream, threads)  # fmt: skip
    if stream is None:
        made = _core.plan(*arguments)
    else:
        with _frameworks.on_stream(images, stream):
            made = _core.plan(*arguments)
    _frameworks.has_written(draw)
    return made


def _check_draw(draw: Any, seed: int, step: int, first: int, schedule: Any) -> None:
    if draw is not None and (seed or step or first):
        raise TypeError("draw: given beside seed, step or first")
    if schedule is not None and not isinstance(schedule, Schedule):
        raise TypeError(f"schedule: {type(schedule).__qualname__}, expected a mixfuse.Schedule")


def mix(
    images: Any,
    labels: Any = None,
    spec: Spec | None = None,
    *,
    plan: Plan | None = None,
    seed: int = 0,
    step: int = 0,
    first: int = 0,
    draw: Any = None,
    schedule: Schedule | None = None,
    partners: Any = None,
    partner_labels: Any = None,
    out: Any = None,
    targets_out: Any = None,
    num_classes: int | None = None,
    smoothing: float = 0.0,
    ignored: int | None = None,
    target: str = "dense",
    layout: str | None = None,
    out_layout: str | None = None,
    out_dtype: Any = None,
    target_dtype: Any = None,
    mean: float | Sequence[float] | None = None,
    std: float | Sequence[float] | None = None,
    stream: Any = None,
    threads: int = 0,
    **policy: Any,
) -> Any:
    """Mixes a batch with itself, images and labels alike, in one pass.

        mixed, targets = mix(images, labels, mixup=0.2, cutmix=1.0, num_classes=1000, step=step)

    images: (B, ...) of uint8, float16, bfloat16, float32 or float64, any strides, of any framework
        that speaks DLPack; never copied.
    labels: class ids (B,) of uint8, int32 or int64, or rows (B, K) of floats or bool; None: images
        alone are mixed.
    spec, policy, seed, step, first, draw, schedule: as in `plan`; or
    plan: one that is there already.
    partners, partner_labels: a second batch of the same shape, from which partners come.
    out, targets_out: tensors to write, returned as they are; out=images mixes in place. Without
        them the frameworks of images and labels make new ones; JAX arrays cannot be written.
    num_classes: K; needed for ids unless targets_out says it.
    smoothing: of ids, before the mix: off = s/K, on = 1 - s + s/K, unmixed samples too.
    ignored: an id whose share is left out of the targets.
    target: "dense", (B, K) float32 (`target_dtype`: float16, bfloat16; float rows keep theirs), or
        "sparse", a Targets.
    layout: "nf", "nct", "nchw", "nhwc", "ntchw" or "ncdhw"; without it by the number of axes nf,
        nct, nchw or ncdhw, so that channels last and video must be said. Boxes lie on f, t, h w or
        d h w. `out_layout`: the same axes in another order.
    out_dtype: uint8 to float16, bfloat16, float32; float32 to float16, bfloat16.
    mean, std: of each channel, or one for all, in full-scale units as torchvision's Normalize after
        its conversion to [0, 1]: applied to what was mixed, out_dtype then a float.
    stream: for CUDA tensors, an int or an object with __cuda_stream__, cuda_stream or ptr; without
        it the current stream of the images' framework, else the legacy default stream. Tensors are
        kept alive until that stream has used them.
    threads: of the CPU, 0: as many as OpenMP takes.

    Returns images, or (images, targets). On CUDA it returns once work is queued.

    Raises, naming the argument, before anything is queued: TypeError (not a tensor, not a number,
    float class ids, a JAX array to be written, arguments that exclude each other), ValueError
    (shapes, ranges, devices that differ, read-only outputs, overlap, a capsule that was used),
    NotImplementedError (dtypes and sizes that are not built, CUDA in a build without it) and
    RuntimeError (what CUDA refuses). A class id outside 0..K-1 leaves its share out; on the CPU it
    warns (RuntimeWarning), on CUDA the error() of a plan that was given tells.

    Mixup: Zhang et al. 2018, arXiv:1710.09412. CutMix: Yun et al. 2019, arXiv:1905.04899.
    """
    if plan is None:
        if draw is not None:
            _check_draw(draw, seed, step, first, schedule)
        core = spec._core if type(spec) is Spec and not policy else spec_of(spec, policy)._core
    elif spec is not None or policy or seed or step or first or draw is not None or schedule:
        raise TypeError("plan: given beside spec, seed, step, first, draw or schedule")
    else:
        core = None
    if target not in ("dense", "sparse"):
        raise ValueError(f"target: {target!r}, expected 'dense' or 'sparse'")
    if labels is None and (
        partner_labels is not None or targets_out is not None or target == "sparse"
    ):
        raise TypeError("labels: missing beside partner_labels, targets_out or target")
    if out is not None and (out_dtype is not None or out is images and out_layout is not None):
        raise TypeError("out: given beside out_dtype, or images beside out_layout")
    if targets_out is not None and target_dtype is not None:
        raise TypeError("targets_out: given beside target_dtype")
    for tensor in (images, labels, partners, partner_labels, out, targets_out):
        if tensor is not None and getattr(tensor, "requires_grad", False):
            _check_gradients(images=images, labels=labels, partners=partners, out=out,
                             partner_labels=partner_labels, targets_out=targets_out)  # fmt: skip
            break
    arguments = (images, labels, plan, core, seed, step, first, draw, schedule, partners,
                 partner_labels, out, targets_out, num_classes, smoothing, ignored,
                 target == "sparse", layout, out_layout, out_dtype, target_dtype, mean, std, stream,
                 threads)  # fmt: skip
    if stream is None:
        result = _core.mix(*arguments)
    else:
        with _frameworks.on_stream(images, stream):
            result = _core.mix(*arguments)
    _frameworks.has_written(out, targets_out, draw)
    return result


def _check_gradients(**tensors: Any) -> None:
    for name, tensor in tensors.items():
        if _frameworks.requires_gradient(tensor):
            raise ValueError(
                f"{name}: requires grad, which would be lost; expected {name}.detach(), or the "
                "operators of mixfuse.torch"
            )


def info() -> dict[str, Any]:
    """What this build and this machine can do: version, stream_version (of the drawn bits),
    backends, CUDA devices, driver, runtime (13000 is 13.0), architectures, and `absent`: why there
    is no CUDA device. Asks CUDA at its first call, unlike the rest of the package, which asks only
    when it gets a CUDA tensor."""
    return _core.info()
