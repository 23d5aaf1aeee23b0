# SPDX-License-Identifier: Apache-2.0
"""Times the mixup of Python frameworks beside mixfuse: on the same data, in turns, in one process.

    peers.py --library build/cuda/bench/libmixfuse-peers.so --json peers.json [--device cuda]

A framework that is not installed, does not do a shape, or had no time, is named as absent. What
each one returns is compared with float64 first. bench/README.md describes the JSON.
"""
import argparse
import ctypes
import importlib
import json
import math
import random
import sys
import time
from dataclasses import dataclass
from typing import Callable, Optional

import numpy as np

ALPHA, MEAN, STD, CLASSES = 0.2, 0.45, 0.225, 1000
SHAPES = {  # those of mix_bench and label_bench, what decides first
    "full": [
        ("256x3x224x224", "f32", "f32"), ("128x3x32x32", "f32", "f32"),
        ("256x3x224x224", "u8", "bf16"), ("64x3x512x512", "f32", "f32"),
        ("256x3x224x224", "bf16", "bf16"), ("4096x21841", "ids", "f32"),
        ("256x3x224x224", "u8", "f32"), ("1024x3x224x224", "bf16", "bf16"),
        ("256x1000", "ids", "f32"), ("256x3x224x224", "u8", "u8"), ("512x9x1000", "f32", "f32"),
    ],
    "small": [("8x3x16x16", "f32", "f32"), ("8x3x16x16", "u8", "bf16"), ("8x3x16x16", "u8", "f32"),
              ("16x9x40", "f32", "f32"), ("16x40", "ids", "f32")],
}
TOLERANCE = {"f32": 4e-6, "bf16": 8e-2, "u8": 1.6}
BYTES = {"f32": 4, "bf16": 2, "u8": 1, "ids": 0}  # ids are few beside the targets
NO_TIME = "no time was left"
TURN = 0.05  # seconds: of steps that take longer, fewer are timed together


def optional(name):
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


torch = optional("torch")


@dataclass
class Peer:
    """A contestant. `checked` returns one step's result with the partners and weights it drew."""

    name: str
    step: Callable[[int], object]
    checked: Optional[Callable[[], tuple]] = None
    wait: Optional[Callable[[object], None]] = None  # for results that other streams make
    capturable: bool = False


def extents_of(shape):
    return tuple(int(extent) for extent in shape.split("x"))


def bytes_of(shape, dtype_in, dtype_out):
    return math.prod(extents_of(shape)) * (BYTES[dtype_in] + BYTES[dtype_out])


