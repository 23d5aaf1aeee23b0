# SPDX-License-Identifier: Apache-2.0
"""mixfuse.Mixup, MixUp and CutMix, as objects of a training loop; test_peers.py compares them."""

from __future__ import annotations

import hashlib
import pickle
import subprocess
import sys
from typing import Any

import numpy
import pytest
from batches import ids, images

import mixfuse

MAKE = {
    "Mixup": lambda **how: mixfuse.Mixup(0.8, 1.0, num_classes=5, **how),
    "MixUp": lambda **how: mixfuse.MixUp(alpha=0.8, num_classes=5, **how),
    "CutMix": lambda **how: mixfuse.CutMix(alpha=0.8, num_classes=5, **how),
}
every = pytest.mark.parametrize("name", MAKE)


def mixed_by(mixer: Any, steps: int = 1) -> list[numpy.ndarray]:
    return [mixer(images(), ids())[0] for _ in range(steps)]


# Seed, step and first are the whole state

@every
def test_equal_states_mix_alike_and_steps_do_not(name: str) -> None:
    first, second, third = mixed_by(MAKE[name](seed=5), 3)
    assert (first != second).any() and (second != third).any()
    again = MAKE[name](seed=1)
    again.load_state_dict({"seed": 5, "step": 2, "first": 0})
    assert (mixed_by(again)[0] == third).all()
    assert again.state_dict() == {"seed": 5, "step": 3, "first": 0}


@every
def test_ranks_differ_by_seed_or_by_first(name: str) -> None:
    results = [mixed_by(MAKE[name](**how))[0] for how in ({"seed": 5}, {"seed": 6},
                                                          {"seed": 5, "first": 6})]  # fmt: skip
    assert (results[0] != results[1]).any() and (results[0] != results[2]).any()


@every
def test_a_state_of_other_keys_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="^state: .*expected seed, step and first"):
        MAKE[name]().load_state_dict({"seed": 5})


@every
def test_a_copy_goes_on_where_its_original_was(name: str) -> None:
    mixer = MAKE[name](seed=7)
    mixed_by(mixer, 2)
    copy = pickle.loads(pickle.dumps(mixer))
    assert repr(copy) == repr(mixer)
    assert (mixed_by(copy)[0] == mixed_by(mixer)[0]).all()


@every
def test_it_says_what_it_is(name: str) -> None:
    text = repr(MAKE[name](seed=7, first=64))
    assert text.startswith(f"{name}(") and "seed=7, step=0, first=64)" in text
    assert "0.8" in text and "num_classes=5" in text


@every
def test_a_bad_call_is_no_step(name: str) -> None:
    mixer = MAKE[name](seed=7)
    with pytest.raises((ValueError, TypeError)):
        mixer(images(), ids().astype("float32"))
    assert mixer.step == 0


SEEDED = {
    "torch": "import torch as f; seed = f.manual_seed",
    "numpy": "import numpy as f; seed = f.random.seed",
    "neither": "import random as f; seed = f.seed",
}


