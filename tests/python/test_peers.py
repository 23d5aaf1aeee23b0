# SPDX-License-Identifier: Apache-2.0
"""mixfuse's classes and functions beside the peers' own classes, run here: theirs are given the
draws of ours, or ours theirs. A row is one of the table of peers' faults (section 5 there)."""

from __future__ import annotations

import inspect
from typing import Any

import numpy
import peers
import pytest
from batches import ids, images, targets_by
from peers import assert_near, box_of, is_cutmix

import mixfuse

torch = pytest.importorskip("torch")

ULP = {"float32": 2.0, "float16": 1.5, "bfloat16": 1.5}
HALF = {"float16": 2.0**-11, "bfloat16": 2.0**-8}
TARGETS = 2e-6
SHAPE = (6, 3, 17, 12)


def batch(dtype: str = "float32") -> Any:
    return torch.from_numpy(images(SHAPE) - 0.5).to(getattr(torch, dtype))


# timm

GRANULARITY = {"batch": "batch", "pair": "pair", "elem": "sample"}
ALPHAS = {
    "mixup": {"mixup_alpha": 0.8},
    "cutmix": {"mixup_alpha": 0.0, "cutmix_alpha": 1.0},
    "both": {"mixup_alpha": 0.8, "cutmix_alpha": 1.0},
    "minmax": {"mixup_alpha": 0.0, "cutmix_minmax": (0.3, 0.8)},
}


def spec_of(alphas: dict[str, Any], mode: str, prob: float = 1.0) -> mixfuse.Spec:
    minmax = alphas.get("cutmix_minmax")
    return mixfuse.Spec(
        mixup=alphas["mixup_alpha"], cutmix=1.0 if minmax else alphas.get("cutmix_alpha", 0.0),
        boxes=minmax or "paper", probability=prob, pairing="reverse",
        granularity=GRANULARITY[mode],
    )  # fmt: skip


