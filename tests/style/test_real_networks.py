"""GoogLeNet and SqueezeNet on photographs: the styles of their taps are met, whatever the scale of their values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import modelzoo as mz
from modelzoo.errors import UsageError
from modelzoo.preprocess import Preprocess, decode_image
from modelzoo.style import StyleTransfer, TapNetwork, style_taps
from modelzoo.style.colour import chroma
from modelzoo.style.pictures import fitted
from tests.data_folder import DATA, needs_data
from tests.style.networks import stripes

MODELS = (DATA or Path()) / "models"
PHOTOS = (DATA or Path()) / "photos"
FILES = {
    "bvlc_googlenet": MODELS / "bvlc_googlenet" / "bvlc_googlenet.caffemodel",
    "squeezenet_v1.1": MODELS / "squeezenet_v1.1" / "squeezenet.caffemodel",
}

pytestmark = needs_data


@pytest.fixture(scope="module", params=sorted(FILES))
def network(request: pytest.FixtureRequest) -> Any:
    return mz.load_pretrained(request.param, weights=FILES[request.param])


def test_style_comes_and_content_gives_way_to_it(network: Any) -> None:
    content = {}
    for weight in (1.0, 30.0):
        transfer = StyleTransfer(network, size=96, style_weight=weight)
        result = transfer.run(PHOTOS / "caffe_cat.jpg", PHOTOS / "puzzle_vgg.jpeg", steps=20)
        assert result.shape == (72, 96, 3)
        first, last = transfer.history[0], transfer.history[-1]
        styles = [name for name in first if name.startswith("style")]
        assert len(styles) == 4
        for name in styles:
            assert last[name] < 0.9 * first[name], name
        (name,) = (name for name in first if name.startswith("content"))
        assert first[name] == pytest.approx(0, abs=1e-6)
        content[weight] = last[name]
    assert 0 < content[1.0] < 0.8 * content[30.0]


def test_losses_of_layers_are_of_one_order_of_magnitude(network: Any) -> None:
    spread = {}
    for kind in ("auto", "published"):
        transfer = StyleTransfer(network, size=96, layer_weights=kind, optimizer="adam")
        transfer.run(PHOTOS / "caffe_cat.jpg", PHOTOS / "tiger_vgg.jpeg", steps=1)
        terms = [value for name, value in transfer.history[0].items() if name.startswith("style")]
        spread[kind] = max(terms) / min(terms)
    assert spread["auto"] < 30
    assert spread["published"] > 20 * spread["auto"]


def test_colours_of_a_photograph_stay(network: Any) -> None:
    transfer = StyleTransfer(network, size=96, preserve_colours="luminance")
    content = decode_image(PHOTOS / "elephant_keras.jpg")
    result = transfer.run(content, stripes(100, 100), steps=10)
    scene = fitted(content, result.shape[:2])
    assert np.abs(chroma(result) - chroma(scene)).max() <= 1
    assert np.abs(result.astype(int) - scene).mean() > 3


def test_at_its_own_size_it_is_the_model_itself(network: Any) -> None:
    _, style = style_taps(network, network.card)
    taps = TapNetwork(network, style, preprocess=network.preprocess)
    pixels = np.random.default_rng(0).integers(0, 256, network.input_shape[1:], np.uint8)
    prepared = Preprocess("caffe", geometry="keep")(pixels)
    theirs = keras.Model(network.input, {tap: network.taps[tap].tensor for tap in style})(prepared)
    for tap, value in taps(pixels[None].astype(np.float32)).items():
        wanted = np.asarray(theirs[tap])
        np.testing.assert_allclose(value, wanted, rtol=1e-4, atol=1e-5 * np.abs(wanted).max(), err_msg=tap)


def test_a_network_with_its_channels_first_is_refused() -> None:
    model = mz.convert(MODELS / "samplenet" / "samplenet.pb", to="keras")
    with pytest.raises(UsageError, match="channels last"):
        StyleTransfer(model, preprocess=Preprocess("identity"), content_taps="relu_conv2", style_taps="relu_conv1")


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["adam", "lbfgs"])
def test_put_down_and_taken_up_gives_the_same_picture(network: Any, optimizer: str, tmp_path: Path) -> None:
    given: dict[str, Any] = {"steps": 8, "checkpoint": tmp_path / "run.safetensors", "checkpoint_every": 3}
    pictures = PHOTOS / "caffe_cat.jpg", PHOTOS / "tiger_vgg.jpeg"
    whole = StyleTransfer(network, size=96, optimizer=optimizer)
    expected = whole.run(*pictures, steps=8)
    StyleTransfer(network, size=96, optimizer=optimizer).run(*pictures, **{**given, "steps": 5})
    second = StyleTransfer(network, size=96, optimizer=optimizer)
    np.testing.assert_array_equal(second.run(*pictures, **given, resume=True), expected)
    assert second.history == whole.history
