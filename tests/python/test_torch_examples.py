# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import importlib.util
import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import mixfuse
import pytest

torch = pytest.importorskip("torch")
EXAMPLES = Path(__file__).parents[1] / "examples"


def test_the_loop_learns_with_and_without_mixing() -> None:
    example = runpy.run_path(str(EXAMPLES / "torch_training.py"))
    accuracy = example["main"]()
    wanted = "digits" if importlib.util.find_spec("sklearn") else "synthetic"
    assert accuracy["data"] == wanted
    assert min(accuracy["plain"], accuracy["mixed"]) > 0.8
    assert accuracy["mixed"] != accuracy["plain"]


def drawn_by(processes: int, folder: Path) -> dict[str, str]:
    folder.mkdir()
    subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone",
         "--nproc-per-node", str(processes), str(EXAMPLES / "torch_ranks.py"), str(folder)],
        check=True, capture_output=True, timeout=300, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    reports = [json.loads(path.read_text()) for path in folder.glob("*.json")]
    assert len(reports) == processes
    hashes = {name: text for report in reports for name, text in report.items()}
    assert len(hashes) == sum(map(len, reports)) == len(set(hashes.values())) == 40
    return hashes


def test_draws_do_not_depend_on_the_number_of_processes(tmp_path: Path) -> None:
    alone = drawn_by(1, tmp_path / "1")
    assert drawn_by(2, tmp_path / "2") == alone
    assert drawn_by(4, tmp_path / "4") == alone

    example = runpy.run_path(str(EXAMPLES / "torch_ranks.py"))
    for step in range(example["STEPS"]):
        images, labels = example["batch_of"](step)
        plan = mixfuse.plan(images, example["GLOBAL"], seed=42, step=step)
        mixed = mixfuse.mix(images, labels, plan=plan, num_classes=example["CLASSES"])
        whole = example["hashes"]((plan.rows(), *mixed), 0, f"over_all, step {step}")
        assert whole.items() <= alone.items()
