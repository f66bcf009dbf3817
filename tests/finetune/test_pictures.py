"""Folders by class: what is read, split and refused; the order of an epoch."""

from __future__ import annotations

import numpy as np
import pytest

from modelzoo.errors import ImageError, UsageError
from modelzoo.finetune import ClassFolder
from modelzoo.finetune.pictures import Batches, epoch_order
from tests.finetune.networks import picture_folder


def test_folders_are_classes(tmp_path):
    root = picture_folder(tmp_path / "p", classes=3, count=4)
    (root / ".cache").mkdir()
    (root / "class 1" / "notes.txt").write_text("no picture")
    (root / "class 1" / "more").mkdir()
    (root / "class 1" / "0.png").rename(root / "class 1" / "more" / "0.png")
    found = ClassFolder.read(root)
    assert found.names == ("class 0", "class 1", "class 2")
    assert found.labels == (0,) * 4 + (1,) * 4 + (2,) * 4


@pytest.mark.parametrize("share,held", [(0.25, 1), (0.5, 2), (0.99, 3), (0.01, 1)])
def test_a_split_takes_the_same_share_of_every_class(tmp_path, share, held):
    found = ClassFolder.read(picture_folder(tmp_path / "p", count=4))
    train, validation = found.split(share, 7)
    assert np.bincount(validation.labels).tolist() == [held] * 3
    assert sorted([*train.paths, *validation.paths]) == sorted(found.paths)
    assert found.split(share, 7) == (train, validation)
    assert not {*train.paths} & {*validation.paths}


def test_other_seeds_split_otherwise(tmp_path):
    found = ClassFolder.read(picture_folder(tmp_path / "p", count=8))
    assert len({found.split(0.25, seed)[1].paths for seed in range(8)}) > 4


def empty_class(root):
    (root / "class 9").mkdir()


def one_class(root):
    (root / "class 0").rename(root.parent / "elsewhere")
    (root / "class 1").rename(root.parent / "elsewhere 1")


def loose(root):
    (root / "class 0" / "0.png").rename(root / "0.png")


def no_picture(root):
    (root / "class 0" / "0.png").write_bytes(b"not a picture")


def cut_off(root):
    data = (root / "class 0" / "0.png").read_bytes()
    (root / "class 0" / "0.png").write_bytes(data[:200])


@pytest.mark.parametrize(
    "harm,error",
    [
        (empty_class, UsageError),
        (one_class, UsageError),
        (loose, UsageError),
        (no_picture, ImageError),
        (cut_off, ImageError),
    ],
)
def test_folders_that_make_no_sense(tmp_path, harm, error):
    root = picture_folder(tmp_path / "p", count=2)
    harm(root)
    with pytest.raises(error):
        ClassFolder.read(root)


def test_no_folder_no_share_no_second_picture(tmp_path):
    with pytest.raises(UsageError, match="no such folder"):
        ClassFolder.read(tmp_path / "nothing")
    found = ClassFolder.read(picture_folder(tmp_path / "p", count=1))
    with pytest.raises(UsageError, match="one picture"):
        found.split(0.5, 0)
    with pytest.raises(UsageError, match="share"):
        found.split(1.0, 0)


def test_an_epoch_is_a_permutation_that_seed_and_epoch_decide():
    orders = {tuple(epoch_order(20, seed, epoch)) for seed in range(3) for epoch in range(3)}
    assert len(orders) == 9 and all(sorted(order) == list(range(20)) for order in orders)
    batches = Batches(7, lambda some: (np.array(some), np.array(some)), 3, seed=1)
    batches.epoch = 2
    assert [len(x) for x, _ in batches] == [3, 3, 1] and len(batches) == 3
    assert np.concatenate([x for x, _ in batches.dataset().as_numpy_iterator()]).tolist() == list(epoch_order(7, 1, 2))
