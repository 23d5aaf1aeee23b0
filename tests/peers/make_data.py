"""Makes tests/peers/data: what the peers' own classes returned, beside the plan that makes mixfuse return the same.

Run (CPU only, Python 3.11, a virtual environment of its own):

    pip install torch==2.13.0
    pip install --no-deps torchvision==0.28.0 timm==1.0.15
    pip install numpy==2.4.6 ml_dtypes==0.6.0 pyyaml safetensors huggingface_hub pillow
    pip install jax==0.10.2 jaxlib==0.10.2 keras==3.15.1
    python make_data.py            writes data/*.json, every case verified first
    python make_data.py --check    verifies, writes nothing, fails if a committed file differs

Each peer draws from its own seeded generator; its draws are read back by wrapping the method that makes them, never by
imitating it. `paper` alone runs no foreign code: it evaluates the formulas of shared/peers.md 2.2 and 2.3 in torch.

One file a case, one JSON object:

    case       the file's stem
    peer       {"name", "class", "version", "with": versions of what it ran on}
    settings   the arguments the peer was given
    dtype      of input and output: u8 f16 bf16 f32; out_dtype where the output has another
    layout     nchw, nhwc or ntchw; shape: the sizes, B first
    input      flat, C order, bit patterns as unsigned integers (u8: the values); one line a sample
    output     the peer's images, the same way
    plan       P.json, version 1 (shared/design.md section 7), without seed, step and first
    label_is   lambda | own_pixels (f32(own / all)) | mixed (lambda or own_pixels, by row) | peer_area (the peer's, row 16)
    labels     {"ids", "classes", "smoothing"} or {"rows", "classes"}, rows as f32 bit patterns, flat (B, K)
    targets    the peer's dense label rows, f32 bit patterns, flat (B, K)
    sparse     paper only: {"own", "partner", "lambda"}, lambda as f32 bit patterns
    tolerance  {"ulp"} of max(|own|, |partner|) in the output dtype, or {"levels", "exact_beyond"} for u8: within `levels`,
               equal where the exact value is further than exact_beyond from a half; {"targets"} absolute.
               A pixel whose weight is 0 or 1 is a bit copy, whatever the tolerance.
    notes      sentences; "row N" is peers.md section 5
"""

import json
import os
import sys
import tempfile
import zlib
from pathlib import Path

os.environ["KERAS_BACKEND"] = "jax"
os.environ["JAX_PLATFORMS"] = "cpu"
keras_home = tempfile.TemporaryDirectory()  # else keras writes its configuration into the home directory
os.environ["KERAS_HOME"] = keras_home.name

import ml_dtypes
import numpy as np
import torch

torchvision_ops = torch.library.Library("torchvision", "DEF")  # its compiled operators are not needed, but must be named
for op in ("nms", "qnms", "roi_align", "roi_pool", "ps_roi_align", "ps_roi_pool", "deform_conv2d"):
    torchvision_ops.define(op + "(Tensor x) -> Tensor")

import jax
import keras
import timm
import timm.data.mixup
import torchvision
from torchvision import tv_tensors
from torchvision.transforms import v2

DATA = Path(__file__).parent / "data"
CLASSES = 4
NUMPY = {"u8": np.uint8, "f16": np.float16, "bf16": ml_dtypes.bfloat16, "f32": np.float32}
BITS = {"u8": np.uint8, "f16": np.uint16, "bf16": np.uint16, "f32": np.uint32}
TORCH = {"u8": torch.uint8, "f16": torch.float16, "bf16": torch.bfloat16, "f32": torch.float32}
MANTISSA = {"f16": 10, "bf16": 7, "f32": 23}
ULP = {"f16": 1.5, "bf16": 1.5, "f32": 2.0}
HALF_LABEL = {"f16": 2.0**-11, "bf16": 2.0**-8}
VERSIONS = {
    "timm": timm.__version__, "torchvision": torchvision.__version__, "keras": keras.__version__,
    "torch": torch.__version__.split("+")[0], "numpy": np.__version__, "jax": jax.__version__,
}


def to_torch(array, dtype):
    return torch.from_numpy(array.view(BITS[dtype]).copy()).view(TORCH[dtype])


def to_numpy(tensor, dtype):
    return tensor.contiguous().view(torch.uint8).numpy().view(NUMPY[dtype]).reshape(tensor.shape)


