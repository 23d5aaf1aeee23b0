# SPDX-License-Identifier: Apache-2.0
"""PyTorch's tensors in and out, without a copy."""

from __future__ import annotations

from typing import Any

import numpy
import pytest
from batches import ids, images

import mixfuse

torch = pytest.importorskip("torch")

SPEC = mixfuse.Spec(mixup=0.4, cutmix=1.0)


@pytest.mark.parametrize("kind", [lambda x: x.to("meta"), lambda x: x.to_sparse()])
def test_what_torch_does_not_hand_out_is_named(kind: Any) -> None:
    with pytest.raises((RuntimeError, BufferError), match="^images: [^\n]*$"):
        mixfuse.mix(kind(torch.from_numpy(images())), mixup=1.0)


def test_new_tensors_are_torch_s_and_equal_numpy_s() -> None:
    mixed, targets = mixfuse.mix(
        torch.from_numpy(images()), torch.from_numpy(ids()), SPEC, num_classes=5
    )
    wanted = mixfuse.mix(images(), ids(), SPEC, num_classes=5)
    assert isinstance(mixed, torch.Tensor) and isinstance(targets, torch.Tensor)
    assert (mixed.numpy() == wanted[0]).all() and (targets.numpy() == wanted[1]).all()


def test_outputs_are_written_where_they_lie() -> None:
    out, targets = torch.zeros(6, 3, 9, 8), torch.zeros(6, 5)
    addresses = out.data_ptr(), targets.data_ptr()
    result = mixfuse.mix(
        torch.from_numpy(images()), torch.from_numpy(ids()), SPEC, out=out, targets_out=targets
    )
    assert result[0] is out and result[1] is targets
    assert (out.data_ptr(), targets.data_ptr()) == addresses
    assert out.abs().sum() > 0


def test_channels_last_stays() -> None:
    batch = torch.from_numpy(images()).to(memory_format=torch.channels_last)
    mixed = mixfuse.mix(batch, spec=SPEC)
    assert mixed.is_contiguous(memory_format=torch.channels_last)
    assert (mixed.numpy() == mixfuse.mix(images(), spec=SPEC)).all()


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_halves(dtype: str) -> None:
    kind = getattr(torch, dtype)
    batch = torch.from_numpy(images()).to(kind)
    mixed, targets = mixfuse.mix(
        batch, torch.from_numpy(ids()), SPEC, num_classes=5, target_dtype=kind
    )
    assert mixed.dtype == targets.dtype == kind
    in_f32 = mixfuse.mix(batch.float(), spec=SPEC, out_dtype=kind)
    assert torch.equal(mixed, in_f32)


def test_gradients_are_not_lost_in_silence() -> None:
    batch = torch.from_numpy(images()).requires_grad_()
    with pytest.raises(ValueError, match="^images: requires grad"):
        mixfuse.mix(batch, spec=SPEC)
    for name in ("labels", "partners", "partner_labels", "out", "targets_out"):
        given = {"labels": torch.rand(6, 5)}
        if name.startswith("partner"):
            given |= {"partners": batch.detach(), "partner_labels": torch.rand(6, 5)}
        shape = (6, 5) if name in ("labels", "partner_labels", "targets_out") else batch.shape
        given[name] = torch.rand(shape, requires_grad=True)
        with pytest.raises(ValueError, match=f"^{name}: requires grad"):
            mixfuse.mix(batch.detach(), spec=SPEC, **given)
    mixed = mixfuse.mix(batch.detach(), spec=SPEC)
    with torch.no_grad():
        assert torch.equal(mixfuse.mix(batch, spec=SPEC), mixed)


@pytest.mark.parametrize("written", ["images", "out", "targets_out", "draw", "Mixup"])
def test_autograd_hears_of_what_is_written(written: str) -> None:
    x, out, y = torch.rand(6, 5), torch.rand(6, 5), torch.from_numpy(ids())
    targets, draw = torch.rand(6, 5), torch.tensor([1, 0, 0])
    changed = {"out": out, "targets_out": targets, "draw": draw}.get(written, x)
    before = changed._version
    if written == "images":
        mixfuse.mix(x, spec=SPEC, out=x)
    elif written == "Mixup":
        mixfuse.Mixup(num_classes=5, seed=1)(x, y)
    elif written == "draw":
        mixfuse.mix(x, spec=SPEC, draw=draw)
    else:
        mixfuse.mix(x, y, SPEC, out=out, targets_out=targets)
    assert changed._version > before
    with torch.inference_mode():
        mixfuse.mix(x.clone(), y, SPEC, out=torch.rand(6, 5), num_classes=5)


def test_a_live_draw_is_an_int64_tensor() -> None:
    draw = torch.tensor([3, 10, 0])
    mixed = mixfuse.mix(torch.from_numpy(images()), spec=SPEC, draw=draw)
    assert draw.tolist() == [3, 11, 0]
    assert (mixed.numpy() == mixfuse.mix(images(), spec=SPEC, seed=3, step=10)).all()


def test_its_exchange_api_is_used(monkeypatch: pytest.MonkeyPatch) -> None:

    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("the exchange API makes this needless")

    batch, out = torch.from_numpy(images()), torch.zeros(6, 3, 9, 8)
    if hasattr(torch.Tensor, "__dlpack_c_exchange_api__"):
        monkeypatch.setattr(torch.Tensor, "__dlpack__", refuse)
    mixfuse.mix(batch, spec=SPEC, out=out)
    assert (out.numpy() == mixfuse.mix(images(), spec=SPEC)).all()


def test_frameworks_meet() -> None:
    mixed, targets = mixfuse.mix(torch.from_numpy(images()), ids(), SPEC, num_classes=5)
    assert isinstance(mixed, torch.Tensor) and isinstance(targets, numpy.ndarray)
