# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BLOCKS = {
    f"{path}, {number}": code
    for path in ("README.md", "host/python/README.md")
    for number, code in enumerate(
        re.findall(r"^```python\n(.*?)^```", (ROOT / path).read_text(), re.DOTALL | re.MULTILINE)
    )
}


@pytest.mark.parametrize("name", BLOCKS)
def test_what_the_readme_shows_runs(name: str) -> None:
    frameworks = set(re.findall(r"\b(torch|jax)\b", BLOCKS[name]))
    exec(compile(BLOCKS[name], name, "exec"), {it: pytest.importorskip(it) for it in frameworks})


def test_there_is_something_to_run() -> None:
    assert len(BLOCKS) >= 3