def random_batch(rng, shape, dtype):
    if dtype == "u8":
        batch = rng.integers(0, 256, shape, dtype=np.uint8)
        batch.flat[:2] = 0, 255
        return batch
    return (rng.standard_normal(shape) * 2.0 ** rng.integers(-3, 4, shape)).astype(np.float32).astype(NUMPY[dtype])


def soft_rows(rng, batch):
    """Shares in eighths, so that every float dtype holds them exactly."""
    return (rng.multinomial(8, [1 / CLASSES] * CLASSES, batch) / 8).astype(np.float32)


def one_hot(ids):
    return np.eye(CLASSES, dtype=np.float32)[ids]


# Rows of a plan

def copy_row(partner):
    return dict(partner=partner, outside=1.0, inside=1.0, label=1.0, box=[[0, 0], [0, 0]])


def mixup_row(partner, lam, label=None):
    return dict(partner=partner, outside=lam, inside=lam, label=lam if label is None else label, box=[[0, 0], [0, 0]])


def cutmix_row(partner, box, spatial, label=None):
    (y0, y1), (x0, x1) = box
    pasted = (y1 - y0) * (x1 - x0)
    pixels = spatial[0] * spatial[1]
    box = [[int(y0), int(y1)], [int(x0), int(x1)]] if pasted else [[0, 0], [0, 0]]
    return dict(partner=partner, outside=1.0, inside=0.0, box=box,
                label=(pixels - pasted) / pixels if label is None else label)


def kind(row):
    if row["outside"] == row["inside"]:
        return "copy" if row["outside"] == 1 else "mixup"
    return "cutmix" if row["box"][0][1] else "empty"


# Peers: each run returns the case's own keys, images and targets as numpy arrays

def run_timm(seed, mode, policy, smoothing, dtype, shape, collate=False, prob=None):
    rng = np.random.default_rng(seed)
    images, ids = random_batch(rng, shape, dtype), rng.integers(0, CLASSES, shape[0])
    arguments = {
        "mixup": dict(mixup_alpha=0.8),
        "cutmix": dict(mixup_alpha=0.0, cutmix_alpha=1.0),
        "minmax": dict(mixup_alpha=0.0, cutmix_minmax=[0.4, 0.9]),
        "switch": dict(mixup_alpha=0.8, cutmix_alpha=1.0, switch_prob=0.5, prob=1.0 if mode == "batch" else 0.7),
    }[policy] | dict(mode=mode, label_smoothing=smoothing, num_classes=CLASSES)
    if prob is not None:
        arguments["prob"] = prob
    peer = (timm.data.mixup.FastCollateMixup if collate else timm.data.mixup.Mixup)(**arguments)
    draws, boxes = [], []

    def recorded_params(draw):
        def params(*args):
            lam, use_cutmix = draw(*args)
            draws.append((np.array(lam, copy=True), np.array(use_cutmix, copy=True)))
            return lam, use_cutmix
        return params

    peer._params_per_elem = recorded_params(peer._params_per_elem)
    peer._params_per_batch = recorded_params(peer._params_per_batch)
    original = timm.data.mixup.cutmix_bbox_and_lam

    def recorded_box(*args, **kwargs):
        (yl, yh, xl, xh), lam = original(*args, **kwargs)
        boxes.append(([[int(yl), int(yh)], [int(xl), int(xh)]], float(lam)))
        return (yl, yh, xl, xh), lam

    timm.data.mixup.cutmix_bbox_and_lam = recorded_box
    np.random.seed(seed)
    try:
        if collate:
            output, targets = peer([(image.copy(), int(i)) for image, i in zip(images, ids)])
        else:
            output, targets = peer(to_torch(images, dtype), torch.from_numpy(ids))
    finally:
        timm.data.mixup.cutmix_bbox_and_lam = original

    assert len(draws) == 1 and output.dtype == TORCH[dtype] and targets.dtype == torch.float32
    lam, use_cutmix = (np.atleast_1d(v) for v in draws[0])
    batch, drawn = shape[0], []
    for l, cut in zip(lam, use_cutmix):
        drawn.append(None if l == 1 else boxes.pop(0) if cut else float(np.float32(l)))
    assert not boxes
    rows = []
    for i in range(batch):
        own = drawn[0 if mode == "batch" else i if mode == "elem" else min(i, batch - 1 - i)]
        partner = batch - 1 - i
        if own is None:
            rows.append(copy_row(partner))
        elif isinstance(own, float):
            rows.append(mixup_row(partner, own))
        else:
            rows.append(cutmix_row(partner, own[0], shape[-2:]))
            assert abs(rows[-1]["label"] - own[1]) < 1e-7
    notes = []
    if mode == "batch":
        notes.append("timm's lambda is a double here; the plan has the nearest f32, which is also what torch or numpy multiplied by")
    tolerance = {}
    if dtype in HALF_LABEL and mode != "batch":
        tolerance["targets"] = HALF_LABEL[dtype]
        notes.append("row 7: timm rounds lambda and 1-lambda of the targets to the image dtype; the plan's label is not rounded")
    return dict(
        peer=("timm", type(peer).__module__ + "." + type(peer).__name__, ["torch", "numpy"]), settings=arguments,
        dtype=dtype, layout="nchw", input=images, output=to_numpy(output, dtype), spatial=shape[-2:], rows=rows,
        labels=dict(ids=ids, classes=CLASSES, smoothing=smoothing), targets=targets.numpy(), tolerance=tolerance, notes=notes)


