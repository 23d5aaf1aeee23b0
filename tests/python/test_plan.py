# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy
import pytest
from batches import ids, images

import mixfuse

GOLDEN = Path(__file__).parents[1] / f"golden/stream_{mixfuse.stream_version}.txt"

#: As tests/conformance/golden_test.cpp: shape, and arguments of Spec.
CASES: dict[str, tuple[tuple[int, ...], dict[str, Any]]] = {
    "mixup0.01": ((16, 32), {"mixup": 0.01}),
    "mixup1": ((16, 32), {"mixup": 1.0}),
    "mixup0.2,0.8": ((16, 32), {"mixup": (0.2, 0.8)}),
    "cutmix-paper-2d": ((16, 1, 224, 160), {"cutmix": 1}),
    "cutmix-inside-1d": ((16, 1000), {"cutmix": 1.0, "boxes": "inside"}),
    "cutmix-uniform-3d": (
        (16, 1, 16, 24, 32),
        {"cutmix": 1.0, "boxes": "uniform", "fold": "own"},
    ),
    "cutmix-minmax-2d": ((16, 1, 17, 31), {"boxes": (0.2, 0.8)}),
    "far": ((16, 8), {"mixup": 1.0}),
}
for index, pairing in enumerate(["cycle", "pairs", "reverse", "roll", "replacement"], 1):
    CASES[f"pairing{index}"] = (
        (16, 1, 8, 8),
        {
            "policies": [mixfuse.Policy("mixup", 1.0, 0.75)],
            "pairing": pairing,
            "group": 6,
            "probability": 0.5,
            "flip": 0.5,
            "granularity": "pair" if pairing == "pairs" else "batch",
        },
    )


def golden() -> dict[str, list[str]]:
    rows: dict[str, list[str]] = {}
    for line in GOLDEN.read_text().splitlines():
        if line.startswith("# "):
            rows[name := line[2:]] = []
        else:
            rows[name].append(line)
    return rows


def lines_of(plan: mixfuse.Plan) -> list[str]:
    """Printed as in C++, after the sample's number."""
    return [line.split(": ", 1)[1] for line in str(plan).splitlines()]


@pytest.mark.parametrize("name", CASES)
def test_rows_are_those_of_the_stream_version(place: Any, name: str) -> None:
    shape, policy = CASES[name]
    number = list(golden()).index(name) + 1
    draw = {"seed": number, "step": 100 * number, "first": 1000 * number}
    if name == "far":
        draw = {"seed": 2**64 - 1, "step": 2**48 - 1, "first": 2**48 - 16}
    plan = mixfuse.plan(shape, **draw, **policy, device=place.device)
    assert lines_of(plan) == golden()[name]


def test_rows_are_read_back_and_given_again(place: Any) -> None:
    batch = place.put(images())
    plan = mixfuse.plan(batch, mixup=0.4, cutmix=1.0, flip=0.5, seed=3)
    rows = plan.rows()
    assert rows.dtype.names == ("partner", "outside", "inside", "label", "flip", "lo", "hi")
    assert sorted(rows["partner"]) == list(range(6))
    again = mixfuse.plan(batch, rows=rows)
    assert str(again) == str(plan)
    assert (plan.samples, plan.capacity, plan.spatial) == (6, 6, (9, 8))
    assert plan.device == place.device and "6 samples" in repr(plan)


def test_rows_are_copied_on_the_device(place: Any) -> None:
    batch = place.put(images())
    plan = mixfuse.plan(batch, cutmix=1.0, seed=3)
    words = place.put(numpy.zeros((6, 11), "int32"))
    plan.rows_into(words)
    assert place.get(words).tobytes() == plan.rows().tobytes()
    with pytest.raises(ValueError, match="^out: "):
        plan.rows_into(place.put(numpy.zeros((5, 11), "int32")))