@pytest.mark.parametrize("framework", SEEDED)
def test_a_seed_of_none_is_the_framework_s(framework: str) -> None:
    """So scripts that seed each rank by seed + rank get draws that differ by rank."""
    if framework != "neither":
        pytest.importorskip(framework)
    code = (
        f"{SEEDED[framework]}\nimport mixfuse\nseeds = []\n"
        "for number in (3, 4, 3):\n  seed(number); seeds += [mixfuse.Mixup().seed]\n"
        "assert seeds[0] == seeds[2] != seeds[1], seeds\n"
        "assert mixfuse.Mixup().seed != mixfuse.Mixup().seed"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# What they do

def test_mixup_mixes_in_place_with_the_batch_reversed() -> None:
    x = images()
    mixed, targets = mixfuse.Mixup(seed=3, num_classes=5)(x, ids())
    assert mixed is x and targets.dtype == numpy.float32
    wanted = mixfuse.mix(
        images(), ids(), mixup=1.0, pairing="reverse", granularity="batch", smoothing=0.1,
        num_classes=5, seed=3,
    )  # fmt: skip
    assert (x == wanted[0]).all() and (targets == wanted[1]).all()


def test_attributes_may_change_between_calls() -> None:
    mixer = mixfuse.Mixup(seed=3, num_classes=5, label_smoothing=0.0)
    mixer.mixup_enabled = False
    x, targets = mixer(images(), ids())
    assert (x == images()).all() and (targets == numpy.eye(5)[ids()]).all()
    mixer.mixup_enabled, mixer.mixup_alpha, mixer.cutmix_alpha = True, 0.0, 1.0
    x, _ = mixer(images(), ids())
    wanted = mixfuse.mix(
        images(), cutmix=1.0, pairing="reverse", granularity="batch", seed=3, step=1
    )
    assert (x == wanted).all()


@pytest.mark.parametrize("kind", ["MixUp", "CutMix"])
def test_transforms_leave_their_input_and_take_one_hot_integers(kind: str) -> None:
    x, rows = images(), numpy.eye(5, dtype="int64")[ids()]
    mixed, targets = getattr(mixfuse, kind)(seed=3)(x, rows)
    assert (x == images()).all() and (mixed != x).any()
    by_ids = getattr(mixfuse, kind)(seed=3, num_classes=5)(x, ids())
    assert (targets == by_ids[1]).all() and targets.dtype == numpy.float32


def test_an_alpha_of_zero_leaves_samples_as_they_are() -> None:
    mixed, targets = mixfuse.MixUp(alpha=0.0, num_classes=5)(images(), ids())
    assert (mixed == images()).all() and (targets == numpy.eye(5)[ids()]).all()


def test_a_labels_getter() -> None:
    sample = {"x": images(), "about": {"class": ids()}}
    getter = lambda sample: sample["about"]["class"]  # noqa: E731
    mixed = mixfuse.MixUp(num_classes=5, labels_getter=getter)(sample)
    assert mixed["about"]["class"].shape == (6, 5) and sample["about"]["class"].shape == (6,)
    with pytest.raises(ValueError, match="^labels_getter"):
        mixfuse.MixUp(num_classes=5, labels_getter=lambda _: ids())(sample)


REFUSED = {
    "correct_lam": ({"correct_lam": False}, NotImplementedError),
    "mode: 'half'": ({"mode": "half"}, NotImplementedError),
    "mode: 'each'": ({"mode": "each"}, ValueError),
    "mixup_alpha: 0": ({"mixup_alpha": 0.0}, ValueError),
    "mixup_alpha: -1": ({"mixup_alpha": -1}, ValueError),
    "cutmix_alpha: str": ({"cutmix_alpha": "a"}, TypeError),
    "cutmix_minmax: 0.5": ({"cutmix_minmax": 0.5}, TypeError),
    "cutmix_minmax: .0.9, 0.1.": ({"cutmix_minmax": (0.9, 0.1)}, ValueError),
    "prob: 2": ({"prob": 2}, ValueError),
    "switch_prob: -1": ({"switch_prob": -1}, ValueError),
    "label_smoothing: 2": ({"label_smoothing": 2}, ValueError),
    "seed: -1": ({"seed": -1}, ValueError),
    "first: str": ({"first": "a"}, TypeError),
}


@pytest.mark.parametrize("text", REFUSED)
def test_what_is_not_built_is_refused_when_made(text: str) -> None:
    arguments, kind = REFUSED[text]
    with pytest.raises(kind, match=f"^{text}"):
        mixfuse.Mixup(**arguments)


@pytest.mark.parametrize("kind", [mixfuse.MixUp, mixfuse.CutMix])
def test_a_wrong_alpha_is_named_when_made(kind: Any) -> None:
    with pytest.raises(ValueError, match="^alpha: -1"):
        kind(alpha=-1)
    with pytest.raises(TypeError, match="^alpha: str"):
        kind(alpha="x")
    with pytest.raises(TypeError, match="^inputs: none"):
        kind(num_classes=5)()


def test_a_labels_getter_must_be_callable() -> None:
    with pytest.raises(ValueError, match="^labels_getter: 'first'"):
        mixfuse.CutMix(labels_getter="first")


# Arrays and tensors of others

@every
def test_jax_arrays_are_returned_new(name: str) -> None:
    jax = pytest.importorskip("jax")
    if jax.default_backend() != "cpu":
        pytest.skip("JAX's arrays are on a GPU, where mix cannot write")
    x, y = jax.numpy.asarray(images()), jax.numpy.asarray(ids().astype("int32"))
    mixed, targets = MAKE[name](seed=3)(x, y)
    assert isinstance(mixed, jax.Array) and isinstance(targets, jax.Array)
    wanted = MAKE[name](seed=3)(images(), ids())
    assert (numpy.asarray(mixed) == wanted[0]).all() and (numpy.asarray(x) == images()).all()


@every
def test_a_gradient_flows_and_draws_are_the_same(name: str) -> None:
    torch = pytest.importorskip("torch")
    plain = torch.from_numpy(images())
    x, y = plain.clone().requires_grad_(), torch.from_numpy(ids())
    mixer = MAKE[name](seed=3)
    mixed, targets = mixer(x, y)
    mixed.square().sum().backward()
    assert mixed is not x and torch.equal(x.detach(), plain) and mixer.step == 1
    assert x.grad.shape == x.shape and abs(x.grad).sum() > 0
    wanted = MAKE[name](seed=3)(plain.clone(), y)
    assert torch.equal(mixed.detach(), wanted[0]) and torch.equal(targets, wanted[1])


@every
def test_a_user_s_own_kind_of_tensor_is_torch_s(name: str) -> None:
    torch = pytest.importorskip("torch")
    kind = type("Mine", (torch.Tensor,), {})
    x = torch.from_numpy(images()).as_subclass(kind)
    mixed, _ = MAKE[name](seed=3)(x, torch.from_numpy(ids()))
    wanted, _ = MAKE[name](seed=3)(images(), ids())
    assert isinstance(mixed, torch.Tensor) and (mixed.numpy() == wanted).all()


@every
def test_workers_of_a_loader_draw_apart_and_epochs_do_too(name: str) -> None:
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    mixer = MAKE[name](seed=3)
    data = [(torch.from_numpy(images()[0]), k % 5) for k in range(8)]  # one image, over and over

    def collate(samples: Any) -> Any:
        x, y = torch.utils.data.default_collate(samples)
        x[1::2] += 1
        return mixer(x, y)

    digests = [
        hashlib.sha256(x.numpy().tobytes()).hexdigest()
        for _ in range(2)
        for x, _ in torch.utils.data.DataLoader(
            data, 2, num_workers=2, collate_fn=collate, multiprocessing_context="fork"
        )
    ]
    assert len(digests) == len(set(digests)) == 8


# In a CUDA graph

def test_in_a_captured_graph_a_class_says_what_to_use() -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("torch sees no CUDA device")
    x, y = torch.from_numpy(images()).cuda(), torch.from_numpy(ids()).cuda()
    with pytest.raises(RuntimeError, match="mixfuse.torch.mix_"), torch.cuda.graph(
        torch.cuda.CUDAGraph()
    ):
        MAKE["Mixup"](seed=3)(x, y)
