"""Keras models as ONNX: onnxruntime gives Keras' numbers, under the source's names."""

from __future__ import annotations

import keras
import numpy as np
import onnx
import onnxruntime
import pytest
from keras import layers

from converters.emit import write_onnx
from modelzoo import errors
from tests.converters.emit.models import MODELS, drawn, recurrent, run, several


def computed(proto: onnx.ModelProto, names: list[str], values: list[np.ndarray]) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    results = [item.name for item in session.get_outputs()]
    return dict(zip(results, session.run(results, dict(zip(names, values, strict=True))), strict=True))


@pytest.mark.parametrize(
    "name", ["converted", "operations", "residuals", "sequential", "shufflenet", "slim", "squeezenet"]
)
def test_onnxruntime_agrees(tmp_path, name):
    model = MODELS[name]()
    proto = write_onnx(model, tmp_path / "net.onnx")
    assert onnx.load(tmp_path / "net.onnx") == proto
    (item,), (result,) = proto.graph.input, proto.graph.output
    if name == "slim":
        assert (item.name, result.name) == ("input", "Logits")
    values = drawn(model)
    (found,) = computed(proto, [item.name], values).values()
    (wanted,) = run(model, values)
    assert found.shape == wanted.shape
    assert np.abs(found - wanted).max() <= 1e-4 * np.abs(wanted).max()


def test_names_and_layout_are_the_models():
    proto = write_onnx(MODELS["converted"]())
    assert [item.name for item in proto.graph.input] == ["x"]
    assert [item.name for item in proto.graph.output] == ["y"]
    sizes = [(dim.dim_param, dim.dim_value) for dim in proto.graph.input[0].type.tensor_type.shape.dim]
    assert [value for _, value in sizes] == [0, 32, 32, 3] and sizes[0][0]


def test_several_inputs_and_outputs_have_their_names():
    model = several()
    proto = write_onnx(model)
    values = drawn(model)
    found = computed(proto, ["left", "x"], values)
    wanted = model(dict(zip(("left", "x"), values, strict=True)), training=False)
    assert {"a/out", "sum:0"} < set(found) and len(found) == 4
    for name in ("a/out", "sum:0"):
        np.testing.assert_allclose(found[name], wanted[name], rtol=1e-4, atol=1e-5)


def test_a_name_that_the_graph_has_already_steps_aside():
    inputs = keras.Input((4,), name="in")
    made = layers.Dense(3, name="d")(layers.ReLU(name="r")(inputs))
    model = keras.Model(inputs, made)
    taken = [name for node in write_onnx(model).graph.node for name in node.output if name != "d"]
    object.__setattr__(model, "input_sources", (taken[0],))
    proto = write_onnx(model)
    (value,) = drawn(model)
    (found,) = computed(proto, [taken[0]], [value]).values()
    np.testing.assert_allclose(found, run(model, [value])[0], rtol=1e-4, atol=1e-5)


def test_an_input_that_nothing_reads_is_no_trouble():
    left, right = keras.Input((4,), name="left"), keras.Input((4,), name="right")
    model = keras.Model([left, right], [layers.ReLU(name="r")(right), right])
    proto = write_onnx(model)
    names = [item.name for item in proto.graph.input]
    values = dict(zip(("left", "right"), drawn(model), strict=True))
    found = computed(proto, names, [values[name] for name in names])
    np.testing.assert_array_equal(found["r"], np.maximum(values["right"], 0))
    np.testing.assert_array_equal(found["right_1"], values["right"])


def test_recurrent_layers_agree():
    model = recurrent()
    values = drawn(model)
    (found,) = computed(write_onnx(model), ["sequence"], values).values()
    (wanted,) = run(model, values)
    assert np.abs(found - wanted).max() <= 1e-4 * np.abs(wanted).max()


def test_a_model_that_only_python_knows_is_refused():
    class Subclass(keras.Model):
        def call(self, x):
            return x

    with pytest.raises(errors.ConversionError, match="Only functional"):
        write_onnx(Subclass())


def test_nothing_is_left_where_it_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(errors.DiskError):
        write_onnx(MODELS["sequential"](), tmp_path / "file" / "net.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def big_network() -> keras.Model:
    """Kernels above 65,536 numbers of every kind that leaves the graph for tf2onnx, one of them read twice."""
    x = inputs = keras.Input((12, 12, 96), name="x")
    x = layers.Conv2D(96, 3, padding="same", activation="gelu")(x)
    x = layers.DepthwiseConv2D(9, padding="same", depth_multiplier=10)(x)
    x = layers.Conv2D(192, 3, groups=2, dilation_rate=2, use_bias=False)(x)
    x = layers.BatchNormalization()(x)
    shared = layers.Dense(400, name="shared")
    x = layers.Dense(400)(layers.Flatten()(x))
    return keras.Model(inputs, layers.Dense(5)(shared(shared(x))))


def test_big_kernels_go_around_tf2onnx(monkeypatch):
    import converters.emit.onnx as module

    seen: dict[str, tuple[int, ...]] = {}
    take = module.take_weights

    def taking(graph):
        found = take(graph)
        seen.update({name: array.shape for name, array in found.items()})
        return found

    monkeypatch.setattr(module, "take_weights", taking)
    model = big_network()
    proto = write_onnx(model)
    # Keras computes grouped convolutions in a function of their own, whose kernel stays.
    assert sorted(seen.values()) == [(3, 3, 96, 96), (9, 9, 96, 10), (400, 400), (12288, 400)]
    assert len(proto.graph.input) == 1
    kinds = [node.op_type for node in proto.graph.node]
    assert kinds.count("Conv") == 3
    big = [item for item in proto.graph.initializer if np.prod(item.dims) > 65536]
    assert len(big) == 5, "each once, in the form that its operator takes"
    values = drawn(model)
    (found,) = computed(proto, [proto.graph.input[0].name], values).values()
    (wanted,) = run(model, values)
    assert np.abs(found - wanted).max() <= 1e-4 * np.abs(wanted).max()
