"""Sequences: windows, splits, and folders of clips that are as they should be, or not."""

from __future__ import annotations

import shutil

import pytest

from modelzoo.errors import ImageError, UsageError
from modelzoo.rnn import Sequences, clip_logits, read_clips
from modelzoo.rnn.frames import natural_key
from tests.rnn.clips import clip_folder


@pytest.fixture
def folder(tmp_path):
    return clip_folder(tmp_path / "light", count=3, lengths=(5, 4, 7))


def test_clips_are_read_in_natural_order(folder):
    clips = read_clips(folder)
    assert clips.names == ("brighter", "darker")
    assert clips.labels == (0, 0, 0, 1, 1, 1)
    assert (clips.lengths, clips.steps, clips.masked) == ((5, 4, 7, 5, 4, 7), 7, True)
    assert [path.name for path in clips.items[0]] == [f"frame{n}.png" for n in (8, 9, 10, 11, 12)]
    assert clips.titles[0] == "brighter/clip 0"


@pytest.mark.parametrize(
    "names,wanted",
    [
        (["f10", "f9", "f1"], ["f1", "f9", "f10"]),
        (["2b", "10a", "2a", "x"], ["2a", "2b", "10a", "x"]),
        (["a01", "a1", "a001"], ["a001", "a01", "a1"]),
        (["1-10", "1-9", "1"], ["1", "1-9", "1-10"]),
        (["", "0", "a"], ["", "0", "a"]),
    ],
)
def test_natural_order(names, wanted):
    assert sorted(names, key=natural_key) == wanted
    backwards = names[::-1]
    assert sorted(backwards, key=natural_key) == wanted


def test_windows_of_a_size_and_a_hop(folder):
    clips = read_clips(folder, frames=3, hop=2)
    assert clips.titles == (
        "brighter/clip 0[0:3]",
        "brighter/clip 0[2:5]",
        "brighter/clip 1[0:3]",
        "brighter/clip 2[0:3]",
        "brighter/clip 2[2:5]",
        "brighter/clip 2[4:7]",
        "darker/clip 0[0:3]",
        "darker/clip 0[2:5]",
        "darker/clip 1[0:3]",
        "darker/clip 2[0:3]",
        "darker/clip 2[2:5]",
        "darker/clip 2[4:7]",
    )
    assert (clips.steps, clips.masked, set(clips.lengths)) == (3, False, {3})
    # Without a hop windows lie one behind the other.
    assert len(read_clips(folder, frames=3)) == 2 * (1 + 1 + 2)


@pytest.mark.parametrize("share,held", [(0.01, 1), (0.5, 4), (0.99, 7)])
def test_a_split_divides_no_clip(tmp_path, share, held):
    clips = read_clips(clip_folder(tmp_path / "light", count=8), frames=2, hop=1)
    train, validation = clips.split(share, seed=1)
    for label in (0, 1):
        sides = [
            {s for s, own in zip(part.sources, part.labels, strict=True) if own == label}
            for part in (train, validation)
        ]
        assert (len(sides[0]), len(sides[1])) == (8 - held, held)
        assert not sides[0] & sides[1]
    assert len(train) + len(validation) == len(clips)
    assert clips.split(share, seed=1)[1].titles == validation.titles
    assert (train.steps, train.masked, train.names) == (clips.steps, clips.masked, clips.names)


def _loose_frame(root):
    shutil.copy(root / "darker" / "clip 0" / "frame8.png", root / "darker" / "frame.png")


def _loose_clip(root):
    shutil.copy(root / "darker" / "clip 0" / "frame8.png", root / "frame.png")


def _no_frame(root):
    (root / "darker" / "clip 9").mkdir()


def _only_text(root):
    (root / "darker" / "clip 9").mkdir()
    (root / "darker" / "clip 9" / "notes.txt").write_text("no frame")


def _no_clip(root):
    (root / "nothing").mkdir()


def _one_class(root):
    shutil.rmtree(root / "darker")


def _empty(root):
    shutil.rmtree(root / "darker")
    shutil.rmtree(root / "brighter")


def _deeper(root):
    shutil.copytree(root / "darker" / "clip 0", root / "darker" / "clip 1" / "inside")


@pytest.mark.parametrize(
    "spoil,says",
    [
        (_loose_frame, "beside its clips"),
        (_loose_clip, "beside the classes' folders"),
        (_no_frame, "no frame"),
        (_only_text, "no frame"),
        (_no_clip, "has no clip"),
        (_one_class, "two classes"),
        (_empty, "two classes"),
        (_deeper, "folders with pictures"),
    ],
)
def test_folders_that_are_no_clips_by_class(folder, spoil, says):
    spoil(folder)
    with pytest.raises(UsageError, match=says):
        read_clips(folder)


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(UsageError, match="no such folder"):
        read_clips(tmp_path / "nothing")


def test_a_frame_that_is_no_picture_is_found_before_any_work(folder):
    (folder / "darker" / "clip 2" / "frame9.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"\0" * 20)
    with pytest.raises(ImageError, match=r"frame9\.png"):
        read_clips(folder)
    assert len(read_clips(folder, check=False)) == 6


def test_a_clip_shorter_than_the_window(folder):
    with pytest.raises(UsageError, match="4 of 6 sequences are shorter than a window of 6 frames") as caught:
        read_clips(folder, frames=6)
    assert "brighter/clip 0: 5 frames" in str(caught.value)


@pytest.mark.parametrize("size,hop", [(0, None), (-1, None), (2, 0), (None, 2), (True, None), (2.5, None)])
def test_windows_that_make_no_sense(folder, size, hop):
    with pytest.raises(UsageError):
        read_clips(folder, frames=size, hop=hop)


@pytest.mark.parametrize("share", [0, 1, -0.2, float("nan")])
def test_splits_that_make_no_sense(folder, share):
    with pytest.raises(UsageError, match="share"):
        read_clips(folder).split(share, 0)


def test_a_class_of_one_clip_cannot_be_split():
    one = Sequences.cut([("a", [0] * 9, 0), ("b", [0] * 9, 1), ("c", [0] * 9, 1)], ["x", "y"], size=3)
    with pytest.raises(UsageError, match="'x' comes from one clip"):
        one.split(0.5, 0)


def test_a_model_of_pictures_takes_no_clips(folder):
    from tests.finetune.networks import small_network

    with pytest.raises(UsageError, match="takes no clips"):
        clip_logits(small_network(), [folder / "darker" / "clip 0"])
