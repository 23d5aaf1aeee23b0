# SPDX-License-Identifier: Apache-2.0
"""The draw of an object that is called step after step."""

from __future__ import annotations

import operator
import sys
from collections.abc import Callable
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


def checked(name: str, value: Any, bits: int) -> int:
    """An int of so many bits: a seed has 64, step and first have 48."""
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name}: {type(value).__qualname__}, expected an int") from None
    if not 0 <= number < 1 << bits:
        raise ValueError(f"{name}: {number}, expected 0 to 2^{bits} - 1")
    return number


class Draws:
    """Seed, step and first: the whole state of what draws by them."""

    def __init__(self, seed: int | None, first: int) -> None:
        self.seed = seed_of_framework() if seed is None else checked("seed", seed, 64)
        self.step = 0
        self.first = checked("first", first, 48)

    def state_dict(self) -> dict[str, int]:
        """Seed, step (of the next call) and first: the whole state, three integers."""
        return {"seed": self.seed, "step": self.step, "first": self.first}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """What state_dict() returned: the next call then draws as it would have there. ValueError
        where keys or values are others."""
        if set(state) != {"seed", "step", "first"}:
            raise ValueError(f"state: keys {sorted(state)}, expected seed, step and first")
        self.seed = checked("state: seed", state["seed"], 64)
        self.step = checked("state: step", state["step"], 48)
        self.first = checked("state: first", state["first"], 48)

    def _stepped(self, mixed: Callable[[dict[str, int]], Any]) -> Any:
        """What `mixed` makes of this step's draw, which is used up then."""
        try:
            result = mixed(self._here())
        except RuntimeWarning:  # of a bad id, made an error; by then pixels are mixed
            self.step += 1
            raise
        self.step += 1
        return result

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
