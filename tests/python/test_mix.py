# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import subprocess
import threading
import time
import warnings
from pathlib import Path
from typing import Any

import numpy
import pytest
from batches import ids, images, mixed_by, targets_by

import mixfuse

SPEC = mixfuse.Spec(mixup=0.4, cutmix=1.0, flip=0.5)


def on(place: Any, batch: numpy.ndarray, labels: Any = None, classes: int = 5, **how: Any) -> Any:
    """mix() where the tensors lie, out and targets_out given; as NumPy arrays."""
    out_dtype = how.pop("to", batch.dtype)
    out = place.put(numpy.zeros(how.pop("shape", batch.shape), out_dtype))
    if labels is None:
        assert mixfuse.mix(place.put(batch), out=out, **how) is out
        return place.get(out)
    targets = place.put(numpy.zeros((len(labels), classes), "float32"))
    result = mixfuse.mix(place.put(batch), place.put(labels), out=out, targets_out=targets, **how)
    assert result[0] is out and result[1] is targets
    return place.get(out), place.get(targets)


@pytest.mark.parametrize("dtype", ["uint8", "float16", "float32", "float64"])
def test_pixels_and_targets_are_what_the_rows_say(place: Any, dtype: str) -> None:
    batch, labels = images(dtype=dtype), ids()
    plan = mixfuse.plan(place.put(batch), SPEC, seed=5)
    mixed, targets = on(place, batch, labels, plan=plan)
    wanted = mixed_by(plan.rows(), batch.astype("float64"))
    if dtype == "uint8":
        wanted = numpy.rint(wanted)
    tolerance = {"uint8": 0, "float16": 2**-11, "float32": 2**-23, "float64": 2**-51}[dtype]
    assert abs(mixed.astype("float64") - wanted).max() <= tolerance
    assert abs(targets - targets_by(plan.rows(), labels, 5)).max() < 2e-7
    assert (numpy.ptp(mixed.astype("float64") - batch, axis=(1, 2, 3)) > 0).sum() >= 4


def test_every_device_gives_the_same_bits(place: Any) -> None:
    batch, labels = images((7, 3, 11, 9)), ids(7)
    how = {"seed": 9, "step": 3, "first": 70, "mixup": 0.2, "cutmix": 1.0, "smoothing": 0.1}
    mixed, targets = on(place, batch, labels, **how)
    of_cpu = mixfuse.mix(batch, labels, num_classes=5, **how)
    assert mixed.tobytes() == of_cpu[0].tobytes() and targets.tobytes() == of_cpu[1].tobytes()


def test_in_place_is_the_same(place: Any) -> None:
    batch, labels = images(), ids()
    mixed, targets = on(place, batch, labels, spec=SPEC, seed=2)
    tensor, over = place.put(batch), place.put(numpy.zeros((6, 5), "float32"))
    result = mixfuse.mix(tensor, place.put(labels), SPEC, seed=2, out=tensor, targets_out=over)
    assert result[0] is tensor
    assert (place.get(tensor) == mixed).all() and (place.get(over) == targets).all()
    alone = place.put(batch)
    assert mixfuse.mix(alone, spec=SPEC, seed=2, out=alone) is alone
    assert (place.get(alone) == mixed).all()


def test_one_plan_serves_many_tensors(place: Any) -> None:
    batch, masks = images(), images((6, 1, 9, 8), "uint8")
    plan = mixfuse.plan(place.put(batch), cutmix=1.0, seed=4)
    for tensor in (batch, masks):
        wanted = mixed_by(plan.rows(), tensor.astype("float64"))
        assert (on(place, tensor, plan=plan) == wanted.astype(tensor.dtype)).all()