def timm_drawing(rows: numpy.ndarray, monkeypatch: Any, mode: str, **how: Any) -> Any:
    """timm's class, its draws replaced by those of `rows`."""
    module = peers.timm(".data.mixup")
    peer = module.Mixup(mode=mode, **how)
    drawn = rows[: {"batch": 1, "pair": len(rows) // 2, "elem": len(rows)}[mode]]
    boxes = [box_of(row) for row in drawn if is_cutmix(row) and row["label"] != 1]
    shares = [float(row["label"]) for row in drawn if is_cutmix(row) and row["label"] != 1]
    cut = numpy.array([is_cutmix(row) for row in drawn])
    peer._params_per_batch = lambda: (float(drawn[0]["label"]), bool(cut[0]))
    peer._params_per_elem = lambda _: (drawn["label"].copy(), cut)
    monkeypatch.setattr(
        module, "cutmix_bbox_and_lam", lambda *_, **__: (boxes.pop(0), shares.pop(0))
    )
    return peer


@pytest.mark.parametrize("dtype", ULP)
@pytest.mark.parametrize("mode", GRANULARITY)
@pytest.mark.parametrize("alphas", ALPHAS.values(), ids=ALPHAS)
def test_timm_s_mixup_returns_the_same_by_the_same_draws(
    alphas: dict[str, Any], mode: str, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    how = {"num_classes": 5, "prob": 0.7 if mode == "elem" else 1.0, **alphas}
    ours = mixfuse.Mixup(mode=mode, seed=3, **how)
    for step in range(4):
        x, theirs_x, y = batch(dtype), batch(dtype), torch.from_numpy(ids())
        spec = spec_of(alphas, mode, how["prob"])
        rows = mixfuse.plan(x, spec, seed=3, step=step).rows()
        theirs_x, theirs = timm_drawing(rows, monkeypatch, mode, **how)(theirs_x, y)
        mixed, targets = ours(x, y)
        assert mixed is x and targets.dtype == theirs.dtype == torch.float32
        assert_near(theirs_x, mixed, batch(dtype), rows, ULP[dtype])
        # Row 7: timm rounds the lambda of its labels to the images' dtype, but for mode batch.
        rounded = 0.0 if mode == "batch" else HALF.get(dtype, 0.0)
        assert abs(targets - theirs).max() <= TARGETS + rounded
        exact = targets_by(rows, ids(), 5) * 0.9 + 0.1 / 5
        assert abs(targets.numpy() - exact).max() <= TARGETS


def test_timm_s_mixup_off_returns_the_same() -> None:
    how = {"mixup_alpha": 0.8, "cutmix_alpha": 1.0, "num_classes": 5}
    results = []
    for kind in (peers.timm(".data.mixup").Mixup, mixfuse.Mixup):
        mixup_fn = kind(**how)
        mixup_fn.mixup_enabled = False
        results.append(mixup_fn(batch(), torch.from_numpy(ids())))
    assert torch.equal(results[0][0], results[1][0]) and torch.equal(results[1][0], batch())
    assert abs(results[0][1] - results[1][1]).max() <= 1e-7


def test_timm_s_arguments_and_attributes() -> None:
    theirs = peers.timm(".data.mixup").Mixup
    wanted = list(inspect.signature(theirs).parameters.values())
    given = list(inspect.signature(mixfuse.Mixup).parameters.values())[: len(wanted)]
    assert [(p.name, p.default) for p in given] == [(p.name, p.default) for p in wanted]
    assert set(vars(theirs())) <= set(vars(mixfuse.Mixup()))


def test_an_odd_batch_which_timm_refuses() -> None:
    """Row 30."""
    x, y = batch()[:5], torch.from_numpy(ids())[:5]
    with pytest.raises(AssertionError, match="even"):
        peers.timm(".data.mixup").Mixup(num_classes=5)(x.clone(), y)
    mixed, targets = mixfuse.Mixup(num_classes=5, label_smoothing=0.0, seed=1)(x.clone(), y)
    assert torch.equal(mixed[2], x[2]) and not torch.equal(mixed[0], x[0])
    assert targets[2].tolist() == [0, 0, 1, 0, 0]


def test_the_last_origin_which_timm_never_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Row 11: sides and origins of timm's min-max boxes are drawn below bounds already short."""
    module = peers.timm(".data.mixup")
    monkeypatch.setattr(module.np.random, "randint", lambda low, high, size=None: high - 1)
    _, bottom, _, right = module.rand_bbox_minmax((3, 16, 12), (0.25, 0.75))
    assert bottom < 16 and right < 12
    rows = mixfuse.plan((512, 3, 16, 12), boxes=(0.25, 0.75)).rows()
    assert rows["hi"][:, 0].max() == 16 and rows["hi"][:, 1].max() == 12
    assert (rows["hi"] - rows["lo"])[:, :2].max(0).tolist() == [12, 9]


@pytest.mark.parametrize("whose", ["timm", "mixfuse"])
def test_a_training_script_of_timm_s_kind_runs_unchanged(whose: str) -> None:
    """Smoothing is asked for, though it is timm's default and so Mixup's (row 17), but nobody's
    else: mixfuse.mix and collate take 0."""
    Mixup = peers.timm(".data").Mixup if whose == "timm" else mixfuse.Mixup
    loss_fn = peers.timm(".loss").SoftTargetCrossEntropy()
    torch.manual_seed(42)
    numpy.random.seed(42)
    mixup_fn = Mixup(
        mixup_alpha=0.8, cutmix_alpha=1.0, cutmix_minmax=None, prob=1.0, switch_prob=0.5,
        mode="batch", label_smoothing=0.1, num_classes=5,
    )  # fmt: skip
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.LazyLinear(5))
    model(batch())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    losses = []
    for epoch in range(30):
        if epoch == 20:  # --mixup-off-epoch
            mixup_fn.mixup_enabled = False
        input, target = batch(), torch.from_numpy(ids())
        input, target = mixup_fn(input, target)
        loss = loss_fn(model(input), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]


# torchvision

def as_torchvision(rows: numpy.ndarray) -> dict[str, Any]:
    y0, y1, x0, x1 = box_of(rows[0])
    share = float(rows[0]["label"])
    return {"lam": share, "lam_adjusted": share, "box": (x0, y0, x1, y1)}


@pytest.mark.parametrize("dtype", ULP)
@pytest.mark.parametrize("kind", ["MixUp", "CutMix"])
@pytest.mark.parametrize("rows_of_labels", [False, True], ids=["ids", "rows"])
def test_torchvision_s_transforms_return_the_same(
    kind: str, dtype: str, rows_of_labels: bool
) -> None:
    theirs = getattr(peers.torchvision(".transforms.v2"), kind)(num_classes=5)
    ours = getattr(mixfuse, kind)(num_classes=5, seed=9)
    y = torch.from_numpy(ids())
    if rows_of_labels:
        y = torch.softmax(torch.arange(30.0).reshape(6, 5).sin(), 1)
    for step in range(4):
        x = batch(dtype)
        rows = mixfuse.plan(
            x, seed=9, step=step, pairing="roll", granularity="batch", **{kind.lower(): 1.0}
        ).rows()
        theirs.make_params = lambda _, rows=rows: as_torchvision(rows)
        (wanted, wanted_targets), (mixed, targets) = theirs(x, y), ours(x, y)
        assert_near(wanted, mixed, x, rows, ULP[dtype])
        assert targets.dtype == wanted_targets.dtype
        assert abs(targets - wanted_targets).max() <= TARGETS
        assert torch.equal(x, batch(dtype)) and mixed is not x


def test_torchvision_s_arguments() -> None:
    for kind in ("MixUp", "CutMix"):
        theirs = getattr(peers.torchvision(".transforms.v2"), kind)
        wanted = list(inspect.signature(theirs).parameters.values())
        given = list(inspect.signature(getattr(mixfuse, kind)).parameters.values())[: len(wanted)]
        assert [(p.name, p.default) for p in given] == [(p.name, p.default) for p in wanted]


def samples() -> dict[str, Any]:
    tensors = peers.torchvision(".tv_tensors")
    x, y = batch(), torch.from_numpy(ids())
    return {
        "pair": (x, y),
        "mapping": {"image": x, "other": torch.ones(2), "labels": y},
        "label in its name": {"image": x, "The_Label": y, "n": 3},
        "nested": (x, {"labels": y, "more": ["text", torch.zeros(6)]}),
        "typed": {"plain": torch.ones(6, 2), "image": tensors.Image(x), "labels": y},
        "two images": {"a": tensors.Image(x), "labels": y, "b": [tensors.Image(x + 1)]},
        "video": (tensors.Video(x[:, None].repeat(1, 2, 1, 1, 1)), y),
    }


@pytest.mark.parametrize("kind", ["MixUp", "CutMix"])
@pytest.mark.parametrize("name", ["pair", "mapping", "label in its name", "nested", "typed",
                                  "two images", "video"])  # fmt: skip
def test_labels_and_images_are_found_where_torchvision_finds_them(kind: str, name: str) -> None:
    sample = samples()[name]
    theirs = getattr(peers.torchvision(".transforms.v2"), kind)(num_classes=5)
    ours = getattr(mixfuse, kind)(num_classes=5, seed=4)
    rows = mixfuse.plan(
        batch(), seed=4, pairing="roll", granularity="batch", **{kind.lower(): 1.0}
    ).rows()
    theirs.make_params = lambda _: as_torchvision(rows)
    wanted, spec = torch.utils._pytree.tree_flatten(theirs(sample))
    given, our_spec = torch.utils._pytree.tree_flatten(ours(sample))
    assert our_spec == spec
    for one, other in zip(given, wanted, strict=True):
        assert type(one) is type(other)
        if isinstance(one, torch.Tensor):
            torch.testing.assert_close(one, other)
        else:
            assert one == other


BAD = {
    "num_classes": (lambda x, y: (x, y), {}),
    "labels of three axes": (lambda x, y: (x, y[:, None, None]), {"num_classes": 5}),
    "other num_classes": (lambda x, y: (x, torch.zeros(6, 4)), {"num_classes": 5}),
    "no batch": (lambda x, y: (x[0], y), {"num_classes": 5}),
    "another batch": (lambda x, y: (x, y[:4]), {"num_classes": 5}),
    "no labels": (lambda x, y: {"image": x, "other": y}, {"num_classes": 5}),
    "no tensor": (lambda x, y: (x, {"labels": 3}), {"num_classes": 5}),
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("kind", ["MixUp", "CutMix"])
def test_what_torchvision_refuses_is_refused(kind: str, name: str) -> None:
    sample, arguments = BAD[name]
    for module in (peers.torchvision(".transforms.v2"), mixfuse):
        with pytest.raises(ValueError):
            getattr(module, kind)(**arguments)(sample(batch(), torch.from_numpy(ids())))


def test_masks_and_boxes_are_refused_as_by_torchvision() -> None:
    tensors = peers.torchvision(".tv_tensors")
    sample = {"image": batch(), "labels": torch.from_numpy(ids()),
              "mask": tensors.Mask(torch.zeros(6, 17, 12))}  # fmt: skip
    for module in (peers.torchvision(".transforms.v2"), mixfuse):
        with pytest.raises(ValueError, match="[Mm]ask"):
            module.MixUp(num_classes=5)(sample)


def test_the_four_places_of_torchvision_s_tutorial() -> None:
    """After the loader, in collate_fn, chosen at random, and in a nested batch (above)."""
    v2 = peers.torchvision(".transforms.v2")
    choice = v2.RandomChoice([mixfuse.MixUp(num_classes=5), mixfuse.CutMix(num_classes=5)])
    data = [(image, int(label)) for image, label in zip(batch(), ids())]
    load = torch.utils.data.DataLoader
    for x, y in load(data, 3):
        assert choice(x, y)[1].shape == (3, 5)
    collate = lambda samples: choice(*torch.utils.data.default_collate(samples))  # noqa: E731
    for x, y in load(data, 3, collate_fn=collate):
        assert x.shape == (3, *SHAPE[1:]) and torch.allclose(y.sum(1), torch.ones(3))
    assert "MixUp(alpha=1.0" in repr(v2.Compose([choice]))


# kornia

def near_kornia(dtype: str) -> float:
    return 2.0 if dtype == "float32" else 2.5  # it rounds once more


@pytest.mark.parametrize("dtype", ULP)
def test_kornia_s_mixup_by_its_own_draws(dtype: str) -> None:
    theirs = peers.kornia().RandomMixUpV2(data_keys=["input", "class"])
    torch.manual_seed(1)
    x, y = batch(dtype), torch.from_numpy(ids())
    wanted, labels = theirs(x, y)
    # Row 18: its lambda is the partner's weight.
    share = theirs._params["mixup_lambdas"].float().to(x.dtype).float()
    rows = numpy.zeros(6, mixfuse.plan(x, mixup=1.0).rows().dtype)
    rows["partner"] = theirs._params["mixup_pairs"]
    rows["outside"] = rows["inside"] = rows["label"] = (1 - share).numpy()
    plan = mixfuse.plan(x, rows=rows)
    mixed, sparse = mixfuse.mix(x, y, plan=plan, num_classes=5, target="sparse")
    assert_near(wanted, mixed, x, rows, near_kornia(dtype))
    assert torch.equal(labels[:, 0].long(), sparse.own)
    assert torch.equal(labels[:, 1].long(), sparse.partner)
    assert abs((1 - labels[:, 2]) - sparse.weight).max() <= 2 * HALF.get(dtype, 1e-6)


def test_kornia_s_cutmix_by_its_own_draws() -> None:
    cutmix = peers.kornia().RandomCutMixV2
    torch.manual_seed(2)
    x, y = batch(), torch.from_numpy(ids())
    rows = numpy.zeros(6, mixfuse.plan(x, mixup=1.0).rows().dtype)
    for correct in (True, False):
        with pytest.warns(DeprecationWarning) if not correct else numpy.errstate():
            theirs = cutmix(data_keys=["input", "class"], use_correct_lambda=correct)
        wanted, labels = theirs(x, y)
        corners = theirs._params["crop_src"][0].long().numpy()  # (B, 4, 2), x and y, inclusive
        rows["partner"] = theirs._params["mix_pairs"][0]
        rows["outside"], rows["inside"] = 1, 0
        rows["lo"][:, :2], rows["hi"][:, :2] = corners[:, 0, ::-1], corners[:, 2, ::-1] + 1
        pasted = (rows["hi"] - rows["lo"])[:, :2].prod(1)
        rows["label"] = 1 - pasted / (17 * 12)
        mixed, sparse = mixfuse.mix(
            x, y, plan=mixfuse.plan(x, rows=rows), num_classes=5, target="sparse"
        )
        assert torch.equal(wanted, mixed)
        assert torch.equal(labels[0, :, 1].long(), sparse.partner)
        # Row 18: unless told otherwise its lambda is the partner's share.
        share = labels[0, :, 2] if correct else 1 - labels[0, :, 2]
        assert abs(share - sparse.weight).max() <= 1e-6


# Keras

def keras_layer(kind: str, transformation: dict[str, Any] | None, **how: Any) -> Any:
    layer = getattr(peers.keras().layers, kind)(data_format="channels_last", **how)
    if transformation is not None:
        layer.get_random_transformation = lambda *_, **__: transformation
    return layer


@pytest.mark.parametrize("kind", ["MixUp", "CutMix"])
def test_keras_s_layers_return_the_same_by_the_same_draws(kind: str) -> None:
    jax = peers.package("jax")
    x = jax.numpy.asarray(images((6, 17, 12, 3)))
    y = jax.numpy.asarray(numpy.eye(5, dtype="float32")[ids()])
    spec = mixfuse.Spec(**{kind.lower(): 1.0}, boxes="inside")  # the preset `keras`
    plan = mixfuse.plan(x, spec, seed=6, layout="nhwc")
    rows = plan.rows()
    transformation = {
        "permutation_order": jax.numpy.asarray(rows["partner"]),
        "mix_weight": jax.numpy.asarray(rows["label"]),
        "batch_masks": jax.numpy.asarray(inside_of(rows, (17, 12))[..., None]),
    }
    wanted = keras_layer(kind, transformation)({"images": x, "labels": y})
    mixed, targets = mixfuse.mix(x, y, plan=plan, layout="nhwc")
    assert isinstance(mixed, jax.Array) and isinstance(targets, jax.Array)
    assert_near(wanted["images"], mixed, x, rows, 2.0, "nhwc")
    assert abs(peers.array(wanted["labels"]) - peers.array(targets)).max() <= TARGETS


def inside_of(rows: numpy.ndarray, spatial: tuple[int, int]) -> numpy.ndarray:
    made = numpy.zeros((len(rows), *spatial), bool)
    for inside, row in zip(made, rows):
        y0, y1, x0, x1 = box_of(row)
        inside[y0:y1, x0:x1] = True
    return made


def test_keras_s_label_is_not_what_it_pasted() -> None:
    """Row 16: its box has fractions, its pixels have none."""
    layer = keras_layer("CutMix", None, seed=1)
    drawn = layer.get_random_transformation(images((64, 17, 12, 3)))
    pasted = numpy.asarray(drawn["batch_masks"])[..., 0].mean((1, 2))
    assert abs((1 - pasted) - numpy.asarray(drawn["mix_weight"])).max() > 0.01
    rows = mixfuse.plan((64, 3, 17, 12), cutmix=1.0, boxes="inside", seed=1).rows()
    own = 1 - inside_of(rows, (17, 12)).mean((1, 2))
    assert (rows["label"] == own.astype("float32")).all()
