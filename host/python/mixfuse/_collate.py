# SPDX-License-Identifier: Apache-2.0
"""Mixing where a DataLoader puts its batches together."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from mixfuse._api import Spec, mix, spec_of
from mixfuse._draws import checked, seed_of_framework

#: Batches of an epoch; an epoch's steps begin at a multiple of it.
_EPOCH = 1 << 28


class Collate:
    """What `mixfuse.collate` returns; give it to one DataLoader."""

    def __init__(self, spec: Spec, seed: int, first: int, options: dict[str, Any]) -> None:
        import torch

        self._spec, self._seed, self._first, self._options = spec, seed, first, options
        # The epoch, -1 until somebody sets it, and how often that was; shared, so that workers
        # which live on hear of it.
        self._epoch = torch.tensor([-1, 0], dtype=torch.int64).share_memory_()
        self._counted: Any = None  # which process counts batches, since which set_epoch()
        self._batches = 0

    def set_epoch(self, epoch: int) -> None:
        """As a sampler's, before each epoch: its batches are then drawn by (seed, epoch, index of
        the batch), whatever the number of workers."""
        self._epoch[0] = checked("epoch", epoch, 20)
        self._epoch[1] += 1

    def _draw(self) -> tuple[int, int]:
        """Seed and step of the next batch: no two of a run are the same."""
        from torch.utils.data import get_worker_info

        worker = get_worker_info()
        epoch, times = self._epoch.tolist()
        counted = os.getpid(), times
        if counted != self._counted:
            self._counted, self._batches = counted, 0
        index = self._batches
        self._batches += 1
        seed = self._seed
        if worker is not None:  # the loader deals batches to its workers in turn
            index = index * worker.num_workers + worker.id
            if epoch < 0:  # new workers count from 0 again, but torch draws them a new seed
                seed = (seed + worker.seed - worker.id) % (1 << 64)
        return seed, max(epoch, 0) * _EPOCH + index

    def __call__(self, samples: list[Any]) -> tuple[Any, ...]:
        """samples: (image, label, ...) each. Returns (images, targets, ...), mixed."""
        from torch.utils.data import default_collate, get_worker_info

        if not samples or not isinstance(samples[0], Sequence) or len(samples[0]) < 2:
            kind = type(samples[0]).__qualname__ if samples else "none"
            raise TypeError(f"samples: {kind}, expected tuples (image, label, ...)")
        images, labels, *rest = default_collate(samples)
        seed, step = self._draw()
        mixed, targets = mix(
            images,
            labels,
            self._spec,
            seed=seed,
            step=step,
            first=self._first,
            threads=0 if get_worker_info() is None else 1,
            **self._options,
        )
        return (mixed, targets, *rest)


def collate(
    spec: Spec | None = None,
    *,
    num_classes: int | None = None,
    seed: int | None = 0,
    first: int = 0,
    smoothing: float = 0.0,
    ignored: int | None = None,
    target: str = "dense",
    layout: str | None = None,
    out_layout: str | None = None,
    out_dtype: Any = None,
    mean: Any = None,
    std: Any = None,
    **policy: Any,
) -> Collate:
    """A `collate_fn` for torch.utils.data.DataLoader that mixes the batch it puts together.

        loader = DataLoader(data, 256, num_workers=8, collate_fn=mixfuse.collate(
            mixup=0.2, cutmix=1.0, num_classes=1000))

    Samples are (image, label, ...): images of one shape and dtype, u8 as a decoder leaves them or
    floats, channels first unless `layout` says otherwise; labels ids or rows. Batches are
    (images, targets, ...). Arguments are those of `mix`; `policy` those of `Spec`.

    Draws: by seed (None: as of mixfuse.Mixup), and by set_epoch() where it is called before each epoch: then nothing else
    matters, the number of workers included. Without it they also depend on the seed that torch
    gives its workers (torch.manual_seed, DataLoader's generator). Ranks take different `first`, or
    seeds.

    Works in forked workers, also when the parent has mixed before. A bad id warns (RuntimeWarning).
    Raises as `mix`.
    """
    spec = spec_of(spec, policy)
    options = {
        "num_classes": num_classes, "smoothing": smoothing, "ignored": ignored, "target": target,
        "layout": layout, "out_layout": out_layout, "out_dtype": out_dtype, "mean": mean,
        "std": std,
    }  # fmt: skip
    seed = seed_of_framework() if seed is None else checked("seed", seed, 64)
    return Collate(spec, seed, checked("first", first, 48), options)
