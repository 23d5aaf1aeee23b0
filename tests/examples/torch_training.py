# SPDX-License-Identifier: Apache-2.0
"""A training loop in PyTorch with and without mixing, on the 8 x 8 digits that scikit-learn comes
with, or on images made here where it is not installed. Two things are mixfuse's: the line that
makes `mixup`, and the line that calls it; a checkpoint keeps its three integers beside the
weights. So small a task need not gain by it; this shows where mixing goes in a loop."""

from __future__ import annotations

import gzip
import importlib.util
from pathlib import Path
from typing import Any

import mixfuse
import torch

CLASSES, BATCH, EPOCHS, TRAINED = 10, 64, 20, 400


def digits() -> tuple[torch.Tensor, torch.Tensor] | None:
    """1797 of the UCI optical digits, 16 shades."""
    found = importlib.util.find_spec("sklearn")
    if found is None or found.origin is None:
        return None
    path = Path(found.origin).parent / "datasets" / "data" / "digits.csv.gz"
    if not path.exists():
        return None
    with gzip.open(path, "rt") as file:
        rows = torch.tensor([[float(cell) for cell in line.split(",")] for line in file])
    return rows[:, :-1].reshape(-1, 1, 8, 8) / 16, rows[:, -1].long()


def synthetic() -> tuple[torch.Tensor, torch.Tensor]:
    """Ten fixed pictures under noise."""
    random = torch.Generator().manual_seed(0)
    labels = torch.randint(CLASSES, (1797,), generator=random)
    pictures = torch.rand(CLASSES, 1, 8, 8, generator=random)
    return pictures[labels] + 0.5 * torch.randn(1797, 1, 8, 8, generator=random), labels


def model() -> torch.nn.Module:
    return torch.nn.Sequential(
        torch.nn.Conv2d(1, 16, 3), torch.nn.ReLU(), torch.nn.Flatten(),
        torch.nn.Linear(16 * 36, 64), torch.nn.ReLU(), torch.nn.Linear(64, CLASSES),
    )  # fmt: skip


def train(data: tuple[torch.Tensor, torch.Tensor], mixing: bool, epochs: int = EPOCHS) -> float:
    """Accuracy on what was not trained on."""
    torch.manual_seed(0)
    images, labels = data
    network = model()
    optimizer = torch.optim.Adam(network.parameters(), lr=2e-3)
    mixup = mixfuse.Mixup(
        mixup_alpha=0.4, cutmix_alpha=1.0, mode="elem", label_smoothing=0.0, num_classes=CLASSES
    )
    mixup.mixup_enabled = mixing
    loader = torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(images[:TRAINED], labels[:TRAINED]), BATCH, shuffle=True
    )
    for _ in range(epochs):
        for x, y in loader:
            x, y = mixup(x, y)
            loss = torch.nn.functional.cross_entropy(network(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    network.eval()
    with torch.no_grad():
        return (network(images[TRAINED:]).argmax(1) == labels[TRAINED:]).float().mean().item()


def main(epochs: int = EPOCHS) -> dict[str, Any]:
    found = digits()
    data = synthetic() if found is None else found
    results = {"data": "synthetic" if found is None else "digits"}
    return results | {name: train(data, name == "mixed", epochs) for name in ("plain", "mixed")}


if __name__ == "__main__":
    accuracy = main()
    print(f"{accuracy['data']}: {accuracy['plain']:.1%} right, with mixing {accuracy['mixed']:.1%}")
