# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import re
from pathlib import Path

import pytest

README = Path(__file__).parents[2] / "README.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```", README.read_text(), re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("code", BLOCKS, ids=range(len(BLOCKS)))
def test_what_the_readme_shows_runs(code: str) -> None:
    pytest.importorskip("torch")
    exec(compile(code, str(README), "exec"), {})


def test_there_is_something_to_run() -> None:
    assert BLOCKS
