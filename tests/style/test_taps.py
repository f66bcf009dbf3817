"""Which taps are chosen where nobody says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import pytest

import modelzoo as mz
from modelzoo.errors import UsageError
from modelzoo.registry import Card
from modelzoo.style.taps import style_taps, trunk
from tests.data_folder import DATA, needs_data
from tests.style.networks import small


def conv(x: Any, width: int, name: str, stride: int = 1) -> Any:
    return keras.layers.Conv2D(width, 3, strides=stride, padding="same", activation="relu", name=name)(x)


def classified(given: Any, x: Any) -> keras.Model:
    return keras.Model(given, keras.layers.Dense(3, name="classes")(keras.layers.GlobalAveragePooling2D()(x)))


def test_style_is_read_at_the_end_of_each_stage() -> None:
    assert style_taps(small()) == (["conv3"], ["conv1", "conv2", "conv3"])


def test_branches_padding_and_pooling_are_not_the_trunk() -> None:
    given = keras.Input((64, 64, 3))
    x = keras.layers.Rescaling(1 / 255, name="rescaled")(given)
    x = keras.layers.ZeroPadding2D(1, name="padded")(x)
    x = conv(x, 4, "stem", 2)
    x = keras.layers.MaxPooling2D(2, name="pool")(x)
    inside = conv(x, 4, "inside")
    x = keras.layers.Add(name="block1")([x, conv(inside, 4, "inside2")])
    x = keras.layers.Concatenate(name="block2")([conv(x, 2, "branch1"), conv(conv(x, 2, "reduce"), 2, "branch2")])
    x = conv(x, 8, "stage8", 2)
    x = conv(x, 8, "stage16", 2)
    x = conv(x, 8, "stage32", 2)
    model = classified(given, x)
    assert trunk(model, "net") == {"stem": 2, "block1": 4, "block2": 4, "stage8": 8, "stage16": 16, "stage32": 32}
    assert style_taps(model) == (["stage8"], ["stem", "block2", "stage8", "stage16"])


def test_a_card_may_say_which() -> None:
    raw = {"title": "t", "task": "classification", "framework": "keras"}
    said = Card.from_dict("net", {**raw, "style": {"content": ["conv2"], "style": ["conv1", "conv3"]}})
    assert style_taps(small(), said) == (["conv2"], ["conv1", "conv3"])
    assert style_taps(small(), Card.from_dict("net", raw)) == style_taps(small())


def test_without_any_map_it_says_what_to_do() -> None:
    given = keras.Input((8,))
    model = keras.Model(given, keras.layers.Dense(3)(keras.layers.Dense(4)(given)))
    with pytest.raises(UsageError, match="not known") as error:
        style_taps(model)
    assert "style_taps=" in str(error.value)


def test_the_bundled_network() -> None:
    model = mz.load_pretrained("inception_v1_scenes")
    expected = ["Conv2d_1a_7x7", "Conv2d_2c_3x3", "Mixed_3c", "Mixed_4f"]
    assert style_taps(model, model.card) == (["Mixed_3c"], expected)


@needs_data
@pytest.mark.parametrize(
    ("name", "file", "content", "style"),
    [
        (
            "bvlc_googlenet",
            "bvlc_googlenet/bvlc_googlenet.caffemodel",
            "inception_3b/output",
            ["conv1/7x7_s2", "conv2/norm2", "inception_3b/output", "inception_4e/output"],
        ),
        (
            "squeezenet_v1.1",
            "squeezenet_v1.1/squeezenet.caffemodel",
            "fire5/concat",
            ["conv1", "fire3/concat", "fire5/concat", "fire9/concat"],
        ),
    ],
)
def test_networks_of_caffe(name: str, file: str, content: str, style: list[str]) -> None:
    model = mz.load_pretrained(name, weights=(DATA or Path()) / "models" / file)
    assert style_taps(model, model.card) == ([content], style)