def test_a_plan_is_drawn_into_again(place: Any) -> None:
    batch = place.put(images())
    plan = mixfuse.plan(batch, mixup=1.0, seed=1)
    first = str(plan)
    assert mixfuse.plan(batch, mixup=1.0, seed=2, out=plan) is plan
    assert str(plan) != first
    with pytest.raises(ValueError, match="^images: 7 samples, the plan's capacity is 6"):
        mixfuse.plan(place.put(images((7, 3, 9, 8))), mixup=1.0, out=plan)


def test_a_live_draw_goes_on_by_itself(place: Any) -> None:
    batch, spec = place.put(images()), mixfuse.Spec(mixup=0.3, cutmix=1.0)
    draw = place.put(numpy.array([7, 40, 600]))
    for step in (40, 41, 42):
        live = mixfuse.plan(batch, spec, draw=draw)
        assert str(live) == str(mixfuse.plan(batch, spec, seed=7, step=step, first=600))
    assert place.get(draw).tolist() == [7, 43, 600]
    assert live.error() is None


def test_a_schedule_is_read_where_it_lies(place: Any) -> None:
    batch, spec = place.put(images()), mixfuse.Spec(mixup=0.3, cutmix=1.0)
    draw = place.put(numpy.array([7, 0, 0]))
    follows = mixfuse.Schedule(
        weights=place.put(numpy.array([[2, 2], [0.5, 0.5]], "float32")),
        probabilities=place.put(numpy.array([0.25, 0.5], "float32")),
        probability=place.put(numpy.array([0.75], "float32")),
    )
    same = mixfuse.Spec(
        policies=[mixfuse.Policy("mixup", 2.0, 0.25), mixfuse.Policy("cutmix", 0.5, 0.5)],
        probability=0.75,
    )
    live = mixfuse.plan(batch, spec, draw=draw, schedule=follows)
    assert str(live) == str(mixfuse.plan(batch, same, seed=7))
    with pytest.raises(ValueError, match="^schedule.probability: f32 .*, expected 1"):
        mixfuse.plan(
            batch, spec, draw=draw,
            schedule=mixfuse.Schedule(None, None, place.put(numpy.ones(2, "float32"))),
        )  # fmt: skip


def test_partners_are_given(place: Any) -> None:
    batch, partners = place.put(images()), numpy.array([3, 0, 0, 1, 5, 4], "int32")
    plan = mixfuse.plan(batch, mixup=1.0, pairing="given", partners=place.put(partners))
    assert plan.rows()["partner"].tolist() == partners.tolist()


@pytest.mark.cuda
def test_a_bad_partner_is_told_by_the_plan(cuda: Any) -> None:
    partners = cuda.put(numpy.array([3, 0, 0, 6, -1, 4], "int64"))
    plan = mixfuse.plan(
        cuda.put(images()), mixup=1.0, pairing="given", partners=partners, step=5
    )
    assert plan.error() == ("partner", 5, 3)
    plan.clear_error()
    assert plan.error() is None


