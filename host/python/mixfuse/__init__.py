# SPDX-License-Identifier: Apache-2.0
"""Mixup and CutMix of a batch in one pass over memory, on the CPU and on CUDA.

    mixed, targets = mixfuse.mix(images, labels, mixup=0.2, cutmix=1.0, num_classes=1000,
                                 seed=seed, step=step)

Tensors of any framework that speaks DLPack go in, and the same framework's come out; nothing is
copied to get there. What is drawn depends on seed, step and the samples' index alone: the same on
the CPU and on every GPU. Importing this makes no CUDA call.
"""

from mixfuse._api import Plan, Policy, Schedule, Spec, Targets, info, mix, plan
from mixfuse._collate import collate
from mixfuse._mixup import Mixup
from mixfuse._transforms import CutMix, MixUp
from mixfuse._core import stream_version, version as __version__

__all__ = [
    "CutMix",
    "MixUp",
    "Mixup",
    "Plan",
    "Policy",
    "Schedule",
    "Spec",
    "Targets",
    "__version__",
    "collate",
    "info",
    "mix",
    "plan",
    "stream_version",
]