def run_torchvision(seed, policy, dtype, shape, labels="ids", layout="nchw"):
    rng = np.random.default_rng(seed)
    images, ids = random_batch(rng, shape, dtype), rng.integers(0, CLASSES, shape[0])
    dense = soft_rows(rng, shape[0])
    arguments = dict(alpha=1.0) | (dict(num_classes=CLASSES) if labels == "ids" else {})
    peer = {"mixup": v2.MixUp, "cutmix": v2.CutMix}[policy](**arguments)
    draws = []
    make_params = peer.make_params

    def recorded(inputs):
        draws.append(make_params(inputs))
        return draws[-1]

    peer.make_params = recorded
    torch.manual_seed(seed)
    tensor = to_torch(images, dtype)
    output, targets = peer(tv_tensors.Video(tensor) if layout == "ntchw" else tensor,
                           torch.from_numpy(ids if labels == "ids" else dense))
    output = output.as_subclass(torch.Tensor)
    assert len(draws) == 1 and output.dtype == TORCH[dtype] and targets.dtype == torch.float32
    rows = []
    for i in range(shape[0]):
        partner = (i - 1) % shape[0]
        if policy == "mixup":
            assert float(np.float32(draws[0]["lam"])) == draws[0]["lam"]
            rows.append(mixup_row(partner, draws[0]["lam"]))
        else:
            x0, y0, x1, y1 = draws[0]["box"]
            rows.append(cutmix_row(partner, [[y0, y1], [x0, x1]], shape[-2:]))
            assert abs(rows[-1]["label"] - draws[0]["lam_adjusted"]) < 1e-7
    return dict(
        peer=("torchvision", "torchvision.transforms.v2." + type(peer).__name__, ["torch"]), settings=arguments,
        dtype=dtype, layout=layout, input=images, output=to_numpy(output, dtype), spatial=shape[-2:], rows=rows,
        labels=dict(ids=ids, classes=CLASSES, smoothing=0.0) if labels == "ids" else dict(rows=dense, classes=CLASSES),
        targets=targets.numpy(), notes=[])


