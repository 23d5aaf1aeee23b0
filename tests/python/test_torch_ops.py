# SPDX-License-Identifier: Apache-2.0
"""The operators of mixfuse.torch: what they compute, their gradients, and what traces them."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest
from batches import ids, images

import mixfuse

torch = pytest.importorskip("torch")

import mixfuse.torch as operators  # noqa: E402

PAIRINGS = ["permutation", "cycle", "pairs", "reverse", "roll", "replacement"]
WAYS: dict[str, dict[str, Any]] = {
    "mixup": {"mixup": 1.0},
    "cutmix": {"cutmix": 1.0},
    "both, flipped": {"mixup": 0.5, "cutmix": 1.0, "flip": 0.5},
    "normalised": {"mixup": 0.5, "mean": (0.1, 0.2, 0.3), "std": (0.5, 2.0, 4.0)},
    "one deviation": {"cutmix": 1.0, "std": 0.25},
    "boxes of their own sides": {"boxes": (0.2, 0.8)},
    "half are mixed": {"mixup": 1.0, "probability": 0.5},
    "policies": {
        "policies": [mixfuse.Policy("mixup", 0.4, 0.5, "own"), mixfuse.Policy("cutmix", 1, 0.5)]
    },
    "in groups": {"mixup": 1.0, "group": 2, "granularity": "batch"},
} | {pairing: {"cutmix": 0.5, "mixup": 0.5, "pairing": pairing} for pairing in PAIRINGS}


def batch(dtype: Any = None, samples: int = 6) -> Any:
    return torch.from_numpy(images((samples, 3, 9, 8))).to(dtype or torch.float32)


def labels() -> Any:
    return torch.from_numpy(ids())


@pytest.mark.parametrize("how", WAYS.values(), ids=WAYS)
def test_it_is_what_mix_does(how: dict[str, Any]) -> None:
    x, y, key = batch(), labels(), operators.key(7, step=3, first=12)
    before = x.clone(), key.clone()
    mixed, targets, plan = operators.mix(x, y, key, num_classes=5, smoothing=0.1, **how)
    draw = {"seed": 7, "step": 3, "first": 12}
    wanted = mixfuse.mix(x, y, num_classes=5, smoothing=0.1, **draw, **how)
    assert torch.equal(mixed, wanted[0]) and torch.equal(targets, wanted[1])
    assert torch.equal(x, before[0]) and torch.equal(key, before[1])
    spec = {name: value for name, value in how.items() if name not in ("mean", "std")}
    assert plan.numpy().tobytes() == mixfuse.plan(x, **draw, **spec).rows().tobytes()


def test_in_place_the_key_advances() -> None:
    key = operators.key(7, step=3)
    for step in (3, 4):
        x, y = batch(), labels()
        targets, plan = operators.mix_(x, y, key, mixup=0.4, num_classes=5)
        wanted = mixfuse.mix(batch(), y, mixup=0.4, num_classes=5, seed=7, step=step)
        assert torch.equal(x, wanted[0]) and torch.equal(targets, wanted[1])
        assert key.tolist() == [7, step + 1, 0]


def test_a_bad_call_leaves_the_key() -> None:
    key, x = operators.key(7), batch()
    with pytest.raises(ValueError, match="^num_classes"):
        operators.mix_(x, labels(), key, mixup=0.4)
    with pytest.raises(ValueError, match="^mixup: 3 numbers"):
        operators.mix_(x, labels(), key, mixup=(1.0, 2.0, 3.0), num_classes=5)
    with pytest.raises(ValueError, match="^mean: given in place"):
        operators.mix_(x, labels(), key, mixup=1.0, mean=0.5, num_classes=5)
    with pytest.raises(TypeError, match="mixip"):
        operators.mix_(x, labels(), key, mixip=1.0, num_classes=5)
    assert key.tolist() == [7, 0, 0] and torch.equal(x, batch())


@pytest.mark.parametrize(
    ("how", "error", "text"),
    [
        ({}, ValueError, "spec: missing"),
        ({"boxes": (0.0, float("inf"))}, ValueError, "boxes: inf"),
        ({"spec": "mixup"}, TypeError, "spec: str"),
        ({"mixup": object()}, TypeError, "mixup: object"),
        ({"mixup": 1.0, "out_dtype": "f17"}, ValueError, "out_dtype: 'f17'"),
        ({"spec": mixfuse.Spec(mixup=1.0), "mixup": 1.0}, TypeError, "policies: given beside"),
    ],
)
def test_what_cannot_be_an_option_is_named(how: Any, error: type, text: str) -> None:
    with pytest.raises(error, match="^" + text):
        operators.mix(batch(), None, operators.key(1), **how)


def test_options_may_be_numpy_s_and_a_spec() -> None:
    numpy = pytest.importorskip("numpy")
    wanted = operators.mix(batch(), None, operators.key(1), mixup=0.25, std=(0.5, 1.0, 2.0))
    for how in (
        {"mixup": numpy.float32(0.25), "std": numpy.array([0.5, 1.0, 2.0])},
        {"spec": mixfuse.Spec(mixup=0.25), "std": [0.5, 1.0, 2.0]},
    ):
        assert all(map(torch.equal, operators.mix(batch(), None, operators.key(1), **how), wanted))


def test_without_labels_targets_are_empty() -> None:
    mixed, targets, _ = operators.mix(batch(), None, operators.key(1), mixup=1.0)
    assert torch.equal(mixed, mixfuse.mix(batch(), mixup=1.0, seed=1)) and targets.numel() == 0


def test_bytes_become_normalised_planes() -> None:
    x = torch.from_numpy(images((4, 8, 8, 3), "uint8"))
    how = {"mixup": 1.0, "mean": 0.5, "std": 0.25, "layout": "nhwc", "out_layout": "nchw"}
    mixed, _, _ = operators.mix(x, None, operators.key(1), out_dtype=torch.bfloat16, **how)
    assert mixed.shape == (4, 3, 8, 8)
    assert torch.equal(mixed, mixfuse.mix(x, out_dtype="bfloat16", seed=1, **how))


def test_channels_last_stay_last() -> None:
    x = batch().to(memory_format=torch.channels_last)
    mixed, _, _ = operators.mix(x, None, operators.key(1), mixup=1.0)
    assert mixed.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(mixed, mixfuse.mix(batch(), mixup=1.0, seed=1))


def test_a_seed_of_64_bits_is_taken_as_it_is() -> None:
    seed = (1 << 64) - 5
    mixed, _, _ = operators.mix(batch(), None, operators.key(seed), mixup=1.0)
    assert torch.equal(mixed, mixfuse.mix(batch(), mixup=1.0, seed=seed))


def test_a_seed_of_none_is_torch_s() -> None:
    torch.manual_seed(5)
    first = operators.key()
    assert not torch.equal(first, operators.key())
    torch.manual_seed(5)
    assert torch.equal(first, operators.key())


@pytest.mark.parametrize("bad", [torch.zeros(2, dtype=torch.int64), torch.zeros(3)])
def test_a_bad_key_is_named(bad: Any) -> None:
    with pytest.raises(ValueError, match="^key: .*expected int64"):
        operators.mix(batch(), None, bad, mixup=1.0)


@pytest.mark.parametrize(
    ("draw", "error", "text"),
    [
        ({"seed": 1.5}, TypeError, "seed: float"),
        ({"seed": 2**64}, ValueError, "seed: 18446744073709551616"),
        ({"seed": 1, "step": 2**48}, ValueError, "step: 281474976710656"),
        ({"seed": 1, "first": -1}, ValueError, "first: -1, expected 0 to 2.48 - 1"),
    ],
)
def test_what_makes_no_key_is_named(draw: Any, error: type, text: str) -> None:
    with pytest.raises(error, match="^" + text):
        operators.key(**draw)


# Gradients

@pytest.mark.parametrize("how", WAYS.values(), ids=WAYS)
def test_gradients_are_the_slopes(how: dict[str, Any]) -> None:
    x = torch.rand(4, 3, 3, 2, dtype=torch.float64, requires_grad=True)
    y = torch.rand(4, 2, dtype=torch.float64, requires_grad=True)

    def mixed(x: Any, y: Any) -> Any:
        return operators.mix(x, y, operators.key(11), **how)[:2]

    assert torch.autograd.gradcheck(mixed, (x, y))


@pytest.mark.parametrize("policy", ["mixup", "cutmix"])
def test_a_gradient_does_not_leak_through_a_weight_of_0(policy: str) -> None:
    x = batch().requires_grad_()
    how = {policy: 1.0, "pairing": "cycle", "probability": 0.5}
    mixed, _, plan = operators.mix(x, None, operators.key(3), **how)
    shares = plan[:, 3].contiguous().view(torch.float32)
    for bad, share in enumerate(shares.tolist()):
        gradient = torch.ones_like(mixed)
        gradient[bad] = float("nan")
        (found,) = torch.autograd.grad(mixed, x, gradient, retain_graph=True)
        touched = {bad} if share == 1 else {bad, int(plan[bad, 0])}
        alone = [i for i in range(6) if i not in touched]
        assert not found[alone].isnan().any()
        if policy == "cutmix":  # each pixel came from one sample
            assert found.isnan().sum() == x[bad].numel()
    assert {1.0} < set(shares.tolist())


def test_gradients_have_gradients() -> None:
    x = torch.rand(3, 2, 2, 2, dtype=torch.float64, requires_grad=True)
    key = operators.key(11)
    mixed = lambda x: operators.mix(x.sin(), None, key, cutmix=1.0, flip=0.5)[0]  # noqa: E731
    assert torch.autograd.gradgradcheck(mixed, (x,))


def test_of_given_partners_too() -> None:
    x = torch.rand(4, 6, dtype=torch.float64, requires_grad=True)
    partners = torch.tensor([1, 1, 1, 0])

    def mixed(x: Any) -> Any:
        key = operators.key(2)
        return operators.mix(x, None, key, partners=partners, mixup=1.0, pairing="given")[0]

    assert torch.autograd.gradcheck(mixed, (x,))


@pytest.mark.parametrize("shape", [(5, 6), (5, 2, 6), (3, 2, 3, 4, 3)])
def test_of_signals_and_volumes_too(shape: tuple[int, ...]) -> None:
    x = torch.rand(shape, dtype=torch.float64, requires_grad=True)
    mixed = lambda x: operators.mix(x, None, operators.key(2), cutmix=1.0)[0]  # noqa: E731
    assert torch.autograd.gradcheck(mixed, (x,))


def test_across_layouts() -> None:
    x = torch.rand(4, 4, 3, 2, dtype=torch.float64, requires_grad=True)
    how = {"layout": "nhwc", "out_layout": "nchw", "std": (0.5, 2.0), "flip": 0.5}
    mixed = lambda x: operators.mix(x, None, operators.key(2), cutmix=1.0, **how)[0]  # noqa: E731
    assert torch.autograd.gradcheck(mixed, (x,))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_halves_have_gradients_of_their_dtype(dtype: Any) -> None:
    x = batch(dtype).requires_grad_()
    mixed, _, plan = operators.mix(x, None, operators.key(3), mixup=1.0)
    mixed.backward(torch.ones_like(mixed))
    share = plan[:, 1].view(torch.float32)
    wanted = share.clone()
    for own, partner in enumerate(plan[:, 0]):
        wanted[partner] += 1 - share[own]
    assert x.grad.dtype == dtype
    torch.testing.assert_close(
        x.grad, wanted.to(dtype).reshape(-1, 1, 1, 1).expand_as(x), rtol=0, atol=2**-7
    )


def test_a_hidden_layer_learns_what_the_plain_formula_teaches() -> None:
    """Manifold Mixup: the mix is between two layers, and gradients pass through to the first."""
    torch.manual_seed(0)
    below = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU()).double()
    above = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4 * 7 * 6, 5)).double()
    x, y = batch(torch.float64), labels()

    def gradients(mix: Any) -> list[Any]:
        mixed, targets = mix(below(x))
        parameters = [*below.parameters(), *above.parameters()]
        loss = torch.nn.functional.cross_entropy(above(mixed), targets.double())
        return list(torch.autograd.grad(loss, parameters))

    plans = []

    def ours(hidden: Any) -> Any:
        mixed, targets, plan = operators.mix(
            hidden, y, operators.key(4), mixup=2.0, num_classes=5
        )
        plans.append(plan)
        return mixed, targets

    def formula(hidden: Any) -> Any:
        partner, share = plans[0][:, 0].long(), plans[0][:, 1].view(torch.float32).double()
        rows = torch.nn.functional.one_hot(y, 5)
        blend = lambda a, s: s * a + (1 - s) * a[partner]  # noqa: E731
        return blend(hidden, share.reshape(-1, 1, 1, 1)), blend(rows, share.reshape(-1, 1))

    for one, other in zip(gradients(ours), gradients(formula), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-8)  # targets are f32


def test_recomputation_draws_the_same_plan() -> None:
    from torch.utils.checkpoint import checkpoint

    x, key = batch().requires_grad_(), operators.key(9)
    step = lambda x: operators.mix(x, None, key, cutmix=1.0)[0].square()  # noqa: E731
    plain = torch.autograd.grad(step(x).sum(), x)[0]
    again = torch.autograd.grad(checkpoint(step, x, use_reentrant=False).sum(), x)[0]
    assert torch.equal(plain, again)


def test_in_place_what_autograd_has_saved_is_found_changed() -> None:
    w, a = batch().requires_grad_(), batch()
    product = (a * w).sum()
    key = operators.key(1)
    operators.mix_(a, None, key, mixup=1.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        product.backward()


def test_compiled_in_place_a_gradient_is_refused_too() -> None:
    def step(x: Any) -> Any:
        return operators.mix_(x, None, operators.key(1), mixup=1.0)

    compiled = torch.compile(step, backend="aot_eager")
    with pytest.raises(Exception, match="x: mixed in place, but it requires grad"):
        compiled(batch().clone().requires_grad_())


def test_in_place_a_gradient_is_refused() -> None:
    x = batch().requires_grad_()
    with pytest.raises(ValueError, match="^x: .*requires grad"):
        operators.mix_(x, None, operators.key(1), mixup=1.0)
    with torch.no_grad():
        operators.mix_(x, None, operators.key(1), mixup=1.0)
    assert torch.equal(x, mixfuse.mix(batch(), mixup=1.0, seed=1))


# What traces them

OPERANDS = {
    "ids": lambda: (batch(), labels()),
    "with gradients": lambda: (batch().requires_grad_(), torch.rand(6, 5, requires_grad=True)),
    "no labels": lambda: (batch(), None),
    "channels last": lambda: (batch().to(memory_format=torch.channels_last), labels()),
}


@pytest.mark.parametrize("operands", OPERANDS.values(), ids=OPERANDS)
def test_opcheck(operands: Any) -> None:
    x, y = operands()
    how = operators.options(mixup=0.3, cutmix=1.0, flip=0.5, num_classes=5)
    torch.library.opcheck(torch.ops.mixfuse.mix.default, (x, y, operators.key(1), None, how))
    x, y = x.detach().clone(), None if y is None else y.detach()
    torch.library.opcheck(torch.ops.mixfuse.mix_.default, (x, y, operators.key(1), None, how))


def test_compiled_whole_with_gradients() -> None:
    def step(x: Any, y: Any, key: Any) -> Any:
        h, targets, _ = operators.mix(x * 2, y, key, mixup=0.4, cutmix=1.0, num_classes=5, flip=0.5)
        return (h.square().mean((1, 2, 3), keepdim=True) * targets.sum(1)).sum()

    compiled = torch.compile(step, fullgraph=True, backend="aot_eager")
    for samples in (6, 4):  # the second is traced with a dynamic size
        x, y, key = batch(samples=samples).requires_grad_(), labels()[:samples], operators.key(1)
        plain, traced = step(x, y, key), compiled(x, y, key)
        torch.testing.assert_close(plain, traced)
        torch.testing.assert_close(*(torch.autograd.grad(loss, x)[0] for loss in (plain, traced)))


def compiled_in_place(backend: str) -> None:
    def step(x: Any, y: Any, key: Any) -> Any:
        targets, _ = operators.mix_(x, y, key, mixup=0.4, num_classes=5)
        return targets

    compiled = torch.compile(step, fullgraph=True, backend=backend)
    one, two = operators.key(7), operators.key(7)
    for number in range(1, 4):
        x, z = batch(), batch()
        assert torch.equal(step(x, labels(), one), compiled(z, labels(), two))
        assert torch.equal(x, z) and two.tolist() == [7, number, 0]


def test_compiled_whole_in_place() -> None:
    compiled_in_place("aot_eager")


def test_compiled_by_inductor() -> None:
    compiled_in_place("inductor")


def test_bad_calls_are_found_while_tracing() -> None:
    step = lambda x, y, key: operators.mix(x, y, key, mixup=1.0)  # noqa: E731
    compiled = torch.compile(step, fullgraph=True, backend="eager")
    with pytest.raises(Exception, match="num_classes: None, expected"):
        compiled(batch(), labels(), operators.key(1))


def test_importing_the_package_does_not_import_torch() -> None:
    code = "import sys, mixfuse; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ)


# Keys on a device

def test_a_key_that_lives_beside_the_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on CUDA, where the plan's kernel reads it: functional leaves it, in place advances it."""
    monkeypatch.setattr(operators, "_is_live", lambda key: True)
    how = {"mixup": 0.4, "cutmix": 1.0, "num_classes": 5}
    key = operators.key(7, step=3)
    mixed, targets, _ = operators.mix(batch(), labels(), key, **how)
    wanted = mixfuse.mix(batch(), labels(), seed=7, step=3, **how)
    assert torch.equal(mixed, wanted[0]) and torch.equal(targets, wanted[1])
    assert key.tolist() == [7, 3, 0]
    x = batch()
    operators.mix_(x, labels(), key, **how)
    assert torch.equal(x, wanted[0]) and key.tolist() == [7, 4, 0]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device")