def test_a_second_batch_brings_the_partners(place: Any) -> None:
    own, other = images(), images((6, 3, 9, 8))[::-1].copy()
    labels, others = ids(), ids()[::-1].copy()
    plan = mixfuse.plan(place.put(own), mixup=1.0, seed=1)
    mixed, targets = on(
        place, own, labels, plan=plan,
        partners=place.put(other), partner_labels=place.put(others),
    )  # fmt: skip
    rows = plan.rows()
    weight = rows["outside"].reshape(-1, 1, 1, 1).astype("float64")
    assert abs(mixed - (weight * own + (1 - weight) * other[rows["partner"]])).max() < 2e-7
    share, onehot = rows["label"][:, None].astype("float64"), numpy.eye(5)
    wanted = share * onehot[labels] + (1 - share) * onehot[others[rows["partner"]]]
    assert abs(targets - wanted).max() < 2e-7


def test_u8_in_rows_of_pixels_becomes_normalised_planes(place: Any) -> None:
    batch = images((6, 9, 8, 3), "uint8")
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    plan = mixfuse.plan(place.put(batch), SPEC, layout="nhwc", seed=6)
    mixed = on(
        place, batch, plan=plan, layout="nhwc", out_layout="nchw", mean=mean, std=std,
        shape=(6, 3, 9, 8), to="float32",
    )  # fmt: skip
    planes = mixed_by(plan.rows(), batch.transpose(0, 3, 1, 2) / 255.0)
    wanted = (planes - numpy.reshape(mean, (3, 1, 1))) / numpy.reshape(std, (3, 1, 1))
    assert abs(mixed - wanted).max() < 1e-5
    one = on(
        place, batch, plan=plan, layout="nhwc", out_layout="nchw", mean=0.5, std=[0.25],
        shape=(6, 3, 9, 8), to="float32",
    )  # fmt: skip
    assert abs(one - (planes - 0.5) / 0.25).max() < 1e-5


def test_targets_are_smoothed_before_the_mix(place: Any) -> None:
    plan = mixfuse.plan(place.put(images()), mixup=1.0, seed=1)
    _, targets = on(place, images(), ids(), plan=plan, smoothing=0.1)
    assert abs(targets - (0.9 * targets_by(plan.rows(), ids(), 5) + 0.02)).max() < 2e-7


def test_an_ignored_id_is_left_out_without_a_warning(place: Any, recwarn: Any) -> None:
    labels = ids()
    labels[2] = -100
    plan = mixfuse.plan(place.put(images()), mixup=1.0, seed=1)
    _, targets = on(place, images(), labels, plan=plan, ignored=-100)
    row = plan.rows()[2]
    assert abs(targets[2].sum() - (1 - row["label"])) < 2e-7
    assert plan.error() is None and len(recwarn) == 0


def test_targets_are_sparse_on_request(place: Any) -> None:
    plan = mixfuse.plan(place.put(images()), mixup=1.0, seed=1)
    into = [place.put(numpy.zeros(6, kind)) for kind in ("int64", "int64", "float32")]
    _, targets = mixfuse.mix(
        place.put(images()), place.put(ids()), plan=plan, out=place.put(images()),
        target="sparse", targets_out=into, num_classes=5,
    )  # fmt: skip
    assert isinstance(targets, mixfuse.Targets) and targets.own is into[0]
    own, partner, weight = (place.get(part) for part in targets)
    rows = plan.rows()
    assert (own == ids()).all() and (partner == ids()[rows["partner"]]).all()
    assert (weight == rows["label"]).all()


@pytest.mark.parametrize("dtype", ["bool", "float32", "float16", "float64"])
def test_rows_of_labels_are_mixed_as_they_are(dtype: str) -> None:
    rows = (numpy.arange(30).reshape(6, 5) % 3 == 0).astype(dtype)
    plan = mixfuse.plan(images(), mixup=1.0, seed=1)
    _, targets = mixfuse.mix(images(), rows, plan=plan)
    assert targets.dtype == ("float32" if dtype == "bool" else dtype)
    share = plan.rows()["label"][:, None].astype("float64")
    wanted = share * rows + (1 - share) * rows[plan.rows()["partner"]]
    assert abs(targets - wanted).max() < 1e-3


