# SPDX-License-Identifier: Apache-2.0
"""The draw of an object that is called step after step."""

from __future__ import annotations

import sys
from typing import Any

_WORDS = 1 << 64


def seed_of_framework() -> int:
    """One word of the generator that the user has seeded: torch's of the CPU, else NumPy's, else
    Python's; the first of them that is imported. torch.manual_seed(seed + rank) is thus heard."""
    if (torch := sys.modules.get("torch")) is not None:
        word = torch.empty((), dtype=torch.int64).random_(-(1 << 63), None)
        return int(word) % _WORDS
    if (numpy := sys.modules.get("numpy")) is not None:
        return int(numpy.random.randint(0, _WORDS, dtype="uint64"))
    import random

    return random.getrandbits(64)


def loader_worker() -> Any:
    """Of torch's DataLoader, or None."""
    data = sys.modules.get("torch.utils.data")
    return None if data is None else data.get_worker_info()


class Draws:
    """Seed, step and first: the whole state of what draws by them."""

    def __init__(self, seed: int | None, first: int) -> None:
        self.seed = seed_of_framework() if seed is None else seed
        self.step = 0
        self.first = first

    def state_dict(self) -> dict[str, int]:
        return {"seed": self.seed, "step": self.step, "first": self.first}

    def load_state_dict(self, state: dict[str, int]) -> None:
        if set(state) != {"seed", "step", "first"}:
            raise ValueError(f"state: keys {sorted(state)}, expected seed, step and first")
        self.seed, self.step, self.first = (int(state[k]) for k in ("seed", "step", "first"))

    def _here(self) -> dict[str, int]:
        """Arguments of mix for this step; none is another's, in a loader's workers too, each of
        which has a copy of this object."""
        worker = loader_worker()
        if worker is None:
            return {"seed": self.seed, "step": self.step, "first": self.first}
        # Its seed changes with each set of workers, as their counts begin anew.
        return {
            "seed": (self.seed + worker.seed - worker.id) % _WORDS,
            "step": self.step * worker.num_workers + worker.id,
            "first": self.first,
        }
