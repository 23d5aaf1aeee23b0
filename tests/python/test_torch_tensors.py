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
    mixed = mixfuse.mix(batch.detach(), spec=SPEC)
    with torch.no_grad():
        assert torch.equal(mixfuse.mix(batch, spec=SPEC), mixed)


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