def test_what_is_not_given_is_made_by_the_framework_and_of_its_kind() -> None:
    labels = ids().astype("int32")
    mixed, targets = mixfuse.mix(images(dtype="uint8"), labels, mixup=1.0, num_classes=5)
    assert isinstance(mixed, numpy.ndarray) and mixed.dtype == "uint8"
    assert targets.shape == (6, 5) and targets.dtype == "float32"
    for name in ("f16", "float16", numpy.float16, numpy.dtype("float16")):
        assert mixfuse.mix(images(), mixup=1.0, out_dtype=name).dtype == "float16"
    _, half = mixfuse.mix(images(), ids(), mixup=1.0, num_classes=5, target_dtype="float16")
    assert half.dtype == "float16"
    planes = mixfuse.mix(images((6, 9, 8, 3)), mixup=1.0, layout="nhwc", out_layout="nchw")
    assert planes.shape == (6, 3, 9, 8)
    _, sparse = mixfuse.mix(images(), ids(), mixup=1.0, num_classes=5, target="sparse")
    assert [part.dtype for part in sparse] == ["int64", "int64", "float32"]


def test_numpy_is_written_where_it_lies() -> None:
    out, targets = numpy.empty_like(images()), numpy.empty((6, 5), "float32")
    addresses = out.ctypes.data, targets.ctypes.data
    mixed = mixfuse.mix(images(), ids(), SPEC, out=out, targets_out=targets)
    assert mixed[0] is out and mixed[1] is targets
    assert (out.ctypes.data, targets.ctypes.data) == addresses
    fresh = mixfuse.mix(images(), ids(), SPEC, num_classes=5)
    assert (out == fresh[0]).all() and (targets == fresh[1]).all()


def test_strides_are_read_and_written_as_they_are() -> None:
    wide, result = images((6, 3, 9, 16)), numpy.full((6, 3, 9, 16), 7.0, "float32")
    mixfuse.mix(wide[..., ::2], spec=SPEC, seed=1, out=result[..., 1::2])
    assert (result[..., ::2] == 7).all()
    assert (result[..., 1::2] == mixfuse.mix(wide[..., ::2].copy(), spec=SPEC, seed=1)).all()
    with pytest.raises(NotImplementedError, match="^images: .*stride"):
        mixfuse.mix(wide[..., ::-1], mixup=1.0)


def test_nothing_of_nothing() -> None:
    mixed, targets = mixfuse.mix(images((0, 3, 9, 8)), ids(0), mixup=1.0, num_classes=5)
    assert mixed.shape == (0, 3, 9, 8) and targets.shape == (0, 5)


def test_a_bad_class_warns_where_the_call_is() -> None:
    labels = ids()
    labels[4] = -1
    with pytest.warns(RuntimeWarning, match=r"^labels: the class of sample 4 \(step 3\)") as told:
        mixfuse.mix(images(), labels, mixup=1.0, num_classes=5, step=3)
    assert told[0].filename == __file__
    with pytest.warns(RuntimeWarning, match="^partner_labels: the class of sample 4 "):
        mixfuse.mix(
            images(), ids(), mixup=1.0, num_classes=5, partners=images(), partner_labels=labels
        )
    plan = mixfuse.plan(images(), mixup=1.0)
    with pytest.warns(RuntimeWarning):
        mixfuse.mix(images(), labels, plan=plan, num_classes=5)
    assert plan.error() == ("label", 0, 4)


def test_a_bad_class_warns_where_a_class_is_called() -> None:
    labels = ids()
    labels[4] = 9
    mixup = mixfuse.Mixup(num_classes=5, seed=1)
    with pytest.warns(RuntimeWarning) as told:
        mixup(images(), labels)
        mixfuse.CutMix(num_classes=5, seed=1)(images(), labels)
    assert [one.filename for one in told] == [__file__] * 2
    assert told[1].lineno == told[0].lineno + 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # pixels are mixed by then, so the draw is used up
        with pytest.raises(RuntimeWarning):
            mixup(images(), labels)
    assert mixup.step == 2


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"targets_out": numpy.zeros((6, 5), "f4")}, "labels: missing"),
        ({"partner_labels": ids()}, "labels: missing"),
        ({"target": "sparse"}, "labels: missing"),
        ({"out": numpy.zeros((6, 3, 9, 8), "f4"), "out_dtype": "float32"}, "out: given"),
        ({"labels": ids(), "targets_out": numpy.zeros((6, 5), "f4"), "target_dtype": "float32"},
         "targets_out: given"),
    ],
)  # fmt: skip
def test_what_would_be_ignored_is_refused(arguments: Any, text: str) -> None:
    with pytest.raises(TypeError, match="^" + text):
        mixfuse.mix(images(), spec=mixfuse.Spec(mixup=1.0), **arguments)


