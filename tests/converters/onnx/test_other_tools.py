"""Networks that other people's tools wrote agree with onnxruntime, as functions and as Keras models.

Those of magika and rapidocr-onnxruntime come in their wheels; Keras models are exported here by tf2onnx, models of
scikit-learn by skl2onnx. What is not installed is skipped.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from tests.converters.onnx.agreement import RTOL, agree
from tests.converters.onnx.keras_exports import NETWORKS, export, shaken
from tests.converters.onnx.sklearn_exports import MODELS

BATCHES = (1, 5)

#: Of these every node is a Keras layer or operation.
STOCK_NETWORKS = {"fixed_unet", "mobilenet", "separable_1d", "two_towers", "volumes"}

#: Shorter ones, for the README's test command; `pytest -m slow` converts all.
QUICK_NETWORKS = ("lstm_classifier", "mobilenet", "transformer_encoder", "two_towers", "unet")
QUICK_MODELS = (
    "boosted_binary",
    "boosted_regressor",
    "forest_classifier",
    "table",
    "text_pipeline",
    "weighted_neighbours",
)


def split(names: Any, quick: tuple[str, ...]) -> list[Any]:
    assert set(quick) <= set(names)
    return [name if name in quick else pytest.param(name, marks=pytest.mark.slow) for name in names]


def carried(package: str, path: str) -> onnx.ModelProto:
    """The network that a wheel carries; the package is not imported."""
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        pytest.skip(f"{package} is not installed")
    return onnx.load(Path(next(iter(found.submodule_search_locations))) / path)


def pictures(height: int, width: int) -> Callable[[np.random.Generator, int], np.ndarray]:
    """Lines of text as OCR sees them: (N, 3, H, W), -1 to 1."""
    from PIL import Image, ImageDraw

    def draw(generator: np.random.Generator, batch: int) -> np.ndarray:
        made = np.empty((batch, 3, height, width), np.float32)
        for row in made:
            page = Image.new("RGB", (width, height), (255, 250, 240))
            text = "".join(generator.choice(list("abcdefgh XYZ 0123456789"), 12))
            ImageDraw.Draw(page).text((4, height // 4), text, fill=(20, 0, 60), font_size=height // 2)
            row[:] = (np.asarray(page, np.float32).transpose(2, 0, 1) / 255 - 0.5) / 0.5
        return made

    return draw


@pytest.mark.parametrize("name", split(NETWORKS, QUICK_NETWORKS))
def test_keras_networks_that_tf2onnx_exported(name: str):
    build, draws = NETWORKS[name]
    counts = {len(options) for options in draws.values()}
    assert len(counts) == 1

    def feeds() -> Iterator[dict[str, np.ndarray]]:
        generator = np.random.default_rng(1)
        for batch in BATCHES:
            for size in range(counts.copy().pop()):
                yield {key: options[size](generator, batch) for key, options in draws.items()}

    found = agree(export(shaken(build())), feeds())
    assert found.error <= RTOL and found.function_error <= RTOL
    if name in STOCK_NETWORKS:
        assert found.pieces == 0


@pytest.mark.parametrize("name", split(MODELS, QUICK_MODELS))
def test_scikit_learn_models_that_skl2onnx_exported(name: str):
    pytest.importorskip("sklearn")
    pytest.importorskip("skl2onnx")
    made = MODELS[name]()
    generator = np.random.default_rng(1)
    agree(made.proto, [made.draw(generator, batch) for batch in (*BATCHES, 17)])


def test_magika_knows_types_of_files():
    proto = carried("magika", "models/standard_v3_3/model.onnx")
    generator = np.random.default_rng(2)
    agree(proto, [{"bytes": generator.integers(0, 257, (batch, 2048)).astype(np.int32)} for batch in BATCHES])


@pytest.mark.parametrize(
    ("file", "sizes", "rtol", "pieces"),
    [
        pytest.param("ch_PP-OCRv4_det_infer.onnx", [(64, 96), (96, 160)], RTOL, 0, id="detector"),
        pytest.param("ch_ppocr_mobile_v2.0_cls_infer.onnx", [(48, 192)], RTOL, 0, id="direction"),
        # So sensitive that float32 on its own is not exact to 1e-4 (onnxruntime is 4e-5 away from float64).
        pytest.param(
            "ch_PP-OCRv4_rec_infer.onnx", [(48, 160), (48, 320)], 5e-4, 1, id="reader", marks=pytest.mark.slow
        ),
    ],
)
def test_rapidocr_reads_lines_of_any_width(file: str, sizes: list[tuple[int, int]], rtol: float, pieces: int):
    proto = carried("rapidocr_onnxruntime", f"models/{file}")
    generator = np.random.default_rng(2)
    feeds = [{"x": pictures(*size)(generator, batch)} for batch in BATCHES for size in sizes]
    assert agree(proto, feeds, rtol=rtol).pieces <= pieces


def test_what_is_wrong_is_found():
    build, draws = NETWORKS["two_towers"]
    proto = export(shaken(build()))
    other = onnx.ModelProto()
    other.CopyFrom(proto)
    weight = next(item for item in other.graph.initializer if len(item.dims) == 2)
    array = onnx.numpy_helper.to_array(weight) + np.float32(0.01)
    weight.CopyFrom(onnx.numpy_helper.from_array(array, weight.name))
    generator = np.random.default_rng(0)
    feeds = [{key: options[0](generator, 2) for key, options in draws.items()}]
    with pytest.raises(AssertionError):
        agree(proto, feeds, against=other)
