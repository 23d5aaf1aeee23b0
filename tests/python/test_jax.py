# SPDX-License-Identifier: Apache-2.0
"""mixfuse.jax on JAX's default backend: the bits of mixfuse.mix, and JAX's transformations."""

from __future__ import annotations

import os
from typing import Any

# For shard_map; read when JAX first makes its devices, which no test has done yet.
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=4"

import numpy
import pytest
from batches import ids, images

import mixfuse

jax = pytest.importorskip("jax")
jnp = jax.numpy

import mixfuse.jax as mj  # noqa: E402

if not mj._HANDLERS:
    pytest.skip("mixfuse was built without jaxlib's headers", allow_module_level=True)

SPEC = mixfuse.Spec(mixup=0.4, cutmix=1.0, flip=0.5)
SEED, STEP, FIRST = 2**63 + 5, 2**40 + 7, 2**33 + 1
DRAW = {"seed": SEED, "step": STEP, "first": FIRST}


def key() -> Any:
    return mj.key(**DRAW)


def equal(a: Any, b: Any) -> bool:
    a, b = numpy.asarray(a), numpy.asarray(b)
    return a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes()


def label_rows(dtype: str = "float32") -> numpy.ndarray:
    return numpy.random.default_rng(3).random((6, 5)).astype(dtype)


# Bits


@pytest.mark.parametrize("dtype", ["uint8", "float16", "float32"])
@pytest.mark.parametrize("labels", [ids(), ids().astype("uint8"), label_rows(), label_rows() > 0.5])
def test_bits_are_numpy_s(dtype: str, labels: numpy.ndarray) -> None:
    classes = {"num_classes": 5} if labels.ndim == 1 else {}
    labels = labels.astype("int32") if labels.dtype == "int64" else labels
    batch = images(dtype=dtype)
    mixed, targets, _ = mj.mix(batch, labels, key(), SPEC, **classes)
    wanted = mixfuse.mix(batch, labels, SPEC, **DRAW, **classes)
    assert equal(mixed, wanted[0]) and equal(targets, wanted[1])
    assert not equal(mixed, batch)


def test_bits_of_bfloat16_are_those_of_the_eager_call() -> None:
    batch, labels = jnp.asarray(images(), "bfloat16"), jnp.asarray(label_rows(), "bfloat16")
    mixed, targets, _ = mj.mix(batch, labels, key(), SPEC)
    on_cpu = jax.device_put((batch, labels), jax.devices("cpu")[0])
    wanted = mixfuse.mix(*on_cpu, SPEC, **DRAW)
    assert equal(mixed, wanted[0]) and equal(targets, wanted[1])


def test_bits_of_float64() -> None:
    with jax.enable_x64():
        mixed, targets, _ = mj.mix(images(dtype="float64"), label_rows("float64"), key(), SPEC)
        wanted = mixfuse.mix(images(dtype="float64"), label_rows("float64"), SPEC, **DRAW)
        assert equal(mixed, wanted[0]) and equal(targets, wanted[1])
        _, targets, _ = mj.mix(images(), ids(), key(), SPEC, num_classes=5)
        assert equal(targets, mixfuse.mix(images(), ids(), SPEC, **DRAW, num_classes=5)[1])


@pytest.mark.parametrize(
    "spec",
    [
        mixfuse.Spec(mixup=0.4, pairing=pairing, granularity=granularity, probability=0.8)
        for pairing, granularity in (
            ("permutation", "batch"), ("cycle", "sample"), ("pairs", "pair"), ("reverse", "pair"),
            ("roll", "sample"), ("replacement", "sample"),
        )
    ]
    + [
        mixfuse.Spec(cutmix=(0.5, 2.0), boxes=boxes, fold=fold, group=group)
        for boxes, fold, group in (
            ("inside", "own", 4), ("uniform", "partner", 3), ((0.2, 0.7), "none", 0),
        )
    ]
    + [mixfuse.Spec(policies=[mixfuse.Policy("mixup", 0.2, 0.25, "own"),
                              mixfuse.Policy("cutmix", (1.0, 3.0), 0.5, "none", "inside")])],
    ids=str,
)  # fmt: skip
def test_the_whole_spec_reaches_the_handler(spec: mixfuse.Spec) -> None:
    mixed, targets, _, rows = mj.mix(images(), ids(), key(), spec, num_classes=5, rows=True)
    plan = mixfuse.plan(images(), spec, **DRAW).rows()
    for name in plan.dtype.names:
        assert (numpy.asarray(getattr(rows, name)) == plan[name]).all(), name
    wanted = mixfuse.mix(images(), ids(), spec, **DRAW, num_classes=5)
    assert equal(mixed, wanted[0]) and equal(targets, wanted[1])