def test_in_place_and_by_a_plan_nothing_is_ignored_either() -> None:
    x = images()
    with pytest.raises(TypeError, match="^out: given beside"):
        mixfuse.mix(x, mixup=1.0, out=x, out_layout="nhwc")
    with pytest.raises(TypeError, match="^plan: given beside"):
        mixfuse.mix(x, plan=mixfuse.plan(x, mixup=1.0), schedule=mixfuse.Schedule(1))


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"num_classes": None}, ValueError, "num_classes: missing"),
        ({"num_classes": None, "target": "sparse"}, ValueError, "num_classes: missing"),
        ({"num_classes": 0}, ValueError, "num_classes: 0"),
        ({"num_classes": 5.0}, TypeError, "num_classes: float"),
        ({"labels": ids().astype("float32")}, TypeError, "labels: class ids of f32"),
        ({"labels": ids().astype("int16")}, NotImplementedError, "labels: int16"),
        ({"labels": ids(5)}, ValueError, "labels: shape .5., the plan has 6"),
        ({"labels": numpy.ones((6, 5), "int64")}, NotImplementedError, "labels: rows of i64"),
        ({"smoothing": 2}, ValueError, "smoothing: 2"),
        ({"smoothing": 0.1, "target": "sparse"}, ValueError, "smoothing: 0.1"),
        ({"ignored": 1.5}, TypeError, "ignored: float"),
        ({"target": "both"}, ValueError, "target: 'both'"),
        ({"target": "sparse", "targets_out": images()}, ValueError, "targets_out: expected own"),
        ({"targets_out": numpy.ones((6, 4), "float32")}, ValueError, "num_classes: 5, targets"),
        ({"targets_out": numpy.ones((5, 5), "float32")}, ValueError, "targets_out: shape .5, 5"),
        ({"target_dtype": "f64"}, NotImplementedError, "targets_out: f64"),
        ({"out": images((5, 3, 9, 8))}, ValueError, "out: 5 samples"),
        ({"out": images((6, 3, 9, 9))}, ValueError, "out: .*9"),
        ({"out_dtype": "f64"}, NotImplementedError, "out: f64 of images of f32"),
        ({"out_dtype": "i8"}, ValueError, "out_dtype: 'i8'"),
        ({"out_layout": "ncdhw"}, ValueError, "out_layout: nchw does not become ncdhw"),
        ({"mean": (0.5, 0.5)}, ValueError, "mean: 2, expected 1 or the images' 3"),
        ({"mean": (0.5, 0.5, 0.5), "std": (1, 1)}, ValueError, "std: 2 values"),
        ({"std": 0}, ValueError, r"std\[0\]: 0, expected above 0"),
        ({"partners": images()}, ValueError, "partner_labels: a second batch brings both"),
        ({"partners": images((5, 3, 9, 8))}, ValueError, "partners: 5 samples"),
        ({"seed": 1.5}, TypeError, "seed: float"),
        ({"draw": ids(3), "step": 1}, TypeError, "draw: given beside"),
        ({"labels": images()[:, 0, 0], "target": "sparse"}, ValueError, "target: sparse of 2 axes"),
        ({"images": images().astype(">f4")}, BufferError, "images: "),
        ({"mixpu": 1}, TypeError, "mixpu: there is no such"),
        ({"draw": ids(3), "schedule": 3}, TypeError, "schedule: int"),
        ({"threads": 5000}, ValueError, "threads: 5000"),
        ({"images": images()[0, 0, 0]}, ValueError, "images: rank 1|images: "),
    ],
)
def test_wrong_arguments_are_named(arguments: Any, error: type, text: str) -> None:
    call = {"images": images(), "labels": ids(), "num_classes": 5, "mixup": 1.0} | arguments
    with pytest.raises(error, match=f"^{text}"):
        mixfuse.mix(**call)


