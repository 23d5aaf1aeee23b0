# SPDX-License-Identifier: Apache-2.0
"""What each process of a data-parallel run draws.

    torchrun --nproc-per-node 4 torch_ranks.py DIRECTORY

The library reads no RANK; this is where its user does. The global batch is split into consecutive
pieces; a piece's place in it, `first`, is all that tells one process from another, and the seed is
the same. With pairing groups that divide every piece, nothing depends on the number of processes:
rows, pixels and targets. Nor does it where partners are chosen in the global batch, whose plan is
small enough for every process to draw, and come from the process that has them. Each process writes
to DIRECTORY a hash of its rows (index, lambda, partner, box), pixels and targets for each step and
each group.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path

import mixfuse
import numpy as np
import torch
import torch.distributed as dist

GLOBAL_BATCH, GROUP, STEPS, CLASSES = 32, 8, 5, 10
SHAPE = (3, 16, 16)
GROUPED = mixfuse.Spec(mixup=0.2, cutmix=1.0, group=GROUP)
GLOBAL = mixfuse.Spec(mixup=0.2, cutmix=1.0)


def batch_of(step: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The global one, of which a sampler would give each process its piece."""
    random = torch.Generator().manual_seed(step)
    images = torch.rand(GLOBAL_BATCH, *SHAPE, generator=random)
    return images, torch.randint(CLASSES, (GLOBAL_BATCH,), generator=random)


def in_groups(images, labels, step: int, first: int):
    """Rows, pixels and targets; partners are in the same group, so in this process."""
    plan = mixfuse.plan(images, GROUPED, seed=42, step=step, first=first)
    rows = plan.rows()
    rows["partner"] += first  # counts in the batch of the call
    return rows, *mixfuse.mix(images, labels, plan=plan, num_classes=CLASSES)


def brought(tensor: torch.Tensor, partner: np.ndarray, first: int) -> torch.Tensor:
    """Of the global batch those that this process's rows ask for, ordered as they lie there."""
    local, world = len(tensor), GLOBAL_BATCH // len(tensor)
    asked = [np.sort(partner[start : start + local]) for start in range(0, GLOBAL_BATCH, local)]
    mine = [of[(of >= first) & (of < first + local)] - first for of in asked]
    owner = asked[first // local] // local
    received = torch.empty_like(tensor)
    dist.all_to_all_single(
        received, tensor[np.concatenate(mine)],
        np.bincount(owner, minlength=world).tolist(), [len(of) for of in mine],
    )  # fmt: skip
    return received


def over_all(images, labels, step: int, first: int):
    """Rows, pixels and targets; partners are anywhere in the global batch."""
    like = torch.empty(1, *SHAPE).expand(GLOBAL_BATCH, *SHAPE)  # no pixel is read for a plan
    everyones = mixfuse.plan(like, GLOBAL, seed=42, step=step).rows()
    partner, rows = everyones["partner"], everyones[first : first + len(images)]
    second = {"partners": images, "partner_labels": labels}
    second = {name: brought(tensor, partner, first) for name, tensor in second.items()}
    local = rows.copy()
    local["partner"] = np.searchsorted(np.sort(rows["partner"]), rows["partner"])
    plan = mixfuse.plan(images, rows=local)
    return rows, *mixfuse.mix(images, labels, plan=plan, num_classes=CLASSES, **second)


def hashes(drawn, first: int, name: str) -> dict[str, str]:
    made = {}
    for start in range(0, len(drawn[0]), GROUP):
        part = b"".join(np.asarray(values[start : start + GROUP]).tobytes() for values in drawn)
        made[f"{name}, samples from {first + start}"] = hashlib.sha256(part).hexdigest()
    return made


def drawn_by(rank: int, world: int) -> dict[str, str]:
    local = GLOBAL_BATCH // world
    first = rank * local
    made = {}
    for step in range(STEPS):
        images, labels = (tensor[first : first + local] for tensor in batch_of(step))
        for paired in (in_groups, over_all):
            drawn = paired(images, labels, step, first)
            made |= hashes(drawn, first, f"{paired.__name__}, step {step}")
    return made


if __name__ == "__main__":
    dist.init_process_group("gloo")  # pixels of partners go from process to process
    rank, world = dist.get_rank(), dist.get_world_size()
    report = drawn_by(rank, world)
    Path(sys.argv[1], f"{rank}.json").write_text(json.dumps(report))
    total = hashlib.sha256(json.dumps(report).encode()).hexdigest()
    print(f"process {rank} of {world}: {len(report)} groups, {total[:16]}")
    dist.destroy_process_group()