@pytest.mark.parametrize(
    "options",
    [
        {"smoothing": 0.1, "target_dtype": "float16"},
        {"ignored": 2},
        {"layout": "nhwc", "out_layout": "nchw", "out_dtype": "float16", "mean": (0.4, 0.5, 0.6),
         "std": 0.25},
        {"mean": 0.5, "out_dtype": "float32"},
    ],
    ids=str,
)  # fmt: skip
def test_options_reach_the_handler(options: dict[str, Any]) -> None:
    batch = images((6, 9, 8, 3), "uint8")
    mixed, targets, _ = mj.mix(batch, ids(), key(), SPEC, num_classes=5, **options)
    wanted = mixfuse.mix(batch, ids(), SPEC, **DRAW, num_classes=5, **options)
    assert equal(mixed, wanted[0]) and equal(targets, wanted[1])


@pytest.mark.parametrize("shape", [(6, 7), (6, 2, 9), (4, 3, 5, 6, 7), (1, 3, 4, 4), (0, 3, 4, 4)])
def test_other_shapes_without_labels(shape: tuple[int, ...]) -> None:
    spec = mixfuse.Spec(cutmix=1.0)
    mixed, targets, _ = mj.mix(images(shape), None, key(), spec)
    assert targets is None
    assert equal(mixed, mixfuse.mix(images(shape), spec=spec, **DRAW))


def test_a_second_batch() -> None:
    second = {"partners": images()[::-1].copy(), "partner_labels": ids()[::-1].copy()}
    mixed, targets, _ = mj.mix(images(), ids(), key(), SPEC, num_classes=5, **second)
    wanted = mixfuse.mix(images(), ids(), SPEC, **DRAW, num_classes=5, **second)
    assert equal(mixed, wanted[0]) and equal(targets, wanted[1])


# The key


def test_a_key_is_its_words() -> None:
    assert equal(key(), numpy.array([SEED, STEP, FIRST], "uint64").view("uint32"))


@pytest.mark.parametrize("step", [0, 2**32 - 1, 2**47])
def test_the_step_goes_on_by_one(step: int) -> None:
    before = mj.key(SEED, step, FIRST)
    after = mj.mix(images(), None, before, SPEC)[2]
    assert equal(after, mj.key(SEED, step + 1, FIRST))
    assert equal(before, mj.key(SEED, step, FIRST))


def test_first_stands_in_for_the_key_s() -> None:
    for first in (5, jnp.int32(5), jnp.uint32(5), jnp.int8(5)):
        mixed, _, after = mj.mix(images(), None, key(), SPEC, first=first)
        assert equal(mixed, mixfuse.mix(images(), spec=SPEC, seed=SEED, step=STEP, first=5))
        assert equal(after, mj.key(SEED, STEP + 1, FIRST))
    mixed = mj.mix(images(), None, mj.key(SEED, STEP), SPEC, first=FIRST)[0]
    assert equal(mixed, mixfuse.mix(images(), spec=SPEC, **DRAW))
    with jax.enable_x64():
        mixed = mj.mix(images(), None, mj.key(SEED, STEP), SPEC, first=jnp.int64(FIRST))[0]
        assert equal(mixed, mixfuse.mix(images(), spec=SPEC, **DRAW))


# Transformations