@pytest.mark.cuda
def test_a_bad_class_is_told_by_the_plan_and_cpu_warns(cuda: Any) -> None:
    labels = ids()
    labels[2] = 5
    batch = images()
    plan = mixfuse.plan(cuda.put(batch), mixup=1.0, step=8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nothing is read back from the device for a warning
        mixfuse.mix(
            cuda.put(batch), cuda.put(labels), plan=plan, out=cuda.put(batch),
            targets_out=cuda.put(numpy.zeros((6, 5), "float32")),
        )  # fmt: skip
    assert plan.error() == ("label", 8, 2)
    with pytest.warns(RuntimeWarning, match="labels: the class of sample 2 "):
        mixfuse.mix(batch, labels, mixup=1.0, num_classes=5)


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({}, ValueError, "spec: missing"),
        ({"mixup": -1}, ValueError, "mixup: -1, expected 1e-6 to 1e6"),
        ({"mixup": "a"}, TypeError, "mixup: str"),
        ({"mixup": None}, TypeError, "mixup: NoneType"),
        ({"cutmix": (1, 2, 3)}, ValueError, "cutmix: 3 numbers"),
        ({"cutmix": (0, 1)}, ValueError, r"cutmix: \(0, 1\)"),
        ({"mixup": 1, "cutmix": 1, "switch": 2}, ValueError, "switch: 2, expected 0 to 1"),
        ({"mixup": 1, "cutmix": 1, "switch": "x"}, TypeError, "switch: str"),
        ({"policies": 3}, TypeError, "policies: int"),
        ({"policies": [mixfuse.Policy("mixup", -1)]}, ValueError, r"policies\[0\].weight.a: -1"),
        ({"cutmix": 1, "boxes": "round"}, ValueError, "boxes: 'round', expected one of paper"),
        ({"cutmix": 1, "boxes": (0.5, 2)}, ValueError, r"policies\[0\].boxes.hi: 2"),
        ({"mixup": 1, "fold": 3}, TypeError, "fold: int"),
        ({"mixup": 1, "pairing": "best"}, ValueError, "pairing: 'best', expected one of perm"),
        ({"mixup": 1, "granularity": "pair"}, ValueError, "granularity: pair"),
        ({"mixup": 1, "probability": 1.5}, ValueError, "probability: 1.5"),
        ({"mixup": 1, "group": -1}, ValueError, "group: -1"),
        ({"mixup": 1, "group": 1.5}, TypeError, "group: float"),
        ({"mixup": 1, "flip": 2}, ValueError, "flip: 2"),
        ({"mixup": 1, "seed": -1}, ValueError, "seed: -1"),
        ({"mixup": 1, "seed": 2**64}, ValueError, "seed: 18446744073709551616"),
        ({"mixup": 1, "step": 2**48}, ValueError, "step: 281474976710656"),
        ({"mixup": 1, "step": -1}, ValueError, "step: -1, expected 0 to 2.48 - 1"),
        ({"mixup": 1, "first": 2**48 - 3}, ValueError, "first: "),
        ({"mixup": 1, "policies": []}, TypeError, "policies: given beside"),
        ({"policies": [("mixup", 1)]}, ValueError, "policies: "),
        ({"mixup": 1, "alpha": 1}, TypeError, "alpha"),
        ({"mixup": 1, "layout": "chw"}, ValueError, "layout: 'chw'"),
        ({"mixup": 1, "threads": -1}, ValueError, "threads: -1"),
        ({"mixup": 1, "device": "cpu"}, ValueError, "device: given beside a tensor"),
        ({"mixup": 1, "draw": numpy.zeros(3, "int64"), "seed": 1}, TypeError, "draw: given beside"),
        ({"mixup": 1, "draw": numpy.zeros(2, "int64")}, ValueError, "draw: i64 .2., expected 3"),
        ({"mixup": 1, "partners": numpy.zeros(6, "int64")}, ValueError, "pairing: expected given"),
        ({"mixup": 1, "rows": numpy.zeros(6)}, TypeError, "rows: given beside spec"),
        ({"rows": {}}, TypeError, "^rows: "),
        ({"mixup": 1, "draw": ids(3), "schedule": 3}, TypeError, "^schedule: int"),
        ({"spec": mixfuse.Spec(), "mixup": 1}, TypeError, "mixup: given beside spec"),
        ({"spec": 3}, TypeError, "spec: int"),
        ({"mixup": 1, "out": "plan"}, TypeError, "out: str, expected a mixfuse.Plan"),
    ],
)
def test_wrong_arguments_are_named(arguments: Any, error: type, text: str) -> None:
    with pytest.raises(error, match=text):
        mixfuse.plan(images(), **arguments)


def test_hand_made_rows_are_checked() -> None:
    rows = mixfuse.plan(images(), mixup=1.0).rows()
    rows["partner"][4] = 6
    with pytest.raises(ValueError, match=r"^rows\[4\].partner: 6, expected 0 to 5"):
        mixfuse.plan(images(), rows=rows)
    with pytest.raises(ValueError, match="^rows: 5 rows, expected 6"):
        mixfuse.plan(images(), rows=rows[:5])
