# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import hashlib
import pickle
from typing import Any

import numpy
import pytest
from batches import images

import mixfuse

torch = pytest.importorskip("torch")
DataLoader = torch.utils.data.DataLoader


class Samples(torch.utils.data.Dataset):
    def __init__(self, count: int = 24) -> None:
        self.images = images((count, 3, 8, 8), "uint8")

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Any:
        return self.images[index], index % 5, index


def loader(workers: int, collate: Any, **how: Any) -> Any:
    if workers:
        how = {"multiprocessing_context": "fork"} | how
    return DataLoader(Samples(), 4, num_workers=workers, collate_fn=collate, **how)


def digests(batches: Any) -> list[str]:
    return [
        hashlib.sha256(mixed.numpy().tobytes() + targets.numpy().tobytes()).hexdigest()
        for mixed, targets, _ in batches
    ]


def make(**how: Any) -> Any:
    return mixfuse.collate(mixup=1.0, cutmix=1.0, num_classes=5, **how)


def test_a_batch_is_mixed_and_what_else_it_holds_is_kept() -> None:
    mixed, targets, index = next(iter(loader(0, make(seed=3))))
    assert mixed.dtype == torch.uint8 and targets.shape == (4, 5)
    assert index.tolist() == [0, 1, 2, 3]
    batch = Samples().images[:4]
    wanted = mixfuse.mix(
        batch, numpy.arange(4), mixup=1.0, cutmix=1.0, num_classes=5, seed=3
    )
    assert (mixed.numpy() == wanted[0]).all() and (targets.numpy() == wanted[1]).all()


@pytest.mark.parametrize("workers", [1, 2])
def test_forked_workers_work_after_the_parent_has_mixed(workers: int) -> None:
    big = numpy.zeros((64, 3, 64, 64), "float32")
    mixfuse.mix(big, mixup=1.0, threads=2)  # OpenMP's threads are not in the child
    collate = make()
    collate.set_epoch(0)
    assert digests(loader(workers, collate, timeout=60)) == digests(loader(0, make()))


def test_an_epoch_s_batches_do_not_depend_on_the_workers() -> None:
    def epoch(workers: int, number: int) -> list[str]:
        collate = make(seed=1)
        collate.set_epoch(number)
        return digests(loader(workers, collate))

    assert epoch(0, 3) == epoch(1, 3) == epoch(2, 3)
    assert not set(epoch(0, 3)) & set(epoch(0, 4))


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("lasting", [False, True])
def test_no_draw_comes_twice_even_without_set_epoch(workers: int, lasting: bool) -> None:
    if lasting and not workers:
        return
    # In a cycle nobody meets itself, which leaves a batch as it was, however it is drawn.
    batches = loader(workers, make(pairing="cycle"), persistent_workers=lasting)
    drawn = [digest for _ in range(3) for digest in digests(batches)]
    assert len(set(drawn)) == len(drawn) == 18


def test_lasting_workers_hear_of_the_epoch() -> None:
    collate = make()
    batches = loader(2, collate, persistent_workers=True)
    collate.set_epoch(5)
    first = digests(batches)
    collate.set_epoch(6)
    assert not set(digests(batches)) & set(first)
    collate.set_epoch(5)
    assert digests(batches) == first


def test_the_same_epoch_again_is_the_same_again() -> None:
    collate = make(seed=2)
    passes = []
    for workers in (2, 0, 0):
        collate.set_epoch(2)
        passes.append(digests(loader(workers, collate)))
    assert passes[0] == passes[1] == passes[2]
    assert digests(loader(2, collate)) == passes[0]  # of workers whose parent has counted


def test_torch_s_seed_decides_where_no_epoch_is_set() -> None:
    def run(seed: int) -> list[str]:
        return digests(loader(2, make(), generator=torch.Generator().manual_seed(seed)))

    assert run(1) == run(1)
    assert not set(run(1)) & set(run(2))


def test_a_seed_of_none_is_torch_s() -> None:
    def made(seed: int) -> Any:
        torch.manual_seed(seed)
        return make(seed=None)

    collates = [made(3), made(3), made(4)]
    first, again, other = (digests(loader(0, collate)) for collate in collates)
    assert first == again and not set(first) & set(other)


def test_ranks_take_first() -> None:
    assert not set(digests(loader(0, make()))) & set(digests(loader(0, make(first=1000))))


def test_it_normalises_and_puts_channels_first() -> None:
    collate = make(mean=0.5, std=0.25, out_dtype="float32")
    mixed, _, _ = collate([Samples()[i] for i in range(4)])
    plain, _, _ = make()([Samples()[i] for i in range(4)])
    assert abs(mixed - (plain / 255 - 0.5) / 0.25).max() < 0.01
    first = [Samples()[i] for i in range(4)]
    rows = [(image.transpose(1, 2, 0).copy(), label) for image, label, _ in first]
    planes, _ = make(layout="nhwc", out_layout="nchw")(rows)
    assert torch.equal(planes, plain)


def test_a_bad_class_warns() -> None:
    with pytest.warns(RuntimeWarning, match="^labels: the class of sample 1 "):
        make()([(Samples().images[0], 0), (Samples().images[1], 9)])


def test_spawned_workers_get_it_by_pickle() -> None:
    collate = pickle.loads(pickle.dumps(make(seed=4)))
    assert digests([collate([Samples()[i] for i in range(4)])]) == digests(
        [make(seed=4)([Samples()[i] for i in range(4)])]
    )


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(TypeError, match="^mixup: given beside spec"):
        mixfuse.collate(mixfuse.Spec(), mixup=1.0)
    with pytest.raises(TypeError, match="^samples: dict"):
        make()([{"image": Samples().images[0], "label": 1}])
    with pytest.raises(TypeError, match="^samples: tuple"):
        make()([(Samples().images[0],)])
    with pytest.raises(TypeError, match="^epoch: str"):
        make().set_epoch("a")
    with pytest.raises(TypeError, match="^seed: str"):
        make(seed="a")
    with pytest.raises(ValueError, match="^first: -4"):
        make(first=-4)
    with pytest.raises(ValueError, match="^epoch: -1"):
        make().set_epoch(-1)
    with pytest.raises(ValueError, match="^num_classes: missing"):
        mixfuse.collate(mixup=1.0)([Samples()[0]])
