# SPDX-License-Identifier: Apache-2.0
"""What to do, as one text: an operator of a few arguments costs a fraction of one of thirty, and a
text is a constant to whatever traces it. A Python literal, so that a traced program can be read."""

from __future__ import annotations

import ast
import functools
import math
from typing import Any

import torch

from mixfuse._api import Spec, spec_of

_LABELS = {"num_classes": 0, "smoothing": 0.0, "ignored": None}
_IMAGES = {"mean": None, "std": None}
_SHAPES = {"layout": None, "out_layout": None, "out_dtype": None, "target_dtype": None}


class Options:
    """Read from the text, once for each."""

    def __init__(self, how: dict[str, Any]) -> None:
        own = _LABELS | _IMAGES | _SHAPES
        self.spec = spec_of(None, {name: how[name] for name in how if name not in own})
        given = own | {name: value for name, value in how.items() if name in own}
        self.labels = {name: given[name] for name in _LABELS}
        self.labels["num_classes"] = self.labels["num_classes"] or None
        self.images = {name: given[name] for name in (*_IMAGES, "out_layout")}
        self.layout, self.out_layout = given["layout"], given["out_layout"]
        self.out_dtype = _dtype("out_dtype", given["out_dtype"])
        self.target_dtype = _dtype("target_dtype", given["target_dtype"])
        self.only_out_of_place = [n for n in (*_IMAGES, "out_layout", "out_dtype") if given[n]]
        std = given["std"]
        self.std = [] if std is None else [std] if isinstance(std, (int, float)) else list(std)
        self.permuted = self.spec.pairing not in ("replacement", "given")
        self.boxes = any(policy[0] == "cutmix" for policy in self.spec.policies)
        self.flips = self.spec.flip > 0


def _dtype(name: str, value: str | None) -> torch.dtype | None:
    if value is None:
        return None
    dtype = getattr(torch, str(value), None)
    if not isinstance(dtype, torch.dtype):
        raise ValueError(f"{name}: {value!r}, expected torch's name of a dtype")
    return dtype


def _literal(name: str, value: Any) -> Any:
    if isinstance(value, torch.dtype):
        return str(value).removeprefix("torch.")
    if hasattr(value, "tolist"):  # NumPy's and torch's numbers
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        return tuple(_literal(name, item) for item in value)
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{name}: {value}, expected finite numbers")
    if value is not None and not isinstance(value, (str, int, float)):
        raise TypeError(f"{name}: {type(value).__qualname__}, expected a number, a name or several")
    return value


_SPEC = ("policies", "probability", "pairing", "granularity", "group", "flip")


def text_of(how: dict[str, Any]) -> str:
    if (spec := how.pop("spec", None)) is not None:
        if not isinstance(spec, Spec):
            raise TypeError(f"spec: {type(spec).__qualname__}, expected a mixfuse.Spec")
        how |= {name: getattr(spec, name) for name in _SPEC}
    return repr({name: _literal(name, how[name]) for name in sorted(how)})


@functools.lru_cache(maxsize=256)
def options_of(text: str) -> Options:
    return Options(ast.literal_eval(text))
