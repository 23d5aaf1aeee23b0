# SPDX-License-Identifier: Apache-2.0
"""What each process of a data-parallel run draws.

    torchrun --nproc-per-node 4 torch_ranks.py DIRECTORY

The library reads no RANK; this is where its user does. The global batch is split into consecutive
pieces; a piece's place in it, `first`, is all that tells one process from another, and the seed is
the same. With pairing groups that divide every piece, nothing depends on the number of processes:
rows, pixels and targets. Each process writes to DIRECTORY a hash of its rows (index, lambda,
partner, box) for each step and each group.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path

import mixfuse
import torch

GLOBAL_BATCH, GROUP, STEPS, CLASSES = 32, 8, 5, 10
SPEC = mixfuse.Spec(mixup=0.2, cutmix=1.0, group=GROUP)


def batch_of(step: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The global one, of which a sampler would give each process its piece."""
    random = torch.Generator().manual_seed(step)
    images = torch.rand(GLOBAL_BATCH, 3, 16, 16, generator=random)
    return images, torch.randint(CLASSES, (GLOBAL_BATCH,), generator=random)


def hashes(rank: int, world: int) -> dict[str, str]:
    local = GLOBAL_BATCH // world
    first = rank * local
    made = {}
    for step in range(STEPS):
        images, labels = (tensor[first : first + local] for tensor in batch_of(step))
        plan = mixfuse.plan(images, SPEC, seed=42, step=step, first=first)
        mixed, targets = mixfuse.mix(images, labels, plan=plan, num_classes=CLASSES)
        rows = plan.rows()
        rows["partner"] += first  # counts in the batch of the call
        for start in range(0, local, GROUP):
            part = slice(start, start + GROUP)
            drawn = (mixed[part].numpy(), targets[part].numpy(), rows[part])
            text = hashlib.sha256(b"".join(values.tobytes() for values in drawn)).hexdigest()
            made[f"step {step}, samples from {first + start}"] = text
    return made


if __name__ == "__main__":
    rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    report = hashes(rank, world)
    Path(sys.argv[1], f"{rank}.json").write_text(json.dumps(report))
    total = hashlib.sha256(json.dumps(report).encode()).hexdigest()
    print(f"process {rank} of {world}: {len(report)} groups, {total[:16]}")