def test_each_replay_of_a_cuda_graph_draws_anew() -> None:
    key, x, y = operators.key(7, device="cuda"), batch().cuda(), labels().cuda()
    mixed = x.clone()
    how = {"mixup": 0.4, "cutmix": 1.0, "num_classes": 5}
    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        operators.mix_(mixed, y, key, **how)  # warm-up: step 0
    side.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        mixed.copy_(x)
        targets, _ = operators.mix_(mixed, y, key, **how)
    for step in range(1, 11):
        graph.replay()
        torch.cuda.synchronize()
        wanted = mixfuse.mix(batch(), labels(), seed=7, step=step, **how)
        assert torch.equal(mixed.cpu(), wanted[0]) and torch.equal(targets.cpu(), wanted[1])
        assert key.tolist() == [7, step + 1, 0]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device")
def test_on_the_gpu_they_are_those_of_the_cpu() -> None:
    how = {"mixup": 0.4, "cutmix": 1.0, "flip": 0.5, "num_classes": 5}
    results = []
    for device, key in (("cpu", "cpu"), ("cuda", "cpu"), ("cuda", "cuda")):
        x, y = batch().to(device).requires_grad_(), labels().to(device)
        mixed, targets, plan = operators.mix(x, y, operators.key(3, device=key), **how)
        mixed.square().sum().backward()
        results.append([t.cpu() for t in (mixed, targets, plan, x.grad)])
    for result in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], result, strict=True))