def run_keras(seed, policy, dtype, shape, layout="nhwc", labels="one_hot"):
    rng = np.random.default_rng(seed)
    compute = "f32" if dtype == "u8" else dtype
    images = random_batch(rng, shape, dtype)
    dense = one_hot(rng.integers(0, CLASSES, shape[0])) if labels == "one_hot" else soft_rows(rng, shape[0])
    arguments = dict(alpha=0.8) if policy == "mixup" else dict(factor=[0.8, 1.0])
    arguments |= dict(seed=seed, data_format="channels_last" if layout == "nhwc" else "channels_first",
                      dtype={"f32": "float32", "f16": "float16", "bf16": "bfloat16"}[compute])
    peer = {"mixup": keras.layers.MixUp, "cutmix": keras.layers.CutMix}[policy](**arguments)
    draws = []
    get_random_transformation = peer.get_random_transformation

    def recorded(*args, **kwargs):
        draws.append(get_random_transformation(*args, **kwargs))
        return draws[-1]

    peer.get_random_transformation = recorded
    result = peer({"images": images.copy(), "labels": dense.copy()})
    output, targets = np.asarray(result["images"]), np.asarray(result["labels"])
    assert len(draws) == 1 and output.dtype == NUMPY[compute]
    partners = np.asarray(draws[0]["permutation_order"]).tolist()
    weights = np.asarray(draws[0]["mix_weight"]).reshape(-1)
    spatial = shape[1:3] if layout == "nhwc" else shape[2:4]
    rows, notes = [], []
    for i, partner in enumerate(partners):
        if policy == "mixup":
            lam = float(weights[i].astype(NUMPY[compute]))
            rows.append(mixup_row(partner, lam, label=float(weights[i])))
        else:
            mask = np.asarray(draws[0]["batch_masks"])[i].any(axis=-1 if layout == "nhwc" else 0)
            ys, xs = np.nonzero(mask.any(axis=1))[0], np.nonzero(mask.any(axis=0))[0]
            box = [[ys[0], ys[-1] + 1], [xs[0], xs[-1] + 1]] if mask.any() else [[0, 0], [0, 0]]
            assert mask.sum() == (box[0][1] - box[0][0]) * (box[1][1] - box[1][0])
            rows.append(cutmix_row(partner, box, spatial, label=float(weights[i])))
    if policy == "cutmix":
        notes.append("row 16: keras's box is fractional; box is the pixels it pasted, label the area it computed, not 1 - pasted/all")
    elif compute != "f32":
        notes.append("keras blends with lambda rounded to the compute dtype (outside, inside) and rounds 1-lambda again; "
                     "labels use the f32 lambda, so label differs from outside")
    if targets.dtype != np.float32:
        notes.append("keras's label rows are " + compute + " here, widened exactly to f32")
    case = dict(
        peer=("keras", "keras.layers." + type(peer).__name__, ["jax", "numpy"]), settings=arguments,
        dtype=dtype, layout=layout, input=images, output=output, spatial=spatial, rows=rows,
        labels=dict(rows=dense, classes=CLASSES), targets=targets.astype(np.float32), notes=notes)
    return case | (dict(label_is="peer_area") if policy == "cutmix" else {}) | (dict(out_dtype="f32") if dtype == "u8" else {})


