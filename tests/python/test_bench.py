# SPDX-License-Identifier: Apache-2.0
"""The benches in Python run: results agree with float64, and pictures are made of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPTS = Path(__file__).parents[2] / "bench"


@pytest.fixture
def library() -> Path:
    """What peers.py asks of mixfuse, as it was built beside the tests."""
    folder = os.environ.get("MIXFUSE_BENCH")
    if not folder:
        pytest.skip("MIXFUSE_BENCH does not name the folder of the built benches")
    return Path(folder) / "libmixfuse-peers.so"


def run(name: str, *arguments: object) -> None:
    command = [sys.executable, SCRIPTS / name, *map(str, arguments)]
    subprocess.run(command, check=True, timeout=600)


def test_peers_agree_with_float64_and_are_drawn(library: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("matplotlib")
    result = tmp_path / "peers.json"
    run("peers.py", "--library", library, "--small", "--seconds", 0, "--json", result)
    contests: list[dict[str, Any]] = json.loads(result.read_text())["contests"]
    assert {(c["shape"], c["out"]) for c in contests if c["stage"] == "mix"} >= {
        ("8x3x16x16", "f32"),
        ("8x3x16x16", "bf16"),
    }
    for contest in contests:
        names = [entry["name"] for entry in contest["results"]]
        assert any(name.startswith("mixfuse") for name in names), names
        assert not [why for why in contest["absent"] if "WRONG" in why["why"]]
    run("plots.py", "--out", tmp_path, result)
    assert (tmp_path / "peers.png").stat().st_size > 0


def test_traffic_credits_kernels_by_their_own_names() -> None:
    names = {
        "void mixfuse::cuda::mix_kernel<mixfuse::cuda::Vector<float>, 4>(mixfuse::MixJob)": (
            "mix_kernel"
        ),
        "void mixfuse::cuda::<unnamed>::plan_kernel<(bool)1>(mixfuse::PlanJob)": "plan_kernel",
        "mixfuse::cuda::(anonymous namespace)::set_draw_kernel(mixfuse::Draw)": "set_draw_kernel",
    }
    # In a process of its own: another file of these tests is called peers too.
    print_short = "import sys, traffic; print(*map(traffic.short, sys.argv[1:]))"
    command = [sys.executable, "-B", "-c", print_short, *names]
    out = subprocess.check_output(command, cwd=SCRIPTS, text=True)
    assert out.split() == list(names.values())
