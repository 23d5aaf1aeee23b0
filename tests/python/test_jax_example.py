# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import runpy
from pathlib import Path

import numpy
import pytest

pytest.importorskip("jax")
EXAMPLE = Path(__file__).parents[1] / "examples" / "jax_training.py"


def test_the_loop_learns_and_resumes() -> None:
    import mixfuse.jax

    if not mixfuse.jax._HANDLERS:
        pytest.skip("mixfuse was built without jaxlib's headers")
    example = runpy.run_path(str(EXAMPLE))
    weights, key = example["train"]()
    assert example["accuracy"](weights) >= 0.9
    assert (numpy.asarray(key) == mixfuse.jax.key(42, example["STEPS"])).all()
    assert example["train_step"]._cache_size() == 1
    assert example["accuracy"](example["train"](0)[0]) < 0.5