def test_jit_compiles_once_for_all_keys() -> None:
    traced = []

    @jax.jit
    def step(batch: Any, labels: Any, key: Any) -> Any:
        traced.append(key)
        return mj.mix(batch, labels, key, SPEC, num_classes=5)

    at = key()
    for n in range(3):
        mixed, targets, at = step(images(), ids(), at)
        draw = {**DRAW, "step": STEP + n}
        wanted = mixfuse.mix(images(), ids(), SPEC, **draw, num_classes=5)
        assert equal(mixed, wanted[0]) and equal(targets, wanted[1])
    step(images(), ids(), mj.key(1))
    assert len(traced) == 1 and step._cache_size() == 1


def test_scan_draws_anew_at_each_step() -> None:
    batch = jnp.asarray(images())

    def step(key: Any, _: None) -> Any:
        mixed, _, key = mj.mix(batch, None, key, SPEC)
        return key, mixed

    after, all_mixed = jax.lax.scan(step, key(), None, 3)
    assert equal(after, mj.key(SEED, STEP + 3, FIRST))
    for n, mixed in enumerate(all_mixed):
        draw = {**DRAW, "step": STEP + n}
        assert equal(mixed, mixfuse.mix(images(), spec=SPEC, **draw))


def test_vmap_mixes_each_batch_by_its_key() -> None:
    batches = numpy.stack([images(), images()[::-1], images() * 0.5])
    keys = jnp.stack([mj.key(n, n, n) for n in range(3)])
    mixed, targets, after = jax.vmap(
        lambda x, key: mj.mix(x, ids(), key, SPEC, num_classes=5)
    )(batches, keys)
    one_key = jax.vmap(lambda x: mj.mix(x, None, keys[1], SPEC)[0])(batches)
    for n in range(3):
        wanted = mixfuse.mix(batches[n], ids(), SPEC, seed=n, step=n, first=n, num_classes=5)
        assert equal(mixed[n], wanted[0]) and equal(targets[n], wanted[1])
        assert equal(after[n], mj.key(n, n + 1, n))
        assert equal(one_key[n], mixfuse.mix(batches[n], spec=SPEC, seed=1, step=1, first=1))


def test_arrays_are_never_written() -> None:
    batch, labels, at = jnp.asarray(images()), jnp.asarray(label_rows()), key()
    for mix in (mj.mix, jax.jit(mj.mix, static_argnums=3)):
        mix(batch, labels, at, SPEC)[0].block_until_ready()
        assert equal(batch, images()) and equal(labels, label_rows()) and equal(at, key())


# shard_map


def mesh_of_four() -> Any:
    if jax.default_backend() != "cpu":
        pytest.skip("shards the CPU's devices")
    assert jax.device_count() == 4
    return jax.make_mesh((4,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))


def sharded(function: Any, ins: Any, outs: Any) -> Any:
    spec = jax.sharding.PartitionSpec
    return jax.shard_map(
        function, mesh=mesh_of_four(),
        in_specs=tuple(spec("data") if i else spec() for i in ins),
        out_specs=tuple(spec("data") if o else spec() for o in outs),
    )  # fmt: skip


@pytest.mark.parametrize("group", [2, 4])
def test_shards_with_pairing_groups_are_the_whole_batch(group: int) -> None:
    spec = mixfuse.Spec(mixup=0.4, cutmix=1.0, flip=0.5, group=group)
    batch, labels = images((16, 3, 9, 8)), ids(16).astype("int32")

    def shard(x: Any, y: Any, key: Any) -> Any:
        first = jax.lax.axis_index("data") * x.shape[0]
        return mj.mix(x, y, key, spec, first=first, num_classes=5)

    at = mj.key(SEED, STEP)
    mixed, targets, after = jax.jit(sharded(shard, (1, 1, 0), (1, 1, 0)))(batch, labels, at)
    wanted = mixfuse.mix(batch, labels, spec, seed=SEED, step=STEP, num_classes=5)
    assert equal(mixed, wanted[0]) and equal(targets, wanted[1])
    assert equal(after, mj.key(SEED, STEP + 1))
    assert len({shard.device for shard in mixed.addressable_shards}) == 4


