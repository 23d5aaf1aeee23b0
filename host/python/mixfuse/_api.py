# SPDX-License-Identifier: Apache-2.0
"""The functions of the package: (spec, draw) -> plan -> mixed batch -> mixed labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from mixfuse import _core

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

    mixup, cutmix: alpha or (a, b) of each, 0 for off; where both are on, `switch` is CutMix's share.
    boxes, fold: as in Policy, for these two.
    policies: Policy values instead of these, at most 8.
    probability: share of samples that is mixed at all.
    pairing: who is mixed with whom: "permutation" (uniform over all B!), "cycle" (never oneself),
        "pairs", "reverse" (timm), "roll" (torchvision), "replacement", "given" (plan's `partners`).
    granularity: what lambda, policy, gate and box are drawn once for: "sample", "pair" or "batch".
    group: partners are chosen among this many consecutive samples; 0: the whole batch.
    flip: probability of a horizontal flip, for each sample.

    Raises TypeError and ValueError, naming the argument; numbers out of range are ValueErrors of
    the first call that uses them.
    """

    __slots__ = ("_core", "_text")

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
        self._core = _core.Spec(
            [tuple(policy) for policy in policies], probability, pairing, granularity, group, flip
        )
        self._text = (
            f"Spec(policies={list(policies)}, probability={probability}, pairing={pairing!r}, "
            f"granularity={granularity!r}, group={group}, flip={flip})"
        )

    def __repr__(self) -> str:
        return self._text


def _two_policies(mixup: Any, cutmix: Any, switch: Any, boxes: Any, fold: Any) -> list[Policy]:
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


def _spec_of(spec: Spec | None, options: dict[str, Any]) -> _core.Spec:
    if spec is None:
        return Spec(**options)._core
    if options:
        raise TypeError(f"{', '.join(options)}: given beside spec")
    if not isinstance(spec, Spec):
        raise TypeError(f"spec: {type(spec).__qualname__}, expected a mixfuse.Spec")
    return spec._core


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
    if rows is not None:
        import numpy

        if spec is not None or policy or partners is not None or draw is not None:
            raise TypeError("rows: given beside spec, partners or draw")
        rows = numpy.ascontiguousarray(rows, _row_dtype()).tobytes()
    return _core.plan(
        images, _spec_of(spec, policy), seed, step, first, draw, schedule, partners, rows, out,
        layout, device, stream, threads,
    )  # fmt: skip


def _row_dtype() -> Any:
    import numpy

    return numpy.dtype(
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


def _rows(self: Plan) -> Any:
    import numpy

    return numpy.frombuffer(self.rows_bytes(), _row_dtype()).copy()


Plan.rows = _rows


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
    mean: Any = None,
    std: Any = None,
    stream: Any = None,
    threads: int = 0,
    **policy: Any,
) -> Any:
    if plan is None:
        core_spec = _spec_of(spec, policy)
    elif spec is not None or policy or seed or step or first or draw is not None:
        raise TypeError("plan: given beside spec, seed, step, first or draw")
    else:
        core_spec = None
    result = _core.mix(
        images, labels, plan, core_spec, seed, step, first, draw, schedule, partners,
        partner_labels, out, targets_out, num_classes, smoothing, ignored, target == "sparse",
        layout, out_layout, out_dtype, target_dtype, mean, std, stream, threads,
    )  # fmt: skip
    return result


def info() -> dict[str, Any]:
    return _core.info()
