"""Whole runs on a small network: they lower the loss, can be put down, and refuse what makes no sense at once."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from modelzoo.errors import ArrayError, CheckpointFormatError, ImageError, UnknownTapError, UsageError
from modelzoo.style import StyleTransfer
from modelzoo.style.colour import chroma
from modelzoo.style.pictures import fitted, scaled_size
from tests.style.networks import picture, small, stripes

CONTENT, STYLE = picture(60, 80), stripes(70, 50)


def transfer(**options: Any) -> StyleTransfer:
    return StyleTransfer(small(), **{"size": 40, **options})


@pytest.mark.parametrize("optimizer", ["adam", "lbfgs"])
def test_the_loss_falls_and_the_step_is_traced_once(optimizer: str) -> None:
    made = transfer(optimizer=optimizer)
    result = made.run(CONTENT, STYLE, steps=30)
    assert (result.dtype, result.shape) == (np.uint8, (30, 40, 3))
    assert made.traces == 1
    totals = [entry["total"] for entry in made.history]
    assert len(totals) == 30
    assert totals[-1] < 0.5 * totals[0]
    if optimizer == "lbfgs":
        assert totals == sorted(totals, reverse=True)
    assert [entry["step"] for entry in made.history] == list(range(30))
    names = ["level", "step", "total", "content conv3", "style conv1", "style conv2", "style conv3", "variation"]
    assert list(made.history[0]) == names


@pytest.mark.parametrize("optimizer", ["adam", "lbfgs"])
@pytest.mark.parametrize(
    ("levels", "after", "colours"), [(1, 7, None), (2, 4, "luminance"), (2, 10, None), (2, 13, "match")]
)
def test_put_down_and_taken_up_gives_the_same_picture(
    tmp_path: Path, optimizer: str, levels: int, after: int, colours: str | None
) -> None:
    file = tmp_path / "run.safetensors"
    options: dict[str, Any] = {"optimizer": optimizer, "levels": levels, "preserve_colours": colours}
    whole = transfer(**options)
    expected = whole.run(CONTENT, [STYLE, CONTENT], blend=[2, 1], steps=10, init="noise")
    first, steps = transfer(**options), 0

    def stop() -> bool:
        nonlocal steps
        steps += 1
        return steps == after

    given: dict[str, Any] = {"blend": [2, 1], "steps": 10, "init": "noise", "checkpoint": file}
    part = first.run(CONTENT, [STYLE, CONTENT], **given, stop=stop)
    assert first.interrupted
    assert len(first.history) == after
    assert not np.array_equal(part, expected)
    second = transfer(**options)
    result = second.run(CONTENT, [STYLE, CONTENT], **given, resume=True)
    np.testing.assert_array_equal(result, expected)
    assert second.history == whole.history
    assert not second.interrupted
    assert [path.name for path in tmp_path.iterdir()] == [file.name]


def test_ctrl_c_keeps_the_picture_so_far(tmp_path: Path) -> None:
    file = tmp_path / "run.safetensors"
    before = signal.getsignal(signal.SIGINT)

    def interrupt(step: int, _: Any) -> None:
        if step == 3:
            os.kill(os.getpid(), signal.SIGINT)

    made = transfer()
    part = made.run(CONTENT, STYLE, steps=8, every=1, on_picture=interrupt, checkpoint=file)
    assert made.interrupted
    assert len(made.history) == 3
    assert part.shape == (30, 40, 3)
    assert signal.getsignal(signal.SIGINT) is before
    result = transfer().run(CONTENT, STYLE, steps=8, checkpoint=file, resume=True)
    np.testing.assert_array_equal(result, transfer().run(CONTENT, STYLE, steps=8))


def test_a_second_ctrl_c_does_not_wait() -> None:
    def insist(step: int, _: Any) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        transfer().run(CONTENT, STYLE, steps=3, every=1, on_picture=insist)
    assert signal.getsignal(signal.SIGINT) is before


def test_more_steps_than_first_wanted(tmp_path: Path) -> None:
    file = tmp_path / "run.safetensors"
    transfer().run(CONTENT, STYLE, steps=4, checkpoint=file, checkpoint_every=4)
    longer = transfer()
    result = longer.run(CONTENT, STYLE, steps=9, checkpoint=file, resume=True)
    np.testing.assert_array_equal(result, transfer().run(CONTENT, STYLE, steps=9))


@pytest.mark.parametrize(
    ("options", "given", "says"),
    [
        ({"style_weight": 5.0}, {}, "weights"),
        ({"pooling": "own"}, {}, "network"),
        ({"optimizer": "adam"}, {}, "optimizer"),
        ({"size": 44}, {}, "size"),
        ({}, {"init": "noise"}, "init"),
        ({}, {"seed": 1}, "seed"),
        ({}, {"styles": CONTENT}, "styles"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused(
    tmp_path: Path, options: dict[str, Any], given: dict[str, Any], says: str
) -> None:
    file = tmp_path / "run.safetensors"
    transfer().run(CONTENT, STYLE, steps=2, checkpoint=file, checkpoint_every=1)
    styles = given.pop("styles", STYLE)
    with pytest.raises(CheckpointFormatError, match=says):
        transfer(**options).run(CONTENT, styles, steps=3, checkpoint=file, resume=True, **given)


def test_what_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "run.safetensors"
    with pytest.raises(CheckpointFormatError, match="no checkpoint to resume"):
        transfer().run(CONTENT, STYLE, checkpoint=file, resume=True)
    transfer().run(CONTENT, STYLE, steps=1, checkpoint=file, checkpoint_every=1)
    whole = file.read_bytes()
    for data in (b"", b"\0" * 40, whole[: len(whole) // 2], whole[:-5], whole.replace(b"modelzoo", b"modelzoO")):
        file.write_bytes(data)
        with pytest.raises(CheckpointFormatError):
            transfer().run(CONTENT, STYLE, checkpoint=file, resume=True)


def test_intermediate_pictures_come_every_so_often() -> None:
    seen: dict[int, np.ndarray] = {}
    result = transfer(levels=2).run(CONTENT, STYLE, steps=6, every=4, on_picture=seen.__setitem__)
    assert {step: made.shape for step, made in seen.items()} == {4: (15, 20, 3), 8: (30, 40, 3), 12: (30, 40, 3)}
    np.testing.assert_array_equal(seen[12], result)


def test_chroma_is_kept_and_luminance_is_not() -> None:
    kept = transfer(preserve_colours="luminance").run(CONTENT, STYLE, steps=20)
    scene = fitted(CONTENT, (30, 40))
    assert np.abs(chroma(kept) - chroma(scene)).max() <= 1
    assert np.abs(kept.astype(int) - scene).mean() > 4
    free = transfer().run(CONTENT, STYLE, steps=20)
    assert np.abs(chroma(free) - chroma(scene)).max() > 20


def test_matched_styles_bring_the_colours_of_the_content() -> None:
    options: dict[str, Any] = {"content_weight": 0.0}
    scene = fitted(CONTENT, (30, 40)).reshape(-1, 3).mean(axis=0)
    free = transfer(**options).run(CONTENT, STYLE, steps=25, init="noise").reshape(-1, 3).mean(axis=0)
    matched = transfer(**options, preserve_colours="match").run(CONTENT, STYLE, steps=25, init="noise")
    assert np.abs(matched.reshape(-1, 3).mean(axis=0) - scene).max() < np.abs(free - scene).max()


def test_blend_weights_move_the_picture_from_one_style_to_the_other() -> None:
    other = picture(50, 50, seed=8)

    def run(blend: list[float] | None) -> np.ndarray:
        return transfer().run(CONTENT, [STYLE, other], blend=blend, steps=15)

    first, second = run([1, 0]), run([0, 1])
    np.testing.assert_array_equal(first, transfer().run(CONTENT, STYLE, steps=15))
    half = run([3, 3])
    np.testing.assert_array_equal(half, run(None))
    near, far = (np.abs(made.astype(float) - second).mean() for made in (half, first))
    assert 0 < near < far


def test_beginnings() -> None:
    first: dict[str, np.ndarray] = {}
    for init in ("content", "style", "noise", picture(20, 20, seed=3)):
        name = init if isinstance(init, str) else "picture"
        made = transfer(optimizer="adam", learning_rate=1e-3)
        first[name] = made.run(CONTENT, STYLE, steps=1, init=init)
    np.testing.assert_array_equal(first["content"], fitted(CONTENT, (30, 40)))
    np.testing.assert_array_equal(first["style"], fitted(STYLE, (30, 40)))
    np.testing.assert_array_equal(first["picture"], fitted(picture(20, 20, seed=3), (30, 40)))
    assert first["noise"].std() == pytest.approx(255 / 12**0.5, rel=0.05)
    again = [transfer().run(CONTENT, STYLE, steps=2, init="noise", seed=seed) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(again[0], again[1])
    assert not np.array_equal(again[0], again[2])


def test_sizes() -> None:
    assert transfer(size=None).run(CONTENT, STYLE, steps=1).shape == (60, 80, 3)
    assert transfer(size=100).run(CONTENT, STYLE, steps=1).shape == (75, 100, 3)
    made = transfer(size=40, style_size=20, levels=2)
    assert [made._style_size(STYLE, [20, 40], level) for level in (0, 1)] == [(10, 7), (20, 14)]
    assert made._style_size(STYLE, [2000, 4000], 1) == (20, 14)
    assert transfer(size=4000)._style_size(STYLE, [4000], 0) == STYLE.shape[:2]  # never enlarged
    assert scaled_size(np.zeros((1, 300, 3), np.uint8), 100) == (1, 100)


def test_texture_alone_needs_no_content() -> None:
    made = transfer(content_weight=0.0)
    made.run(CONTENT, STYLE, steps=20, init="noise")
    assert made.history[-1]["total"] < 0.1 * made.history[0]["total"]
    assert not any(name.startswith("content") for name in made.history[0])


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "LA", "1", "CMYK", "I;16"])
def test_styles_of_every_mode_are_converted_by_the_stated_rule(tmp_path: Path, mode: str) -> None:
    from modelzoo.preprocess import decode_image

    path = tmp_path / ("a.jpg" if mode == "CMYK" else "a.png")
    if mode == "I;16":
        Image.fromarray((STYLE[..., 0].astype(np.uint16) << 8) + 7).save(path)
    else:
        Image.fromarray(STYLE).convert(mode).save(path)
    with Image.open(path) as image:
        assert image.mode == mode or (mode == "I;16" and image.mode.startswith("I"))
    made = transfer().run(CONTENT, path, steps=2)
    np.testing.assert_array_equal(made, transfer().run(CONTENT, decode_image(path), steps=2))


def test_grey_arrays_are_pictures_too() -> None:
    grey = STYLE[..., 0]
    expected = transfer().run(CONTENT, np.repeat(grey[..., None], 3, axis=2), steps=2)
    np.testing.assert_array_equal(transfer().run(CONTENT, grey, steps=2), expected)
    np.testing.assert_array_equal(transfer().run(CONTENT, grey[..., None], steps=2), expected)


@pytest.mark.parametrize(
    ("content", "styles", "error", "says"),
    [
        (CONTENT, picture(40, 3), ImageError, "3 x 40"),
        (picture(3, 40), STYLE, ImageError, "40 x 3"),
        (CONTENT, [], UsageError, "no style"),
        (CONTENT, STYLE.astype(np.float32), ArrayError, "uint8"),
        (CONTENT, np.full((20, 20, 3), np.nan), ArrayError, "NaN"),
        (CONTENT, np.zeros((20, 20, 4), np.uint8), ArrayError, "style picture"),
        (CONTENT, np.zeros((20, 0, 3), np.uint8), ArrayError, "style picture"),
        (CONTENT, 7, ArrayError, "style picture"),
        ("nowhere.png", STYLE, ImageError, "nowhere.png"),
    ],
)
def test_bad_pictures_are_refused(content: Any, styles: Any, error: type[Exception], says: str) -> None:
    made = transfer()
    made._objective = None  # type: ignore[method-assign, assignment]  # nothing long has begun by then
    with pytest.raises(error) as refusal:
        made.run(content, styles)
    assert says in str(refusal.value)


@pytest.mark.parametrize(
    "given",
    [
        {"blend": [1, 2]},
        {"blend": [-1]},
        {"blend": [0]},
        {"blend": [float("nan")]},
        {"steps": 0},
        {"steps": 2.5},
        {"every": -1},
        {"resume": True},
        {"checkpoint_every": 0},
    ],
)
def test_runs_that_make_no_sense_are_refused(given: dict[str, Any]) -> None:
    made = transfer()
    made._objective = None  # type: ignore[method-assign, assignment]
    with pytest.raises(UsageError):
        made.run(CONTENT, STYLE, **given)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"style_taps": ["conv7"]}, UnknownTapError),
        ({"content_taps": "vector"}, UsageError),
        ({"style_taps": []}, UsageError),
        ({"style_taps": {"conv1": 0}}, UsageError),
        ({"style_taps": {"conv1": float("inf")}}, UsageError),
        ({"content_weight": -1}, UsageError),
        ({"style_weight": float("nan")}, UsageError),
        ({"content_weight": 0, "style_weight": 0}, UsageError),
        ({"optimizer": "sgd"}, UsageError),
        ({"layer_weights": "own"}, UsageError),
        ({"preserve_colours": "yes"}, UsageError),
        ({"pooling": "sum"}, UsageError),
        ({"learning_rate": 0}, UsageError),
        ({"levels": 0}, UsageError),
        ({"size": 0}, UsageError),
        ({"memory": 0}, UsageError),
        ({"weights": None}, UsageError),
    ],
)
def test_transfers_that_make_no_sense_are_refused(options: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        transfer(**options)


def test_a_loss_that_runs_away_is_said() -> None:
    model = small()
    conv = model.get_layer("conv1")
    conv.set_weights([w.numpy() * np.float32(1e25) for w in conv.weights])
    for optimizer in ("adam", "lbfgs"):
        with pytest.raises(UsageError, match="not finite"):
            StyleTransfer(model, size=40, optimizer=optimizer, layer_weights="published").run(CONTENT, STYLE, steps=3)


def test_a_feature_extractor_is_a_backbone_too() -> None:
    import modelzoo as mz

    fx = mz.load_pretrained("inception_v1_scenes", features=["Conv2d_2c_3x3", "Mixed_3c"])
    made = StyleTransfer(fx, content_taps="Mixed_3c", style_taps={"Conv2d_2c_3x3": 3, "Mixed_3c": 1}, size=64)
    made.run(CONTENT, STYLE, steps=3)
    assert made.weights.style_taps == {"Conv2d_2c_3x3": 0.75, "Mixed_3c": 0.25}
    assert made.history[-1]["total"] < made.history[0]["total"]


def test_averages_take_the_place_of_pooling_where_they_can() -> None:
    assert [transfer(pooling=given).network.pooling for given in ("auto", "avg", "max", "own")] == [
        "avg", "avg", "max", None
    ]  # fmt: skip
    assert transfer(content_taps="conv1", style_taps="conv1").network.pooling is None
    with pytest.raises(UsageError, match="no pooling layer"):
        transfer(content_taps="conv1", style_taps="conv1", pooling="avg")


def test_a_checkpoint_that_cannot_be_written_costs_no_picture(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("no folder")
    result = transfer().run(
        CONTENT, STYLE, steps=2, checkpoint=tmp_path / "file" / "run.safetensors", checkpoint_every=1
    )
    np.testing.assert_array_equal(result, transfer().run(CONTENT, STYLE, steps=2))
    assert "cannot be resumed" in caplog.text


def test_a_killed_run_goes_on_from_the_last_checkpoint(tmp_path: Path) -> None:
    """Checkpoints are counted over all resolutions, so that short ones have some too."""
    file = tmp_path / "run.safetensors"
    given: dict[str, Any] = {"steps": 5, "checkpoint": file, "checkpoint_every": 7}

    def die(step: int, _: Any) -> None:
        if step == 9:
            raise RuntimeError("killed")

    made = transfer(levels=2)
    with pytest.raises(RuntimeError, match="killed"):
        made.run(CONTENT, STYLE, **given, every=1, on_picture=die)
    second = transfer(levels=2)
    seen: list[int] = []
    result = second.run(CONTENT, STYLE, **given, resume=True, every=1, on_picture=lambda step, _: seen.append(step))
    assert seen == [8, 9, 10]
    np.testing.assert_array_equal(result, transfer(levels=2).run(CONTENT, STYLE, steps=5))


def test_a_bar_is_drawn_where_it_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    transfer().run(CONTENT, STYLE, steps=2)
    assert capsys.readouterr() == ("", "")
    transfer().run(CONTENT, STYLE, steps=2, progress=None)  # no terminal
    assert capsys.readouterr() == ("", "")
    transfer().run(CONTENT, STYLE, steps=2, progress=True)
    said = capsys.readouterr()
    assert said.out == ""
    assert "2/2" in said.err
    assert "loss=" in said.err