def test_shards_without_groups_have_the_lambdas_of_the_whole_batch() -> None:
    spec = mixfuse.Spec(mixup=0.4, cutmix=1.0, flip=0.5)
    batch = images((16, 3, 9, 8))

    def shard(x: Any, key: Any) -> Any:
        first = jax.lax.axis_index("data") * x.shape[0]
        rows = mj.mix(x, None, key, spec, first=first, rows=True)[3]
        return rows.outside, rows.inside, rows.flip, rows.lo, rows.hi, rows.partner

    *drawn, partner = jax.jit(sharded(shard, (1, 0), (1,) * 6))(batch, mj.key(SEED, STEP))
    wanted = mixfuse.plan(batch, spec, seed=SEED, step=STEP).rows()
    for name, values in zip(("outside", "inside", "flip", "lo", "hi"), drawn, strict=True):
        assert equal(values, wanted[name].astype(values.dtype))
    assert partner.max() < 4  # of the shard


def test_jit_of_sharded_arrays_is_right_and_whole_on_each_device() -> None:
    spec = jax.sharding.PartitionSpec("data")
    batch = images((16, 3, 9, 8))
    there = jax.device_put(batch, jax.sharding.NamedSharding(mesh_of_four(), spec))
    mixed = jax.jit(lambda x: mj.mix(x, None, mj.key(SEED, STEP), SPEC)[0])(there)
    assert equal(mixed, mixfuse.mix(batch, spec=SPEC, seed=SEED, step=STEP))
    assert mixed.is_fully_replicated


def test_grad_in_shards_is_that_of_the_whole_batch() -> None:
    spec = mixfuse.Spec(mixup=0.4, cutmix=1.0, flip=0.5, group=2)
    batch, at = jnp.asarray(images((16, 3, 9, 8))), mj.key(SEED, STEP)

    def loss(x: Any, key: Any, first: Any) -> Any:
        return (mj.mix(x, None, key, spec, first=first)[0] ** 2).sum()

    def shard(x: Any, key: Any) -> Any:
        return (jax.grad(loss)(x, key, jax.lax.axis_index("data") * x.shape[0]),)

    (gradient,) = jax.jit(sharded(shard, (1, 0), (1,)))(batch, at)
    wanted = jax.jit(jax.grad(loss))(batch, at, 0)
    assert numpy.abs(gradient - wanted).max() < 1e-5
    assert numpy.abs(wanted - 2 * batch).max() > 0.1


# Gradients


def gradients(function: Any, g: Any, *at: Any) -> tuple[Any, tuple[Any, ...]]:
    """The function's value, and its transpose applied to g; compiled, which is quicker."""

    def both(at: Any, g: Any) -> Any:
        value, transpose = jax.vjp(function, *at)
        return value, transpose(g)

    return jax.jit(both)(at, g)


def by_formula(
    x: Any, rows: mj.Rows, axes: str, second: Any = None, dtype: Any = None
) -> Any:
    """The mix written in jnp, for JAX to differentiate."""
    each = [-1] + [1] * (x.ndim - 1)
    spatial = {"nf": "f", "nct": "t", "ncdhw": "dhw"}.get(axes, "hw")
    own = x
    if "w" in axes:
        own = jnp.where(rows.flip.reshape(each) == 1, jnp.flip(x, axes.index("w")), x)
    inside = jnp.ones(x.shape, bool)
    for k, axis in enumerate(spatial):
        at = jax.lax.broadcasted_iota(jnp.int32, x.shape, axes.index(axis))
        inside &= (rows.lo[:, k].reshape(each) <= at) & (at < rows.hi[:, k].reshape(each))
    weight = jnp.where(inside, rows.inside.reshape(each), rows.outside.reshape(each))
    weight = weight.astype(dtype or x.dtype)
    partner = (own if second is None else second)[rows.partner]
    return weight * own + (1 - weight) * partner


