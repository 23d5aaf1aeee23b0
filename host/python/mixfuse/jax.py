# SPDX-License-Identifier: Apache-2.0
"""Mixing as an operation of JAX's: under jit, grad, vmap and shard_map, on the CPU and on CUDA.

    key = mixfuse.jax.key(seed)

    @jax.jit
    def train(state, key, images, labels):
        mixed, targets, key = mixfuse.jax.mix(images, labels, key, mixup=0.2, cutmix=1.0,
                                              num_classes=1000)
        ...
        return state, key

It is there where mixfuse was built beside jaxlib's headers, and tested with jax 0.10.2. Without
them `mixfuse.mix` still takes JAX's arrays on the CPU, outside of jit.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy

from mixfuse import _core
from mixfuse._api import Spec, spec_of
from mixfuse._draws import checked
from mixfuse._layouts import BY_RANK, ROW_WORDS, SPATIAL

_TARGET = "mixfuse_mix"
_HANDLERS = getattr(_core, "jax_handlers", {})
for _platform, _handler in _HANDLERS.items():
    jax.ffi.register_ffi_target(_TARGET, _handler, platform=_platform)


class Rows(NamedTuple):
    """Who was mixed with whom and how, B of each. Weights are shares of the own sample.

    Sparse targets are made of them: loss = label * l(ids) + (1 - label) * l(ids[partner]).
    """

    partner: Any  #: (B,) int32, the sample mixed into this one
    outside: Any  #: (B,) float32, weight outside the box
    inside: Any  #: (B,) float32, and inside
    label: Any  #: (B,) float32, weight of the own label
    flip: Any  #: (B,) int32, 1: this sample is read mirrored, as own and as partner
    lo: Any  #: (B, 3) int32, the box is [lo, hi) on each spatial axis, empty if any lo == hi
    hi: Any  #: (B, 3) int32
    error: Any  #: (2,) int32, code and sample of what was bad, the smallest such sample; code 0:
    #: nothing; 2: class id outside 0..K-1, its share left out; 3: the same of partner_labels;
    #: 4: step or first beyond 2^48, nothing was mixed


def key(seed: int, step: int = 0, first: int = 0) -> jax.Array:
    """The whole randomness as an array, uint32 (6,): seed (64 bits, used as given), step and the
    global index of a batch's first sample (below 2^48), low word first. Raises TypeError and
    ValueError, naming the argument."""
    return jnp.asarray(
        numpy.concatenate(
            [_words("seed", seed, 64), _words("step", step, 48), _words("first", first, 48)]
        )
    )


def _words(name: str, value: Any, bits: int) -> numpy.ndarray:
    number = checked(name, value, bits)
    return numpy.asarray([number & 0xFFFFFFFF, number >> 32], "uint32")


def mix(
    images: Any,
    labels: Any,
    key: jax.Array,
    spec: Spec | None = None,
    *,
    first: Any = None,
    partners: Any = None,
    partner_labels: Any = None,
    num_classes: int | None = None,
    smoothing: float = 0.0,
    ignored: int | None = None,
    layout: str | None = None,
    out_layout: str | None = None,
    out_dtype: Any = None,
    target_dtype: Any = None,
    mean: float | Sequence[float] | None = None,
    std: float | Sequence[float] | None = None,
    rows: bool = False,
    **policy: Any,
) -> tuple[Any, ...]:
    """Mixes a batch with itself, images and labels alike; a pure function of its arguments.

    images: (B, ...) of uint8, float16, bfloat16, float32 or float64, JAX's or NumPy's.
    labels: class ids (B,) of uint8, int32 or int64, rows (B, K) of floats or bool, or None.
    key: as mixfuse.jax.key makes it; its values may be traced, so no step compiles anew.
    spec, policy: a mixfuse.Spec, or its arguments; fixed when a call is compiled, like all below
        but `first` and the second batch.
    first: global index of the batch's first sample instead of the key's, an int or a traced scalar:
        under shard_map jax.lax.axis_index(axis) * B. With a pairing group that divides B the result
        is then that of the whole batch on one device.
    partners, partner_labels: a second batch of the same shape, from which partners come.
    num_classes, smoothing, ignored, layout, out_layout, out_dtype, target_dtype, mean, std: as in
        mixfuse.mix.
    rows: whether rows are returned as well.

    Returns (mixed, targets, key of the next step) and, if asked, Rows. Targets are None without
    labels. Under grad, images and rows of labels that are floats get the mix's transpose; key,
    first and ids have no gradient. Under vmap each batch of the outer axis is mixed by its key, one
    after another. Nothing is written into an array of the caller's.

    Raises when it is traced, naming the argument: TypeError (not an array, float class ids),
    ValueError (shapes, ranges, K missing, pairing "given", which needs mixfuse.mix) and
    NotImplementedError (dtypes that are not built; mixfuse built without jaxlib's headers). A class
    id outside 0..K-1 leaves its share out, which Rows.error tells.
    """
    if not _HANDLERS:
        raise NotImplementedError(
            "mixfuse.jax: this build was made without jaxlib's headers; mixfuse.mix takes JAX's "
            "arrays on the CPU outside of jit"
        )
    spec = spec_of(spec, policy)
    given = {"images": images, "labels": labels, "partners": partners,
             "partner_labels": partner_labels}  # fmt: skip
    absent = [name for name, x in given.items() if x is None and name != "images"]
    arrays = {name: _array(name, x) for name, x in given.items() if name not in absent}
    if (partners is None) != (partner_labels is None) and labels is not None:
        raise ValueError("partner_labels: a second batch brings both images and labels")
    if partner_labels is not None and labels is None:
        raise ValueError("partner_labels: given without labels")
    call = _Call.of(arrays, spec, num_classes, smoothing, ignored, layout, out_layout, out_dtype,
                    target_dtype, mean, std, rows)  # fmt: skip
    key = _key(key)
    draw = key if first is None else jnp.concatenate([key[:4], _first(first)])
    arrays = _varying_alike({"draw": draw, **arrays})
    mixed, targets, *rest = _mix(call, arrays)
    return (mixed, targets, _next(key), *([_rows(*rest)] if rows else []))


def _array(name: str, value: Any) -> jax.Array:
    if isinstance(value, jax.Array):
        return value
    if isinstance(value, numpy.ndarray):
        return jnp.asarray(value)
    raise TypeError(f"{name}: {type(value).__qualname__}, expected an array of JAX or NumPy")


def _key(value: Any) -> jax.Array:
    array = _array("key", value)
    if array.dtype != "uint32" or array.shape != (6,):
        raise ValueError(
            f"key: {array.dtype} {array.shape}, expected uint32 (6,) as mixfuse.jax.key makes it"
        )
    return array


def _first(value: Any) -> jax.Array:
    """Two words of an index, of which only an int can be checked."""
    if not isinstance(value, jax.Array):
        return jnp.asarray(_words("first", value, 48))
    if value.shape != () or not jnp.issubdtype(value.dtype, jnp.integer):
        raise ValueError(f"first: {value.dtype} {value.shape}, expected an integer scalar")
    bits = 8 * value.dtype.itemsize
    high = jnp.zeros_like(value)
    if bits == 64:
        high = value >> 32
    elif jnp.issubdtype(value.dtype, jnp.signedinteger):
        high = value >> (bits - 1)  # of a negative one all bits, which the handler refuses
    return jnp.stack([value.astype("uint32"), high.astype("uint32")])


def _next(key: jax.Array) -> jax.Array:
    low = key[2] + 1  # the step's, which carries into the next word
    return key.at[2].set(low).at[3].add((low == 0).astype("uint32"))


def _varying_alike(arrays: dict[str, jax.Array]) -> dict[str, jax.Array]:
    """Under shard_map: what is the same on all devices beside what is not."""
    axes = {name: _varying(x) for name, x in arrays.items()}
    wanted = frozenset().union(*axes.values())
    return {
        name: jax.lax.pcast(x, tuple(wanted - axes[name]), to="varying")
        if wanted - axes[name]
        else x
        for name, x in arrays.items()
    }


def _varying(array: jax.Array) -> frozenset[Any]:
    aval = jax.typeof(array)
    manual = getattr(aval, "mat", None)  # older: vma
    return getattr(aval, "vma", frozenset()) if manual is None else manual.varying


@dataclasses.dataclass(frozen=True)
class _Call:
    """All that is fixed when a call is compiled."""

    numbers: tuple[float, ...]  # what the handler reads
    inputs: tuple[tuple[str, str, tuple[int, ...]], ...]  # name, dtype, shape
    mixed: tuple[str, tuple[int, ...]]
    targets: tuple[str, tuple[int, ...]] | None
    axes: str
    out_axes: str
    scale: tuple[float, ...]  # of the normalisation, for floats
    permutation: bool  # each sample is the partner of one
    rows: bool

    @staticmethod
    def of(
        arrays: dict[str, jax.Array], spec: Spec, num_classes: Any, smoothing: Any, ignored: Any,
        layout: Any, out_layout: Any, out_dtype: Any, target_dtype: Any, mean: Any, std: Any,
        rows: bool,
    ) -> _Call:  # fmt: skip
        images, labels = arrays["images"], arrays.get("labels")
        axes = layout or BY_RANK.get(images.ndim, "nchw")
        out_axes = out_layout or axes
        inputs = tuple((name, x.dtype.name, x.shape) for name, x in arrays.items())
        numbers = _core.jax_numbers(
            spec._core, axes, out_axes, num_classes, smoothing, ignored, mean, std,
            labels is not None, "partners" in arrays,
        )  # fmt: skip
        if len(axes) != images.ndim:
            raise ValueError(f"images: shape {images.shape}, expected the axes {axes}")
        if sorted(axes) != sorted(out_axes):
            raise ValueError(f"out_layout: {axes} does not become {out_axes}")
        shape = tuple(images.shape[axes.index(axis)] for axis in out_axes)
        mixed = _dtype("out_dtype", out_dtype, images.dtype), shape
        targets = None
        if labels is not None:
            targets = _targets(labels, num_classes, target_dtype)
        shapes = {name: (dtype, shape) for name, dtype, shape in inputs}
        _core.jax_check(numbers, *(shapes.get(name) for name in _INPUTS), mixed, targets)
        deviations = numpy.atleast_1d(1.0 if std is None else std).astype("float64")
        return _Call(
            tuple(numbers), inputs, mixed, targets, axes, out_axes, tuple(1.0 / deviations),
            spec.pairing != "replacement", rows,
        )  # fmt: skip


_INPUTS = ("images", "labels", "partners", "partner_labels")


def _dtype(name: str, given: Any, otherwise: Any) -> str:
    if given is None:
        return jnp.dtype(otherwise).name
    try:
        return jnp.dtype(given).name
    except TypeError:
        raise TypeError(f"{name}: {given!r}, expected a dtype") from None


def _targets(labels: jax.Array, num_classes: Any, dtype: Any) -> tuple[str, tuple[int, ...]]:
    floats = jnp.issubdtype(labels.dtype, jnp.floating)
    if labels.ndim == 1 and floats:
        raise TypeError(
            f"labels: class ids of {labels.dtype}, expected uint8, int32 or int64; rows have the "
            "shape (B, K)"
        )
    if labels.ndim == 1 and num_classes is None:
        raise ValueError(
            "num_classes: missing, expected the number of classes that the ids count to"
        )
    columns = labels.shape[1] if labels.ndim == 2 else checked("num_classes", num_classes, 63)
    made = labels.dtype if floats else "float32"
    return _dtype("target_dtype", dtype, made), (labels.shape[0] if labels.ndim else 0, columns)


def _step(call: _Call, arrays: dict[str, jax.Array], rows: bool) -> tuple[Any, ...]:
    """One call of the handler: mixed, targets, rows and error word, None what there is not."""
    images = arrays["images"]
    samples = images.shape[0]

    def result(dtype: str, shape: tuple[int, ...]) -> Any:
        return jax.eval_shape(lambda x: jax.lax.full_like(x, 0, dtype, shape), images)

    # On CUDA plans are larger; which device it will be is not known yet.
    memory = _core.jax_memory(samples, jax.default_backend() == "gpu")
    results = [result(*call.mixed), result("uint8", (memory,))]
    if call.targets is not None:
        results.append(result(*call.targets))
    if rows:
        results += [result("int32", (samples, ROW_WORDS)), result("uint32", (4,))]
    run = jax.ffi.ffi_call(_TARGET, tuple(results), vmap_method="sequential")
    operands = [arrays[name] for name in ("draw", *_INPUTS) if name in arrays]
    mixed, _, *rest = run(*operands, options=numpy.asarray(call.numbers))
    targets = rest.pop(0) if call.targets is not None else None
    return (mixed, targets, *(rest if rows else (None, None)))


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _mix(call: _Call, arrays: dict[str, jax.Array]) -> tuple[Any, ...]:
    return _step(call, arrays, call.rows)


def _forward(call: _Call, arrays: dict[str, jax.Array]) -> tuple[Any, Any]:
    mixed, targets, rows, error = _step(call, arrays, True)
    returned = (mixed, targets, rows, error) if call.rows else (mixed, targets, None, None)
    return returned, (rows, error)


def _backward(call: _Call, residuals: Any, cotangents: Any) -> tuple[dict[str, Any]]:
    """The mix is linear: W g of the own sample, (1 - W) g of the partner, and back to where each
    was read. No sample is kept for it, only rows."""
    rows = _rows(*residuals)
    dtypes = {name: dtype for name, dtype, _ in call.inputs}
    gradients: dict[str, Any] = {"draw": None, **dict.fromkeys(dtypes)}
    if jnp.issubdtype(dtypes["images"], jnp.floating):
        own, partner = _shares(call, _pixel_weights(call, rows), _pixels(call, cotangents[0]), rows)
        mirror = functools.partial(_mirror, call.axes, rows.flip)
        if "partners" in dtypes:  # which is never mirrored
            gradients["images"], gradients["partners"] = mirror(own), partner
        else:
            gradients["images"] = mirror(own + partner)
    if call.targets is not None and jnp.issubdtype(dtypes["labels"], jnp.floating):
        own, partner = _shares(call, rows.label[:, None], _wide(cotangents[1]), rows)
        if "partner_labels" in dtypes:
            gradients["labels"], gradients["partner_labels"] = own, partner
        else:
            gradients["labels"] = own + partner
    return (
        {name: g if g is None else g.astype(dtypes[name]) for name, g in gradients.items()},
    )


_mix.defvjp(_forward, _backward)


def _wide(g: jax.Array) -> jax.Array:
    return g if g.dtype == "float64" else g.astype("float32")


def _pixels(call: _Call, g: jax.Array) -> jax.Array:
    """The images' cotangent before normalisation, its axes as the images have them."""
    g = jnp.transpose(_wide(g), [call.out_axes.index(axis) for axis in call.axes])
    if set(call.scale) == {1.0}:
        return g
    return g * jnp.asarray(call.scale, g.dtype).reshape(_along(call.axes, "c"))


def _along(axes: str, wanted: str) -> list[int]:
    return [-1 if axis == wanted else 1 for axis in axes] if wanted in axes else [1] * len(axes)


def _pixel_weights(call: _Call, rows: Rows) -> jax.Array:
    """Of the own sample at each pixel, to be broadcast over channels and frames."""
    shape = next(shape for name, _, shape in call.inputs if name == "images")
    each = [-1] + [1] * (len(shape) - 1)
    inside = jnp.ones(each[1:], bool)[None]
    for k, axis in enumerate(SPATIAL[call.axes]):
        at = call.axes.index(axis)
        here = jnp.arange(shape[at]).reshape(_along(call.axes, axis))
        inside &= (rows.lo[:, k].reshape(each) <= here) & (here < rows.hi[:, k].reshape(each))
    return jnp.where(inside, rows.inside.reshape(each), rows.outside.reshape(each))


def _shares(call: _Call, weight: jax.Array, g: jax.Array, rows: Rows) -> tuple[Any, Any]:
    """Of own samples, and of partners where they lie. As in the mix itself, a weight of 0 or 1
    leaves the other side alone, whatever its value."""
    weight = weight.astype(g.dtype)
    own = jnp.where(weight == 0, 0, weight * g)
    partner = jnp.where(weight == 1, 0, (1 - weight) * g)
    if call.permutation:
        count = jnp.arange(g.shape[0], dtype=rows.partner.dtype)
        return own, partner[jnp.zeros_like(count).at[rows.partner].set(count)]
    return own, jnp.zeros_like(partner).at[rows.partner].add(partner)


def _mirror(axes: str, flip: jax.Array, g: jax.Array) -> jax.Array:
    if "w" not in axes:
        return g
    each = [-1] + [1] * (g.ndim - 1)
    return jnp.where(flip.reshape(each) == 1, jnp.flip(g, axes.index("w")), g)


def _rows(words: jax.Array, error: jax.Array) -> Rows:
    weights = jax.lax.bitcast_convert_type(words[:, 1:4], jnp.float32)
    claimed = (error[0] | error[1]) != 0
    low, high = ~error[2], ~error[3]
    code = jnp.where(claimed, low & 0xFF, 0)
    sample = jnp.where(claimed, (low >> 8) | (high << 24), 0)
    word = jnp.stack([code, sample]).astype("int32")
    return Rows(words[:, 0], weights[:, 0], weights[:, 1], weights[:, 2], words[:, 4],
                words[:, 5:8], words[:, 8:11], word)  # fmt: skip


__all__: list[str] = ["Rows", "key", "mix"]
