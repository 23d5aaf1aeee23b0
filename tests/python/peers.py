# SPDX-License-Identifier: Apache-2.0
"""The peers themselves, and the distance between what they return and what mixfuse returns."""

from __future__ import annotations

import functools
import importlib
import os
import tempfile
from typing import Any

import numpy
import pytest
from batches import weights_of

MANTISSA = {"float16": 10, "bfloat16": 7, "float32": 23}


def package(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        pytest.skip(f"{name.split('.')[0]} is not here: {error}")


@functools.cache
def _torchvision_operators() -> Any:
    """torchvision's wheel is compiled for a torch with CUDA; beside one without, its operators must
    only have names for its transforms to run."""
    torch = package("torch")
    if torch.version.cuda is not None:
        return None
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms", "roi_align", "roi_pool", "ps_roi_align", "ps_roi_pool"):
        library.define(f"{name}(Tensor x) -> Tensor")
    library.define("deform_conv2d(Tensor x) -> Tensor")
    return library


def torchvision(module: str = "") -> Any:
    _torchvision_operators()
    return package(f"torchvision{module}")


def timm(module: str = "") -> Any:
    torchvision()
    return package(f"timm{module}")


@functools.cache
def _keras_home() -> Any:
    return tempfile.TemporaryDirectory()  # else it writes its settings into the home directory


def keras() -> Any:
    os.environ["KERAS_BACKEND"] = "jax"
    os.environ["KERAS_HOME"] = _keras_home().name
    package("jax")
    return package("keras")


def kornia() -> Any:
    return package("kornia.augmentation")


def array(tensor: Any) -> numpy.ndarray:
    """In float64."""
    if hasattr(tensor, "detach"):
        return tensor.detach().double().numpy()
    return numpy.asarray(tensor).astype("float64")


def assert_near(
    peer: Any, ours: Any, batch: Any, rows: numpy.ndarray, ulp: float, layout: str = "nchw"
) -> None:
    """Within `ulp` of the larger of own and partner; where a weight is 0 or 1, to the bit."""
    dtype = str(ours.dtype).removeprefix("torch.")
    assert str(peer.dtype).removeprefix("torch.") == dtype and peer.shape == ours.shape
    peer, ours, batch = array(peer), array(ours), array(batch)
    if layout == "nhwc":
        peer, ours, batch = (numpy.moveaxis(a, -1, 1) for a in (peer, ours, batch))
    weight = numpy.broadcast_to(weights_of(rows, batch.shape), batch.shape)
    copied = (weight == 0) | (weight == 1)
    assert (peer[copied] == ours[copied]).all()
    magnitude = numpy.maximum(abs(batch), abs(batch[rows["partner"]]))
    unit = 2.0 ** (numpy.floor(numpy.log2(numpy.maximum(magnitude, 2.0**-14))) - MANTISSA[dtype])
    assert (abs(peer - ours) / unit).max(initial=0.0) <= ulp


def is_cutmix(row: numpy.void) -> bool:
    return bool(row["outside"] == 1 and row["inside"] == 0)


def box_of(row: numpy.void) -> tuple[int, int, int, int]:
    """y0, y1, x0, x1."""
    return int(row["lo"][0]), int(row["hi"][0]), int(row["lo"][1]), int(row["hi"][1])