SHAPES = {
    "nf": (6, 7), "nct": (6, 2, 9), "nchw": (6, 3, 5, 8), "nhwc": (6, 5, 8, 3),
    "ntchw": (4, 3, 2, 5, 6), "ncdhw": (4, 2, 3, 5, 6),
}  # fmt: skip


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("axes", SHAPES)
@pytest.mark.parametrize("pairing", ["permutation", "replacement"])
def test_grad_of_images(axes: str, pairing: str, dtype: str) -> None:
    flip = 0.5 if "w" in axes else 0.0
    spec = mixfuse.Spec(mixup=0.6, cutmix=1.0, flip=flip, pairing=pairing, probability=0.9)
    random = numpy.random.default_rng(1)
    with jax.enable_x64(dtype == "float64"):
        x = jnp.asarray(random.random(SHAPES[axes]), dtype)
        g = jnp.asarray(random.random(SHAPES[axes]), dtype)

        def mixed(x: Any) -> Any:
            return mj.mix(x, None, key(), spec, layout=axes)[0]

        rows = mj.mix(x, None, key(), spec, layout=axes, rows=True)[3]
        tolerance = 1e-14 if dtype == "float64" else 1e-6
        value, (found,) = gradients(mixed, g, x)
        wanted_value, (wanted,) = gradients(lambda x: by_formula(x, rows, axes), g, x)
        assert numpy.abs(value - wanted_value).max() <= tolerance
        assert found.dtype == dtype
        assert numpy.abs(found - wanted).max() <= 6 * tolerance
        assert numpy.abs(found - g).max() > 0.1


def test_grad_agrees_with_differences() -> None:
    from jax.test_util import check_grads

    with jax.enable_x64():
        x, y = jnp.asarray(images((3, 2, 4, 4), "float64")), jnp.asarray(label_rows("float64")[:3])
        check_grads(
            jax.jit(lambda x, y: mj.mix(x, y, key(), SPEC)[:2]), (x, y), 1, modes=["rev"]
        )


def test_grad_through_normalisation_and_layouts() -> None:
    options = {"layout": "nhwc", "out_layout": "nchw", "mean": (0.4, 0.5, 0.6),
               "std": (0.2, 0.25, 0.5)}  # fmt: skip
    x = jnp.asarray(images((6, 5, 8, 3)))
    g = jnp.asarray(images((6, 3, 5, 8)))
    rows = mj.mix(x, None, key(), SPEC, rows=True, **options)[3]

    def formula(x: Any) -> Any:
        mixed = by_formula(x, rows, "nhwc")
        return ((mixed - jnp.array(options["mean"])) / jnp.array(options["std"])).transpose(
            0, 3, 1, 2
        )

    value, (found,) = gradients(lambda x: mj.mix(x, None, key(), SPEC, **options)[0], g, x)
    wanted_value, (wanted,) = gradients(formula, g, x)
    assert numpy.abs(value - wanted_value).max() < 1e-5
    assert numpy.abs(found - wanted).max() < 1e-5


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_grad_of_half_is_the_float32_one_rounded_once(dtype: str) -> None:
    x, g = jnp.asarray(images(), dtype), jnp.asarray(images()[::-1].copy(), dtype)
    rows = mj.mix(x, None, key(), SPEC, rows=True)[3]
    _, (found,) = gradients(lambda x: mj.mix(x, None, key(), SPEC)[0], g, x)
    wide = x.astype("float32"), g.astype("float32")
    _, (wanted,) = gradients(lambda x: by_formula(x, rows, "nchw"), wide[1], wide[0])
    assert found.dtype == dtype
    step = 2.0**-11 if dtype == "float16" else 2.0**-8
    assert numpy.abs(found.astype("float32") - wanted).max() <= 2 * step


def test_grad_of_a_second_batch_and_of_label_rows() -> None:
    x, p = jnp.asarray(images()), jnp.asarray(images()[::-1].copy())
    y, q = jnp.asarray(label_rows()), jnp.asarray(label_rows()[::-1].copy())
    rows = mj.mix(x, y, key(), SPEC, partners=p, partner_labels=q, rows=True)[3]

    def formula(x: Any, y: Any, p: Any, q: Any) -> Any:
        share = rows.label[:, None]
        targets = share * y + (1 - share) * q[rows.partner]
        return by_formula(x, rows, "nchw", p), targets

    def mixed(x: Any, y: Any, p: Any, q: Any) -> Any:
        return mj.mix(x, y, key(), SPEC, partners=p, partner_labels=q)[:2]

    g = (jnp.asarray(images((6, 3, 9, 8)) + 1), jnp.asarray(label_rows() + 1))
    all_found, all_wanted = (gradients(f, g, x, y, p, q)[1] for f in (mixed, formula))
    for found, wanted in zip(all_found, all_wanted):
        assert numpy.abs(found - wanted).max() < 1e-5