def cold_sets(size, limits, library):
    """As harness.cpp's."""
    room = (torch.cuda.mem_get_info()[0] if limits.device == "cuda" else 8 << 30) // 4
    wanted = max(4, math.ceil(4 * library.machine["cache_bytes"] / size))
    return max(2, min(wanted, room // size, 2 if limits.small else 256))


def largest(differences):
    """Infinite where one is not a number."""
    worst = np.abs(differences).max()
    return float("inf") if np.isnan(worst) else float(worst)


class Data:
    """Random batches in sets that rotate; tensors of torch where it is there, else arrays."""

    def __init__(self, shape, dtype_in, dtype_out, limits, library):
        self.name, self.dtype_in, self.dtype_out = shape, dtype_in, dtype_out
        self.shape = extents_of(shape)
        self.samples = self.shape[0]
        self.elements = math.prod(self.shape[1:])
        self.normalise = dtype_in != dtype_out
        device = limits.device
        self.cuda, self.threads, self.library = device == "cuda", limits.threads, library
        self.bytes = bytes_of(shape, dtype_in, dtype_out)
        self.sets = cold_sets(self.bytes, limits, library)
        lying = self.shape if not self.normalise else \
            (self.shape[0], *self.shape[2:], self.shape[1])
        self.array = self._random(lying)
        self.ids = np.random.default_rng(2).integers(0, CLASSES, self.samples)
        if torch:
            self.x = [self._tensor(self.array).clone() for _ in range(self.sets)]
            self.out = [torch.empty(self.shape, dtype=self.torch_dtype, device=device).fill_(0)
                        for _ in range(self.sets)]
            self.labels = torch.from_numpy(self.ids).to(device)
        else:
            self.x = [self.array.copy() for _ in range(self.sets)]
            self.out = [np.zeros(self.shape, np.dtype(self.array.dtype)) for _ in range(self.sets)]

    def _random(self, lying):
        generator = np.random.default_rng(1)
        if self.dtype_in == "u8":
            return generator.integers(0, 256, lying, np.uint8)
        return generator.random(lying, np.float32)

    @property
    def torch_dtype(self):
        return {"f32": torch.float32, "bf16": torch.bfloat16, "u8": torch.uint8}[self.dtype_out]

    def _tensor(self, array):
        tensor = torch.from_numpy(array).to("cuda" if self.cuda else "cpu")
        return tensor.to(torch.bfloat16) if self.dtype_in == "bf16" else tensor

    def arrays(self):
        """The sets as NumPy arrays, or ImportError where NumPy has no such dtype."""
        if self.cuda or "bf16" in (self.dtype_in, self.dtype_out):
            raise NotImplementedError("NumPy's dtypes on the CPU only")
        view = (lambda t: t.numpy()) if torch else (lambda a: a)
        return [view(x) for x in self.x], [view(out) for out in self.out]

    def read(self, rows):
        """Some samples of the batch in float64, channels first."""
        rows, x = np.asarray(rows, np.int64), self.x[0]
        values = x[torch.from_numpy(rows).to(x.device)].double().cpu().numpy() if torch else \
            x[rows].astype(np.float64)
        return np.moveaxis(values, -1, 1) if self.normalise else values

    def want(self, samples, partner, weight):
        """float64 results of some samples."""
        ones = [1] * (len(self.shape) - 1)
        w = np.asarray(weight, np.float64)[samples].reshape(-1, *ones)
        mixed = w * self.read(samples) + (1 - w) * self.read(np.asarray(partner)[samples])
        return (mixed / 255 - MEAN) / STD if self.normalise else mixed

    def error(self, checked):
        mixed, partner, weight = checked
        samples = np.arange(0, self.samples, max(1, self.samples // 4))
        if torch and isinstance(mixed, torch.Tensor):
            mixed = mixed[torch.from_numpy(samples).to(mixed.device)].double().cpu().numpy()
        else:
            mixed = np.asarray(mixed[samples]).astype(np.float64)
        return largest(mixed - self.want(samples, partner, weight))


class Labels:
    """Class ids of a batch and the dense targets to be made of them, in sets that rotate."""

    def __init__(self, shape, dtype_in, dtype_out, limits, library):
        self.name, self.dtype_in, self.dtype_out = shape, dtype_in, dtype_out
        self.samples, self.classes = extents_of(shape)
        self.cuda, self.threads, self.library = limits.device == "cuda", limits.threads, library
        self.bytes = bytes_of(shape, dtype_in, dtype_out)
        self.sets = cold_sets(self.bytes, limits, library)
        self.ids = np.random.default_rng(2).integers(0, self.classes, self.samples)
        self.labels = torch.from_numpy(self.ids).to(limits.device)
        self.out = [torch.zeros(self.samples, self.classes, device=limits.device)
                    for _ in range(self.sets)]

    def error(self, checked):
        targets, partner, weight = checked
        samples = np.arange(0, self.samples, max(1, self.samples // 4))
        got = targets[torch.from_numpy(samples).to(targets.device)].double().cpu().numpy()
        want, row = np.zeros(got.shape), np.arange(len(samples))
        share = np.asarray(weight, np.float64)[samples]
        want[row, self.ids[samples]] += share
        want[row, self.ids[np.asarray(partner)[samples]]] += 1 - share
        return largest(got - want)


class Library:
    """mixfuse, its copies and its description of the machine."""

    def __init__(self, path, device, threads, commit):
        self.c = ctypes.CDLL(path)
        pointer, number = ctypes.c_void_p, ctypes.c_int
        self.c.mixfuse_peers_error.restype = ctypes.c_char_p
        self.c.mixfuse_peers_report.restype = ctypes.c_char_p
        self.c.mixfuse_peers_copy.argtypes = [number, pointer, pointer, ctypes.c_size_t, number]
        self.c.mixfuse_peers_make.restype = pointer
        self.c.mixfuse_peers_make.argtypes = [number, number] + [ctypes.c_char_p] * 3 + \
            [number, number, ctypes.c_double, ctypes.c_double, pointer]
        self.c.mixfuse_peers_step.argtypes = [pointer, pointer, pointer, number, pointer]
        self.c.mixfuse_peers_label.argtypes = [pointer, pointer, pointer, ctypes.c_int64, pointer]
        self.c.mixfuse_peers_rows.argtypes = [pointer, pointer, pointer, pointer]
        self.c.mixfuse_peers_free.argtypes = [pointer]
        report = self.c.mixfuse_peers_report(device == "cuda", threads, commit.encode())
        self.report = json.loads(self.checked(report))
        self.machine = self.report["machine"]

    def checked(self, answer):
        if not answer:
            raise RuntimeError(self.c.mixfuse_peers_error().decode())
        return answer


def address(buffer):
    return buffer.data_ptr() if torch else buffer.ctypes.data


def stream_of(data):
    return torch.cuda.current_stream().cuda_stream if data.cuda else None


# The peers. Each maker yields those of one framework.


def copies(data):
    half = data.bytes // 2
    if data.cuda:
        sources = [x.reshape(-1).view(torch.uint8) for x in data.x]
        targets = [out.reshape(-1).view(torch.uint8)[:half] for out in data.out]
        if data.normalise:  # the input is smaller: the next set's output is read
            sources = [targets[(i + 1) % data.sets] for i in range(data.sets)]
        yield Peer("copy", lambda i: targets[i].copy_(sources[i][:half]), capturable=True)
        return

    def copied(i, non_temporal):
        source = data.out[(i + 1) % data.sets] if data.normalise else data.x[i]
        data.library.checked(data.library.c.mixfuse_peers_copy(
            data.threads, address(data.out[i]), address(source), half, non_temporal))

    yield Peer("copy", lambda i: copied(i, 0))
    yield Peer("non-temporal copy", lambda i: copied(i, 1))


def rows_of(data, handle):
    """Partners and weights of mixfuse's last step."""
    partner, weight = np.zeros(data.samples, np.int32), np.zeros(data.samples, np.float32)
    data.library.checked(data.library.c.mixfuse_peers_rows(
        handle, partner.ctypes.data, weight.ctypes.data, stream_of(data)))
    return partner, weight


def mixfuse(data):
    c, checked = data.library.c, data.library.checked

    def made(roll):
        return checked(c.mixfuse_peers_make(
            data.cuda, data.threads, data.name.encode(), data.dtype_in.encode(),
            data.dtype_out.encode(), data.normalise, roll, MEAN, STD, stream_of(data)))

    def result(handle, drawn=1):
        step(handle, 0, drawn)
        return data.out[0], *rows_of(data, handle)

    def step(handle, i, drawn=1):
        checked(c.mixfuse_peers_step(handle, address(data.out[i]), address(data.x[i]), drawn,
                                     stream_of(data)))

    for name, roll in (("mixfuse, permutation", 0), ("mixfuse, roll", 1)):
        handle = made(roll)
        yield Peer(name, lambda i, handle=handle: step(handle, i), lambda h=handle: result(h),
                   capturable=True)
    kept = made(0)
    yield Peer("mixfuse, the plan kept", lambda i: step(kept, i, 0), lambda: result(kept, 0),
               capturable=True)


def numpy_formula(data):
    x, out = data.arrays()
    if data.normalise:
        raise NotImplementedError("no such dtype")
    generator = np.random.default_rng(3)

    def draw():
        weight = generator.beta(ALPHA, ALPHA, data.samples).astype(np.float32)
        return generator.permutation(data.samples), weight

    def mixed(i, partner, weight):
        w = weight.reshape(-1, *[1] * (len(data.shape) - 1))
        if data.dtype_in == "u8":
            return np.rint(x[i] * w + x[i][partner] * (1 - w)).astype(np.uint8)
        return x[i] * w + x[i][partner] * (1 - w)

    drawn = draw()
    yield Peer("NumPy formula", lambda i: mixed(i, *draw()), lambda: (mixed(0, *drawn), *drawn))


def opencv(data):
    if data.normalise:
        raise NotImplementedError("mixes one dtype")
    cv2 = importlib.import_module("cv2")
    cv2.setNumThreads(data.threads or data.library.machine["threads"])
    x, out = data.arrays()
    rows = [a.reshape(data.samples, data.elements // data.shape[-1], -1) for a in x]
    outs = [a.reshape(rows[0].shape) for a in out]
    generator = np.random.default_rng(3)

    def mixed(i):
        partner = generator.permutation(data.samples)
        weight = generator.beta(ALPHA, ALPHA, data.samples)
        for n in range(data.samples):
            cv2.addWeighted(rows[i][n], weight[n], rows[i][partner[n]], 1 - weight[n], 0,
                            dst=outs[i][n])
        return out[i], partner, weight

    yield Peer("OpenCV addWeighted", mixed, lambda: mixed(0))


def torch_formula(data, x, partner, weight):
    """Mixup as written by hand; with normalising, a loader's cast, difference and quotient first."""
    if data.normalise:
        x = x.permute(0, 3, 1, 2).to(data.torch_dtype, memory_format=torch.contiguous_format)
        x = x.sub(255 * MEAN).div(255 * STD)
    if data.dtype_out == "u8":
        return (x * weight + x[partner] * (1 - weight)).round().to(torch.uint8)
    weight = weight.to(x.dtype)
    return x * weight + x[partner] * (1 - weight)


def torch_roll(data, x, weight):
    if data.normalise:
        x = x.permute(0, 3, 1, 2).to(data.torch_dtype, memory_format=torch.contiguous_format)
        x = x.sub(255 * MEAN).div(255 * STD)
    mixed = x * weight + x.roll(1, 0) * (1 - weight)
    return mixed.round().to(torch.uint8) if data.dtype_out == "u8" else mixed


def torch_draw(data):
    """A permutation and weights for each sample, on the device."""
    alpha = torch.tensor(ALPHA, device=data.x[0].device)
    beta = torch.distributions.Beta(alpha, alpha)

    def draw():
        weight = beta.sample((data.samples,)).reshape(-1, *[1] * (len(data.shape) - 1))
        return torch.randperm(data.samples, device=data.x[0].device), weight

    return draw


def numbers(tensor):
    return tensor.detach().cpu().numpy().reshape(-1)


def formulas_of(data, name, permuted, rolled):
    """The peers that two functions make: drawn each time, and the kernel alone."""
    draw = torch_draw(data)
    partner, weight = draw()
    rolled_by = np.arange(-1, data.samples - 1) % data.samples

    def check_permuted():
        return permuted(data.x[0], partner, weight), numbers(partner), numbers(weight)

    def check_rolled():
        share = random.betavariate(ALPHA, ALPHA)
        return rolled(data.x[0], share), rolled_by, np.full(data.samples, share)

    yield Peer(f"{name}, permutation", lambda i: permuted(data.x[i], *draw()), check_permuted,
               capturable=True)
    yield Peer(f"{name}, permutation, nothing drawn",
               lambda i: permuted(data.x[i], partner, weight), check_permuted, capturable=True)
    yield Peer(f"{name}, roll", lambda i: rolled(data.x[i], random.betavariate(ALPHA, ALPHA)),
               check_rolled, capturable=True)


def torch_eager(data):
    yield from formulas_of(data, "PyTorch", lambda *a: torch_formula(data, *a),
                           lambda *a: torch_roll(data, *a))


def compiled(data, name, **options):
    formula = torch.compile(lambda *a: torch_formula(data, *a), **options)
    roll = torch.compile(lambda *a: torch_roll(data, *a), **options)
    yield from formulas_of(data, name, formula, roll)


def torch_compile(data):
    yield from compiled(data, "torch.compile")


def torch_compile_graphs(data):
    if not data.cuda:
        raise NotImplementedError("for GPUs")
    for peer in compiled(data, "torch.compile, reduce-overhead", mode="reduce-overhead"):
        peer.capturable = False  # it captures a graph itself
        yield peer


def one_lambda(data, transform, method, result):
    """Runs `transform` with a drawn weight in the place of the one that `method` draws."""
    share = random.betavariate(ALPHA, ALPHA)
    original = getattr(transform, method)
    setattr(transform, method, lambda *_: result(share))
    try:
        mixed = transform(data.x[0].clone(), data.labels)[0]
    finally:
        setattr(transform, method, original)
    return mixed, share


def define_torchvision_operators():
    """torchvision has no CPU build; beside CPU PyTorch its operators are missing, which MixUp does
    not use but the import asks for."""
    if not torch.version.cuda:
        library = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms", "roi_align", "roi_pool", "ps_roi_align", "ps_roi_pool",
                     "deform_conv2d"):
            library.define(f"{name}(Tensor x) -> Tensor")
        return library
    return None


def torchvision(data):
    if data.normalise or data.dtype_in == "u8":
        raise NotImplementedError("mixes floats")
    v2 = importlib.import_module("torchvision.transforms.v2")
    transform = v2.MixUp(alpha=ALPHA, num_classes=CLASSES)

    def check():
        mixed, share = one_lambda(data, transform, "make_params", lambda share: {"lam": share})
        partner = np.arange(-1, data.samples - 1) % data.samples
        return mixed, partner, np.full(data.samples, share)

    yield Peer("torchvision MixUp, with labels", lambda i: transform(data.x[i], data.labels), check)


def timm(data):
    if data.normalise or data.dtype_in == "u8":
        raise NotImplementedError("mixes floats")
    Mixup = importlib.import_module("timm.data.mixup").Mixup
    flipped = np.arange(data.samples)[::-1]

    for mode, method in (("batch", "_params_per_batch"), ("elem", "_params_per_elem")):
        transform = Mixup(mixup_alpha=ALPHA, mode=mode, label_smoothing=0.0, num_classes=CLASSES)

        def check(transform=transform, mode=mode, method=method):
            def result(share):
                if mode == "batch":
                    return share, False
                return (np.full(data.samples, share, np.float32),
                        np.zeros(data.samples, dtype=bool))

            mixed, share = one_lambda(data, transform, method, result)
            return mixed, flipped, np.full(data.samples, share)

        yield Peer(f"timm Mixup, {mode}, in place, with labels",
                   lambda i, transform=transform: transform(data.out[i], data.labels), check)


def kornia(data):
    if data.normalise or data.dtype_in == "u8":
        raise NotImplementedError("mixes floats")
    augmentation = importlib.import_module("kornia.augmentation")

    def made(device):
        mixup = augmentation.RandomMixUpV2(p=1.0, data_keys=["input", "class"])
        return mixup.to(device) if device else mixup

    placements = [("", None)] if not data.cuda else [(", drawn on the host", None),
                                                     (", drawn on the GPU", "cuda")]
    for note, device in placements:
        mixup = made(device)

        def check(mixup=mixup):
            mixed = mixup(data.x[0], data.labels)[0]
            share = numbers(mixup._params["mixup_lambdas"].float())
            return mixed, numbers(mixup._params["mixup_pairs"]), 1 - share

        yield Peer(f"kornia RandomMixUpV2{note}, with labels",
                   lambda i, mixup=mixup: mixup(data.x[i], data.labels), check)


TRITON = """
import triton
import triton.language as tl

@triton.jit
def blend(x, out, partner, weight, elements, block: tl.constexpr):
    sample = tl.program_id(1).to(tl.int64)
    at = tl.program_id(0) * block + tl.arange(0, block)
    inside = at < elements
    own = tl.load(x + sample * elements + at, inside).to(tl.float32)
    other = tl.load(x + tl.load(partner + sample) * elements + at, inside).to(tl.float32)
    w = tl.load(weight + sample)
    tl.store(out + sample * elements + at, own * w + other * (1 - w), inside)
"""


def triton(data):
    if not data.cuda or data.normalise or data.dtype_in == "u8":
        raise NotImplementedError("floats on a GPU")
    importlib.import_module("triton")
    import pathlib
    import tempfile
    folder = pathlib.Path(tempfile.mkdtemp())
    (folder / "mixfuse_triton_peer.py").write_text(TRITON)  # it reads its source from a file
    sys.path.insert(0, str(folder))
    kernel = importlib.import_module("mixfuse_triton_peer").blend
    block = 2048
    grid = (-(-data.elements // block), data.samples)
    draw = torch_draw(data)
    fixed = [drawn.contiguous() for drawn in draw()]

    def launch(i, partner, weight):
        # Beta's samples are a column of Dirichlet's.
        kernel[grid](data.x[i], data.out[i], partner, weight.contiguous(), data.elements,
                     block=block, num_warps=8)
        return data.out[i]

    def check():
        return launch(0, *fixed), numbers(fixed[0]), numbers(fixed[1])

    yield Peer("Triton, one kernel", lambda i: launch(i, *draw()), check, capturable=True)
    yield Peer("Triton, one kernel, nothing drawn", lambda i: launch(i, *fixed), check,
               capturable=True)


def cupy(data):
    if not data.cuda or data.normalise or data.dtype_in != "f32":
        raise NotImplementedError("f32 on a GPU")
    cp = importlib.import_module("cupy")
    x = [cp.from_dlpack(tensor) for tensor in data.x]
    ones = [1] * (len(data.shape) - 1)

    def draw():
        weight = cp.random.beta(ALPHA, ALPHA, data.samples).astype(cp.float32)
        return cp.random.permutation(data.samples), weight.reshape(-1, *ones)

    def mixed(i, partner, weight):
        with cp.cuda.ExternalStream(torch.cuda.current_stream().cuda_stream):
            return x[i] * weight + x[i][partner] * (1 - weight)

    def check():
        drawn = draw()
        out = torch.from_dlpack(mixed(0, *drawn))
        return out, cp.asnumpy(drawn[0]), cp.asnumpy(drawn[1]).reshape(-1)

    yield Peer("CuPy formula", lambda i: mixed(i, *draw()), check)


def jax(data):
    if data.dtype_in == "u8" and not data.normalise:
        raise NotImplementedError("mixes floats")
    jax = importlib.import_module("jax")
    jnp = jax.numpy
    if data.cuda and jax.default_backend() == "cpu":
        raise NotImplementedError("installed without CUDA")
    x = [jnp.from_dlpack(tensor) if torch else jnp.asarray(tensor) for tensor in data.x]
    ones = [1] * (len(data.shape) - 1)
    dtype_out = {"f32": jnp.float32, "bf16": jnp.bfloat16}[data.dtype_out]

    @jax.jit
    def mixed(batch, key):
        first, second = jax.random.split(key)
        partner = jax.random.permutation(first, data.samples)
        weight = jax.random.beta(second, ALPHA, ALPHA, (data.samples,))
        if data.normalise:
            batch = (jnp.moveaxis(batch, -1, 1).astype(dtype_out) - 255 * MEAN) / (255 * STD)
        w = weight.reshape(-1, *ones).astype(batch.dtype)
        return batch * w + batch[partner] * (1 - w), partner, weight

    key = jax.random.key(1)
    state = {"step": 0}

    def step(i):
        state["step"] += 1
        return mixed(x[i], jax.random.fold_in(key, state["step"]))[0]

    def check():
        out, partner, weight = mixed(x[0], key)
        out = np.asarray(out.astype(jnp.float32))
        return out, np.asarray(partner), np.asarray(weight)

    yield Peer("JAX, jit", step, check, wait=lambda out: out.block_until_ready())


# The peers of labels. Weights are given, as in label_bench.


def label_memset(data):
    yield Peer("memset", lambda i: data.out[i].zero_(), capturable=True)


def label_mixfuse(data):
    c, checked = data.library.c, data.library.checked
    handle = checked(c.mixfuse_peers_make(data.cuda, data.threads, f"{data.samples}x1x1".encode(),
                                          b"f32", b"f32", 0, 0, 0, 1, stream_of(data)))

    def step(i):
        checked(c.mixfuse_peers_label(handle, address(data.out[i]), address(data.labels),
                                      data.classes, stream_of(data)))
        return data.out[i]

    yield Peer("mixfuse, dense", step, lambda: (step(0), *rows_of(data, handle)), capturable=True)


def label_torchvision(data):
    v2 = importlib.import_module("torchvision.transforms.v2")
    transform, share = v2.MixUp(alpha=ALPHA, num_classes=data.classes), 0.3

    def step(_):
        return transform._mixup_label(data.labels, lam=share)

    partner = np.arange(-1, data.samples - 1) % data.samples
    yield Peer("torchvision MixUp, labels alone", step,
               lambda: (step(0), partner, np.full(data.samples, share)))


def label_timm(data):
    mixup_target, share = importlib.import_module("timm.data.mixup").mixup_target, 0.3

    def step(_):
        return mixup_target(data.labels, data.classes, share)

    partner = np.arange(data.samples)[::-1]
    yield Peer("timm mixup_target", step,
               lambda: (step(0), partner, np.full(data.samples, share)))


# By what they take to enter: compilers last, since an entry that began is not stopped.
MAKERS = [copies, mixfuse, torch_eager, torchvision, numpy_formula, opencv, timm, triton,
          kornia, torch_compile, torch_compile_graphs, cupy, jax]
LABEL_MAKERS = [label_memset, label_mixfuse, label_torchvision, label_timm]


# The measuring, as harness.cpp's.


def spread(values):
    return dict(zip(("p10", "median", "p90"), np.quantile(values, (0.1, 0.5, 0.9)).tolist()))


class Entrant:
    """A peer that was checked and warmed up."""

    def __init__(self, peer, data, steps):
        self.peer, self.data, self.next = peer, data, 0
        self.error = data.error(peer.checked()) if peer.checked else None
        if self.error is not None and not self.error <= TOLERANCE[data.dtype_out]:
            raise AssertionError(f"WRONG by {self.error}")
        for i in range(3 if steps > 1 else 1):
            begin = time.perf_counter()
            self.finish(peer.step(i % data.sets))
        self.steps = max(1, min(steps, int(TURN / (time.perf_counter() - begin))))

    def enter(self, way):
        self.us, self.host_us, self.graph = [], [], None
        if way == "graph":
            if not self.peer.capturable:
                raise NotImplementedError("not captured")
            self.graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self.graph):
                self.run_steps()
            self.graph.replay()
            self.finish(None)

    def run_steps(self):
        result = None
        for _ in range(self.steps):
            result = self.peer.step(self.next % self.data.sets)
            self.next += 1
        return result

    def finish(self, result):
        if self.peer.wait:
            self.peer.wait(result)
        if self.data.cuda:
            torch.cuda.synchronize()

    def run(self):
        events = self.data.cuda and not self.peer.wait
        if events:
            start, stop = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
        begin = time.perf_counter()
        result = self.graph.replay() if self.graph else self.run_steps()
        host = time.perf_counter() - begin
        if events:
            stop.record()
        self.finish(result)
        total = start.elapsed_time(stop) / 1e3 if events else time.perf_counter() - begin
        self.us.append(total * 1e6 / self.steps)
        if self.data.cuda and not self.graph:
            self.host_us.append(host * 1e6 / self.steps)


def reason(error):
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__


def entrants(data, steps, end):
    """Those that can be measured, and who is absent and why. None enters after `end`."""
    entered, absent = [], []
    if torch:
        torch._dynamo.reset()  # else the second shape is compiled for any
    for maker in LABEL_MAKERS if data.dtype_in == "ids" else MAKERS:
        try:
            if entered and time.monotonic() > end:
                raise TimeoutError(NO_TIME)
            for peer in maker(data):
                try:
                    entered.append(Entrant(peer, data, steps))
                except Exception as error:
                    absent.append({"name": peer.name, "why": reason(error)})
        except Exception as error:
            absent.append({"name": maker.__name__, "why": reason(error)})
    return entered, absent


def measured(entered, limits, end):
    """Results, and the rounds they are of: a few, and more until `end`."""
    rounds = 0
    while rounds < limits.rounds and (rounds < 3 or time.monotonic() < end):
        for k in range(len(entered)):
            entered[(k + rounds) % len(entered)].run()
        rounds += 1
    results = []
    for entrant in entered:
        ratios = [us / ceiling for us, ceiling in zip(entrant.us, entered[0].us)]
        result = {"name": entrant.peer.name, "us": spread(entrant.us), "ratio": spread(ratios)}
        if entrant.host_us:
            result["host_us"] = spread(entrant.host_us)
        if entrant.error is not None:
            result["error"] = entrant.error
        results.append(result)
    return results, rounds


def described(shape, way):
    """A contest before it is measured."""
    name, dtype_in, dtype_out = shape
    return {"stage": "label" if dtype_in == "ids" else "mix", "shape": name, "in": dtype_in,
            "out": dtype_out, "samples": extents_of(name)[0], "bytes": bytes_of(*shape), "way": way,
            "sets": 0, "steps": 0, "rounds": 0, "results": [], "absent": []}


def import_all():
    """Before shapes share the time, so that the first one does not pay for it."""
    for name in ("torchvision.transforms.v2", "timm.data.mixup", "kornia.augmentation", "cv2",
                 "torch._inductor.compile_fx", "triton", "cupy", "jax"):
        try:
            importlib.import_module(name)
        except Exception:  # whoever needs it says why it is absent
            pass


def contests(shape, limits, library, end):
    """A shape's contests, one a way, with the same peers: until `end`, half of it to enter."""
    ways = ["call", "graph"] if limits.device == "cuda" else ["call"]
    begin = time.monotonic()
    why = NO_TIME if begin >= end else \
        "PyTorch holds it" if {"bf16", "ids"} & set(shape[1:]) and not torch else None
    if why:
        for way in ways:
            yield described(shape, way) | {"absent": [{"name": "all", "why": why}]}
        return
    data = (Labels if shape[1] == "ids" else Data)(*shape, limits, library)
    many = data.cuda or data.bytes < 8 << 20
    steps = max(limits.steps, data.sets) if many else 1
    entered, absent = entrants(data, steps, (begin + end) / 2)
    for left, way in zip(range(len(ways), 0, -1), ways):
        ready, not_ready = [], []
        for entrant in entered:
            try:
                entrant.enter(way)
                ready.append(entrant)
            except Exception as error:
                not_ready.append({"name": entrant.peer.name, "why": reason(error)})
        now = time.monotonic()
        results, rounds = measured(ready, limits, now + min(limits.seconds, (end - now) / left))
        yield described(shape, way) | {"sets": data.sets, "steps": steps, "rounds": rounds,
                                       "results": results, "absent": absent + not_ready}


def show(result):
    print(f"{result['shape']} {result['in']} -> {result['out']}, {result['way']}, "
          f"{result['rounds']} rounds")
    for entry in result["results"]:
        print(f"  {entry['name']:44}{entry['us']['median']:12.1f} us  "
              f"x{entry['ratio']['median']:.3f}")
    for entry in result["absent"]:
        print(f"  {entry['name']}: absent, {entry['why']}")
    sys.stdout.flush()


def versions():
    found = {"python": sys.version.split()[0], "numpy": np.__version__}
    for name in ("torch", "torchvision", "timm", "kornia", "triton", "cupy", "jax", "cv2"):
        module = sys.modules.get(name)
        if module:
            found[name] = str(getattr(module, "__version__", "unknown"))
    return found


def parsed():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--library", required=True)
    parser.add_argument("--json", required=True)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--shape", help="only shapes like this")
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--seconds", type=float, default=8.0, help="of a contest's rounds")
    parser.add_argument("--total", type=float, default=1e9, help="of all; shapes share it")
    parser.add_argument("--commit", default="")
    limits = parser.parse_args()
    limits.rounds, limits.steps = (3, 2) if limits.small else (31, 20)
    return limits


def main():
    limits = parsed()
    if limits.device == "cuda" and not (torch and torch.cuda.is_available()):
        sys.exit("peers.py: on a GPU PyTorch holds the data, and it is not here")
    random.seed(1)
    if torch:
        torch.manual_seed(1)
        if limits.threads:
            torch.set_num_threads(limits.threads)
        operators = define_torchvision_operators()  # kept alive
    library = Library(limits.library, limits.device, limits.threads, limits.commit)
    report, end = library.report, time.monotonic() + limits.total
    shapes = [shape for shape in SHAPES["small" if limits.small else "full"]
              if not limits.shape or limits.shape in " ".join(shape)]
    if not shapes:
        sys.exit(f"peers.py: --shape {limits.shape}: no shape is like this")
    import_all()
    for at, shape in enumerate(shapes):
        now = time.monotonic()  # what others did not need is shared by the rest
        for result in contests(shape, limits, library, now + (end - now) / (len(shapes) - at)):
            report["contests"].append(result)
            show(result)
            report["software"] = versions()
            with open(limits.json, "w") as file:
                json.dump(report, file, indent=1)
    return any("WRONG" in absent["why"]
               for result in report["contests"] for absent in result["absent"])


if __name__ == "__main__":
    sys.exit(main())