def test_a_plan_leaves_nothing_to_draw() -> None:
    plan = mixfuse.plan(images(), mixup=1.0)
    for more in ({"mixup": 1.0}, {"spec": SPEC}, {"seed": 1}, {"step": 1}, {"draw": ids(3)}):
        with pytest.raises(TypeError, match="^plan: given beside"):
            mixfuse.mix(images(), plan=plan, **more)


def test_what_is_no_plan_is_refused() -> None:
    with pytest.raises(TypeError, match="^plan: ndarray, expected a mixfuse.Plan"):
        mixfuse.mix(images(), plan=images())


def test_in_place_refuses_what_it_cannot_do() -> None:
    batch = images()
    with pytest.raises(NotImplementedError, match="^mean: pixels mixed in place"):
        mixfuse.mix(batch, mixup=1.0, out=batch, mean=0.5)
    with pytest.raises(ValueError, match="^partners: in place there is one batch"):
        mixfuse.mix(batch, mixup=1.0, out=batch, partners=images())
    with pytest.raises(ValueError, match="^plan: a sample is the partner of two"):
        mixfuse.mix(batch, mixup=1.0, out=batch, pairing="replacement")
    with pytest.raises(ValueError, match="^out: "):
        mixfuse.mix(batch, mixup=1.0, out=batch[:, ::-1][:, ::-1].view())


@pytest.mark.parametrize(
    ("flags", "policy"),
    [
        (["--mixup", "0.2", "--cutmix", "1.0"], {"mixup": 0.2, "cutmix": 1.0}),
        (
            ["--mixup", "0.3,2", "--mixup-prob", "0.7", "--hflip", "0.5", "--pairing", "cycle"],
            {"mixup": (0.3, 2), "probability": 0.7, "flip": 0.5, "pairing": "cycle"},
        ),
        (
            ["--cutmix-minmax", "0.2", "0.7", "--mixup-mode", "pair", "--pairing", "reverse"],
            {"boxes": (0.2, 0.7), "granularity": "pair", "pairing": "reverse"},
        ),
    ],
)
def test_the_tool_gives_the_same_bytes(tmp_path: Path, flags: list[str], policy: Any) -> None:
    tool = os.environ.get("MIXFUSE_TOOL")
    if not tool:
        pytest.skip("MIXFUSE_TOOL does not name the command-line tool")
    batch, labels = images((10, 3, 12, 14)), ids(10)
    numpy.save(tmp_path / "x.npy", batch)
    numpy.save(tmp_path / "y.npy", labels)
    policy = {"granularity": "batch"} | policy
    draw = {"seed": 11, "step": 12, "first": 130}
    told = [text for name, value in draw.items() for text in (f"--{name}", str(value))]
    subprocess.run(
        [tool, "mix", "--images", "x.npy", "--labels", "y.npy", "--num-classes", "5", "--out",
         "o.npy", "--targets", "t.npy", "--smoothing", "0.1", "--device", "cpu", *told, *flags],
        cwd=tmp_path, check=True,
    )  # fmt: skip
    mixed, targets = mixfuse.mix(batch, labels, num_classes=5, smoothing=0.1, **draw, **policy)
    assert mixed.tobytes() == numpy.load(tmp_path / "o.npy").tobytes()
    assert targets.tobytes() == numpy.load(tmp_path / "t.npy").tobytes()


def test_other_threads_go_on_while_the_cpu_mixes() -> None:
    batch = numpy.ones((96, 3, 224, 224), "float64")
    out, took = numpy.empty_like(batch), []

    def work() -> None:
        begin = time.perf_counter()
        mixfuse.mix(batch, mixup=1.0, flip=0.5, out=out, threads=1)
        took.append(time.perf_counter() - begin)

    worker = threading.Thread(target=work)
    worker.start()
    ticks = 0
    while worker.is_alive():
        time.sleep(0.001)
        ticks += 1
    assert ticks > 3 + 10 * took[0], "a busy machine too gives more than one in 100 ms"