def test_grad_of_label_rows_sums_over_all_whose_partner_it_is() -> None:
    spec = mixfuse.Spec(mixup=1.0, pairing="replacement")
    y, g = jnp.asarray(label_rows()), jnp.asarray(label_rows() + 1)
    rows = mj.mix(images(), y, key(), spec, rows=True)[3]
    share = rows.label[:, None]
    wanted = (share * g).at[rows.partner].add((1 - share) * g)
    _, (found,) = gradients(lambda y: mj.mix(images(), y, key(), spec)[1], g, y)
    assert numpy.abs(found - wanted).max() < 1e-6
    assert len(set(numpy.asarray(rows.partner).tolist())) < 6


def test_a_cotangent_does_not_leak_through_a_weight_of_0() -> None:
    spec = mixfuse.Spec(cutmix=1.0, pairing="cycle")
    x = jnp.asarray(images())
    rows = mj.mix(x, None, key(), spec, rows=True)[3]
    bad = next(i for i, share in enumerate(rows.label.tolist()) if 0 < share < 1)
    g = jnp.ones_like(x).at[bad].set(numpy.nan)
    _, (found,) = gradients(lambda x: mj.mix(x, None, key(), spec)[0], g, x)
    touched = {bad, int(rows.partner[bad])}
    assert not numpy.isnan(found[jnp.array([i for i in range(6) if i not in touched])]).any()
    assert numpy.isnan(found).sum() == x[bad].size  # each of its pixels came from one sample


def test_u8_images_and_ids_have_no_gradient() -> None:
    weight = jnp.ones((3, 9, 8))

    def loss(weight: Any) -> Any:
        mixed, targets, _ = mj.mix(
            images(dtype="uint8"), ids(), key(), SPEC, num_classes=5, out_dtype="float32"
        )
        return (mixed * weight).sum() + targets.sum()

    assert numpy.isfinite(jax.jit(jax.grad(loss))(weight)).all()


# What is wrong


def test_a_bad_id_is_told_and_left_out() -> None:
    labels = ids()
    labels[4] = 9
    *_, targets, _, rows = mj.mix(images(), labels, key(), SPEC, num_classes=5, rows=True)
    assert rows.error.tolist() == [2, 4]
    with pytest.warns(RuntimeWarning, match="^labels"):
        wanted = mixfuse.mix(images(), labels, SPEC, **DRAW, num_classes=5)[1]
    assert equal(targets, wanted)
    rows = mj.mix(images(), ids(), key(), SPEC, num_classes=5, rows=True)[3]
    assert rows.error.tolist() == [0, 0]


def test_a_step_beyond_the_last_is_told_and_mixes_nothing() -> None:
    at = mj.key(SEED, 2**48 - 1)
    *_, at, rows = mj.mix(images(), None, at, SPEC, rows=True)
    assert rows.error.tolist() == [0, 0]
    mixed, _, at, rows = mj.mix(images(), None, at, mixfuse.Spec(mixup=1.0), rows=True)
    assert rows.error.tolist() == [4, 0] and equal(mixed, images())
    for first in (jnp.int32(-3), jnp.int8(-3)):
        mixed, *_, rows = mj.mix(images(), None, key(), SPEC, first=first, rows=True)
        assert rows.error.tolist() == [4, 0] and equal(mixed, images())