def run_paper(seed, policy, dtype, shape):
    rng = np.random.default_rng(seed)
    images, ids = random_batch(rng, shape, dtype), rng.integers(0, CLASSES, shape[0])
    partners = rng.permutation(shape[0])
    height, width = shape[-2:]
    lam = float(rng.beta(1.0, 1.0))
    x = to_torch(images, dtype)
    if policy == "mixup":
        output = lam * x + (1 - lam) * x[partners]
        rows = [mixup_row(int(p), float(np.float32(lam))) for p in partners]
    else:
        cut_h, cut_w = int(height * np.sqrt(1 - lam)), int(width * np.sqrt(1 - lam))
        cy, cx = int(rng.integers(height)), int(rng.integers(width))
        y0, y1 = max(cy - cut_h // 2, 0), min(cy + cut_h // 2, height)
        x0, x1 = max(cx - cut_w // 2, 0), min(cx + cut_w // 2, width)
        output = x.clone()
        output[:, :, y0:y1, x0:x1] = x[partners][:, :, y0:y1, x0:x1]
        lam = 1 - (y1 - y0) * (x1 - x0) / (height * width)
        rows = [cutmix_row(int(p), [[y0, y1], [x0, x1]], shape[-2:]) for p in partners]
    targets = lam * one_hot(ids).astype(np.float64) + (1 - lam) * one_hot(ids[partners])
    return dict(
        peer=("paper", {"mixup": "mixup-cifar10 train.py", "cutmix": "CutMix-PyTorch train.py"}[policy], ["torch", "numpy"]),
        settings=dict(alpha=1.0), dtype=dtype, layout="nchw", input=images, output=to_numpy(output, dtype),
        spatial=shape[-2:], rows=rows, labels=dict(ids=ids, classes=CLASSES, smoothing=0.0), targets=targets.astype(np.float32),
        sparse=dict(own=ids, partner=ids[partners], **{"lambda": np.full(shape[0], lam, np.float32)}),
        notes=["formulas of peers.md 2.2 and 2.3, not the peer's code; its targets are sparse, the dense rows follow from them"])


# Verification

def ulp_of(magnitude, dtype):
    lowest = {"f16": -14, "bf16": -126, "f32": -126}[dtype]
    return 2.0 ** (np.maximum(np.floor(np.log2(np.maximum(magnitude, 1e-300))), lowest) - MANTISSA[dtype])


def mixfuse_blend(lam, own, partner, dtype):
    """design.md promise 3, the fma through 64-bit significands."""
    l, a, b = (np.asarray(v, np.float32).astype(np.longdouble) for v in (lam, own, partner))
    inner = (b - l * b).astype(np.float32).astype(np.longdouble)
    mixed = (l * a + inner).astype(np.float32)
    return np.clip(np.rint(mixed), 0, 255).astype(np.uint8) if dtype == "u8" else mixed.astype(NUMPY[dtype])


def verify(case):
    """Asserts that the injected plan gives the peer's pixels and labels; returns the worst distances seen."""
    dtype, out = case["dtype"], case.get("out_dtype", case["dtype"])
    worst = dict(ulp=0.0, mixfuse_ulp=0.0, targets=0.0)
    assert case["input"].shape == case["output"].shape and case["output"].dtype == NUMPY[out]
    for i, row in enumerate(case["rows"]):
        own, partner, peer = case["input"][i], case["input"][row["partner"]], case["output"][i]
        (y0, y1), (x0, x1) = row["box"]
        mask = np.zeros(case["spatial"], bool)
        mask[y0:y1, x0:x1] = True
        mask = np.broadcast_to(mask[:, :, None] if case["layout"] == "nhwc" else mask, own.shape)
        weight = np.where(mask, np.float32(row["inside"]), np.float32(row["outside"]))
        for whole, source in ((1, own), (0, partner)):
            at = weight == whole
            assert (peer[at].view(BITS[out]) == source[at].astype(NUMPY[out]).view(BITS[out])).all(), case["case"]
        at = (weight != 0) & (weight != 1)
        a, b, l, p = (v[at].astype(np.float64) for v in (own, partner, weight, peer))
        exact = l * a + (1 - l) * b
        ours = mixfuse_blend(l, a, b, out).astype(np.float64)
        if out == "u8":
            away = np.abs(np.abs(exact - np.floor(exact)) - 0.5) > case["tolerance"]["exact_beyond"]
            assert (np.abs(p - ours) <= case["tolerance"]["levels"]).all() and (p == ours)[away].all(), case["case"]
            assert (p == np.rint(exact))[away].all(), case["case"]
        elif at.any():
            unit = ulp_of(np.maximum(np.abs(a), np.abs(b)), out)
            worst["ulp"] = max(worst["ulp"], (np.abs(p - exact) / unit).max())
            worst["mixfuse_ulp"] = max(worst["mixfuse_ulp"], (np.abs(p - ours) / unit).max())

        labels = case["labels"]
        source = one_hot(labels["ids"]) if "ids" in labels else labels["rows"]
        s = labels.get("smoothing", 0.0)
        source = (1 - s) * source.astype(np.float64) + (s / CLASSES if "ids" in labels else 0)
        label = float(np.float32(row["label"]))
        expected = label * source[i] + (1 - label) * source[row["partner"]]
        worst["targets"] = max(worst["targets"], np.abs(case["targets"][i] - expected).max())
        assert abs(case["targets"][i].sum(dtype=np.float64) - 1) <= 2 * case["tolerance"]["targets"], case["case"]
    for key, limit in (("ulp", "ulp"), ("mixfuse_ulp", "ulp"), ("targets", "targets")):
        if limit in case["tolerance"]:
            assert worst[key] <= case["tolerance"][limit], (case["case"], key, worst)
    return worst


# Writing

def number(value):
    """The shortest decimal of an f32; it reads back to the same bits by way of double too."""
    text = str(np.float32(value))
    assert np.float32(float(text)).view(np.uint32) == np.float32(value).view(np.uint32)
    return text


def lines(array):
    """One line a sample of bit patterns."""
    bits = np.ascontiguousarray(array).view(BITS[{v: k for k, v in ((k, np.dtype(t)) for k, t in NUMPY.items())}[array.dtype]])
    return "[\n" + ",\n".join(",".join(map(str, sample.reshape(-1).tolist())) for sample in bits) + "]"


def text_of(case):
    name, cls, run_on = case["peer"]
    peer = {"name": name, "class": cls, "version": VERSIONS.get(name, "formulas"), "with": {k: VERSIONS[k] for k in run_on}}
    rows = ",\n".join(
        '{"partner":%d,"outside":%s,"inside":%s,"label":%s,"flip":false,"box":%s}' % (
            r["partner"], number(r["outside"]), number(r["inside"]), number(r["label"]), json.dumps(r["box"], separators=(",", ":")))
        for r in case["rows"])
    labels = case["labels"]
    if "ids" in labels:
        labels = json.dumps(dict(labels, ids=labels["ids"].tolist()))
    else:
        labels = '{"classes":%d,"rows":%s}' % (labels["classes"], lines(labels["rows"]))
    parts = [("case", json.dumps(case["case"])), ("peer", json.dumps(peer)), ("settings", json.dumps(case["settings"])),
             ("dtype", json.dumps(case["dtype"]))]
    if "out_dtype" in case:
        parts.append(("out_dtype", json.dumps(case["out_dtype"])))
    parts += [
        ("layout", json.dumps(case["layout"])), ("shape", json.dumps(case["input"].shape)),
        ("tolerance", json.dumps(case["tolerance"])), ("label_is", json.dumps(case["label_is"])), ("notes", json.dumps(case["notes"])),
        ("labels", labels),
        ("plan", '{"version":1,"batch":%d,"spatial":%s,"rows":[\n%s]}' % (len(case["rows"]), json.dumps(list(case["spatial"])), rows)),
        ("targets", lines(case["targets"]))]
    if "sparse" in case:
        sparse = case["sparse"]
        parts.append(("sparse", json.dumps({"own": sparse["own"].tolist(), "partner": sparse["partner"].tolist(),
                                            "lambda": sparse["lambda"].view(np.uint32).tolist()})))
    parts += [("input", lines(case["input"])), ("output", lines(case["output"]))]
    return "{\n" + ",\n".join('"%s":%s' % part for part in parts) + "\n}\n"


# Cases

def telling(case):
    """Whether wrong labels and weights would show: a mixed row joins two classes, a blended one has lambda away from 0, 1/2 and 1."""
    labels, rows = case["labels"], case["rows"]
    source = one_hot(labels["ids"]) if "ids" in labels else labels["rows"]
    joined = [row for i, row in enumerate(rows) if row["label"] != 1 and (source[i] != source[row["partner"]]).any()]
    lambdas = [(row["outside"], row["partner"] != i) for i, row in enumerate(rows) if kind(row) == "mixup"]
    away = any(other and 0.1 < l < 0.9 and abs(l - 0.5) > 0.05 for l, other in lambdas)
    return all(kind(row) == "copy" for row in rows) or bool(joined) and (away or not lambdas)


def make(name, want, run, *args, **kwargs):
    """The first seed whose rows show every kind in `want` and are telling."""
    for attempt in range(1000):
        case = run(zlib.crc32(name.encode()) % 2**31 + attempt, *args, **kwargs)
        kinds = {kind(row) for row in case["rows"]}
        if "self" in want and all(row["partner"] != i for i, row in enumerate(case["rows"])):
            continue
        if "same" in want and not (case["targets"].max(axis=1) == case["targets"].max()).any():
            continue
        if set(want) - {"self", "same"} <= kinds and telling(case):
            break
    else:
        raise RuntimeError("no seed shows " + repr(want) + " for " + name)
    case["case"] = name
    if "label_is" not in case:
        boxed = kinds & {"cutmix", "empty"}
        case["label_is"] = "mixed" if boxed and "mixup" in kinds else "own_pixels" if boxed else "lambda"
    out = case.get("out_dtype", case["dtype"])
    case["tolerance"] = (dict(levels=1, exact_beyond=2.0**-14) if out == "u8" else dict(ulp=ULP[out])) | dict(targets=1e-6) \
        | case.get("tolerance", {})
    return case


def cases():
    modes, policies = ("batch", "pair", "elem"), ("mixup", "cutmix", "minmax", "switch")
    wanted = {"mixup": ["mixup"], "cutmix": ["cutmix"], "minmax": ["cutmix"]}
    for mode in modes:
        for policy in policies:
            for smoothing, suffix, shape in ((0.0, "s0", (4, 2, 5, 3)), (0.1, "s01", (6, 1, 4, 5))):
                if policy != "switch":
                    want = wanted[policy]
                elif mode == "batch":
                    want = ["cutmix"] if smoothing else ["mixup"]
                else:
                    want = ["mixup", "cutmix"] + (["copy"] if smoothing else [])
                yield make(f"timm_{mode}_{policy}_{suffix}_f32", want, run_timm, mode, policy, smoothing, "f32", shape)
    yield make("timm_batch_off_s01_f32", ["copy"], run_timm, "batch", "mixup", 0.1, "f32", (4, 1, 3, 5), prob=0.0)
    yield make("timm_elem_empty_s0_f32", ["empty", "cutmix"], run_timm, "elem", "cutmix", 0.0, "f32", (4, 1, 3, 5))
    for dtype in ("f16", "bf16"):
        for mode in modes:
            yield make(f"timm_{mode}_mixup_s0_{dtype}", ["mixup"], run_timm, mode, "mixup", 0.0, dtype, (4, 2, 5, 3))
            want = ["cutmix"] if mode == "batch" else ["mixup", "cutmix", "copy"]
            yield make(f"timm_{mode}_switch_s01_{dtype}", want, run_timm, mode, "switch", 0.1, dtype, (6, 1, 5, 4))
    yield make("timm_batch_cutmix_s0_u8", ["cutmix"], run_timm, "batch", "cutmix", 0.0, "u8", (4, 3, 7, 5))
    for mode in modes:
        for policy in policies:
            smoothing = 0.1 if policy in ("minmax", "switch") else 0.0
            want = wanted.get(policy, ["mixup"] if mode == "batch" else ["mixup", "cutmix", "copy"])
            yield make(f"timm_collate_{mode}_{policy}_u8", want, run_timm, mode, policy, smoothing, "u8", (6, 3, 5, 3), collate=True)
    for policy in ("mixup", "cutmix"):
        for dtype, shape in (("f32", (5, 2, 5, 3)), ("f16", (6, 2, 5, 3)), ("bf16", (5, 2, 3, 5))):
            yield make(f"torchvision_{policy}_{dtype}", [policy, "same"], run_torchvision, policy, dtype, shape)
        yield make(f"torchvision_{policy}_rows_f32", [policy], run_torchvision, policy, "f32", (3, 2, 4, 5), labels="rows")
        yield make(f"torchvision_{policy}_video_f16", [policy], run_torchvision, policy, "f16", (3, 2, 2, 5, 3), layout="ntchw")
    yield make("torchvision_cutmix_u8", ["cutmix"], run_torchvision, "cutmix", "u8", (5, 3, 7, 5))
    for policy in ("mixup", "cutmix"):
        for dtype, shape in (("f32", (5, 5, 3, 2)), ("f16", (4, 5, 4, 2)), ("bf16", (4, 4, 5, 2))):
            yield make(f"keras_{policy}_{dtype}", [policy], run_keras, policy, dtype, shape)
        yield make(f"keras_{policy}_nchw_rows_f32", [policy], run_keras, policy, "f32", (4, 2, 4, 5), layout="nchw", labels="rows")
    yield make("keras_mixup_self_f32", ["mixup", "self"], run_keras, "mixup", "f32", (4, 3, 5, 2))
    yield make("keras_mixup_u8_f32", ["mixup"], run_keras, "mixup", "u8", (4, 5, 4, 3))
    for policy in ("mixup", "cutmix"):
        for dtype, shape in (("f32", (5, 2, 5, 3)), ("f16", (5, 2, 5, 3)), ("bf16", (6, 1, 5, 4))):
            yield make(f"paper_{policy}_{dtype}", [policy] + (["self"] if dtype == "f32" else []), run_paper, policy, dtype, shape)


def main():
    check = sys.argv[1:] == ["--check"]
    DATA.mkdir(exist_ok=True)
    names, size, differing = set(), 0, []
    for case in cases():
        worst = verify(case)
        text = text_of(case)
        json.loads(text)
        path = DATA / (case["case"] + ".json")
        assert path.name not in names
        names.add(path.name)
        size += len(text)
        if not check:
            path.write_text(text)
        elif not path.exists() or path.read_text() != text:
            differing.append(path.name)
        kinds = ",".join(sorted({kind(row) for row in case["rows"]}))
        print(f"{case['case']:36} {len(text):6} B  peer-exact {worst['ulp']:.3f} ulp  peer-mixfuse {worst['mixfuse_ulp']:.3f} ulp"
              f"  targets {worst['targets']:.1e}  {kinds}")
    stale = sorted(p.name for p in DATA.glob("*.json") if p.name not in names)
    print(f"{len(names)} cases, {size} bytes; differing {differing}; not made here {stale}")
    return 1 if differing or stale else 0


if __name__ == "__main__":
    sys.exit(main())