@pytest.mark.parametrize(
    ("error", "text", "changes"),
    [
        (TypeError, "images: list", {"images": [1.0]}),
        (ValueError, "images: shape", {"images": numpy.array(1.0, "float32")}),
        (NotImplementedError, "images: ", {"images": images().astype("int16")}),
        (ValueError, "images: ", {"images": images((6,))}),
        (TypeError, "labels: int", {"labels": 3}),
        (TypeError, "labels: class ids of float32", {"labels": ids().astype("float32")}),
        (NotImplementedError, "labels: ", {"labels": ids().astype("int16")}),
        (ValueError, "labels: shape", {"labels": ids(5)}),
        (ValueError, "labels: ", {"labels": numpy.array(1.0, "float32")}),
        (TypeError, "key: ", {"key": 0}),
        (ValueError, "key: int32", {"key": numpy.zeros(6, "int32")}),
        (ValueError, "key: uint32", {"key": numpy.zeros(2, "uint32")}),
        (ValueError, "num_classes: missing", {"num_classes": None}),
        (ValueError, "num_classes: 4|targets", {"num_classes": 4, "labels": label_rows()}),
        (ValueError, "smoothing: 2", {"smoothing": 2.0}),
        (ValueError, "mixup|policies", {"mixup": -1.0}),
        (ValueError, "pairing: given", {"pairing": "given"}),
        (ValueError, "flip: 2", {"flip": 2.0}),
        (ValueError, "layout: 'nope'", {"layout": "nope"}),
        (ValueError, "images: shape", {"layout": "nct"}),
        (ValueError, "out_layout: nchw", {"out_layout": "ncdhw"}),
        (TypeError, "out_dtype: ", {"out_dtype": "nope"}),
        (NotImplementedError, "out: ", {"out_dtype": "int32"}),
        (NotImplementedError, "targets_out: |target_dtype: ", {"target_dtype": "int32"}),
        (ValueError, "std", {"std": 0.0}),
        (ValueError, "mean", {"mean": (0.1, 0.2)}),
        (ValueError, "first: -1", {"first": -1}),
        (TypeError, "first: float", {"first": 0.5}),
        (ValueError, "partners: shape",
         {"partners": images((5, 3, 9, 8)), "partner_labels": ids()}),
        (ValueError, "partner_labels: ", {"partners": images()}),
        (ValueError, "partner_labels: ", {"partner_labels": ids()}),
    ],
)
def test_wrong_arguments_are_named(
    error: type[Exception], text: str, changes: dict[str, Any]
) -> None:
    call = {"images": images(), "labels": ids(), "key": key(), "num_classes": 5, "mixup": 1.0}
    call.update(changes)
    with pytest.raises(error, match=f"^({text})"):
        mj.mix(**call)


def test_where_jax_traces_the_plain_call_points_here() -> None:
    with pytest.raises(TypeError, match="^images: .*mixfuse.jax.mix"):
        jax.jit(lambda x: mixfuse.mix(x, mixup=1.0))(images())


def test_arrays_in_the_wrong_place_are_named() -> None:
    for first in (jnp.float32(1), jnp.zeros(2, "int32")):
        with pytest.raises(ValueError, match="^first: (float32|int32)"):
            mj.mix(images(), None, key(), SPEC, first=first)
    with pytest.raises(TypeError, match="^out: there is no such"):
        mj.mix(images(), None, key(), mixup=1.0, out=jnp.zeros(3))


@pytest.mark.parametrize("name", ["seed", "step", "first"])
def test_a_key_of_wrong_numbers_names_them(name: str) -> None:
    with pytest.raises(ValueError, match=f"^{name}: -1"):
        mj.key(**{"seed": 0, name: -1})
    with pytest.raises(TypeError, match=f"^{name}: float"):
        mj.key(**{"seed": 0, name: 0.5})


def test_a_build_without_the_headers_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mj, "_HANDLERS", {})
    with pytest.raises(NotImplementedError, match="^mixfuse.jax: .* mixfuse.mix takes"):
        mj.mix(images(), None, key(), SPEC)


def test_a_handler_refuses_what_it_cannot_read() -> None:
    shape = jax.ShapeDtypeStruct((6, 3, 9, 8), "float32")
    call = jax.ffi.ffi_call(mj._TARGET, shape)
    with pytest.raises(Exception, match="options: too few numbers"):
        jax.block_until_ready(call(key(), images(), options=numpy.zeros(3)))
