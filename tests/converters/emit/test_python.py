"""Keras models as Python files: alone in a fresh process they give the same bits, and they read like written ones."""

from __future__ import annotations

import ast
import importlib.util
import subprocess
import sys
import textwrap
from pathlib import Path
from types import ModuleType

import keras
import numpy as np
import pytest
from keras import layers, ops
from safetensors import safe_open

from converters.emit import write_python
from modelzoo import errors
from modelzoo.networks import build
from tests.converters.emit.models import MODELS, drawn, light, residuals, run, several, slim

#: Runs each file in a folder on the inputs beside it, in a process that has neither modelzoo nor converters.
ALONE = """
import importlib.util, sys
from pathlib import Path

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("modelzoo", "converters", "onnx", "tests"):
            raise ImportError(name)

sys.meta_path.insert(0, Refuse())
import keras
import numpy as np

for path in sorted(Path(sys.argv[1]).glob("*.py")):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    model = module.build()
    given = np.load(path.with_suffix(".in.npz"))
    fed = keras.tree.pack_sequence_as(model.input, [given[key] for key in given])
    results = keras.tree.flatten(model(fed, training=False))
    arrays = {f"out_{n}": np.asarray(keras.ops.cast(item, "float64")) for n, item in enumerate(results)}
    layers = np.array([layer.name for layer in model.layers])
    np.savez(path.with_suffix(".out.npz"), layers=layers, **arrays)
    again = module.build(weights=None)
    assert [layer.get_config() for layer in again.layers] == [layer.get_config() for layer in model.layers]
"""


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"written_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> tuple[Path, dict[str, keras.Model]]:
    """All models written, and run by one fresh process outside the repository."""
    folder = tmp_path_factory.mktemp("written")
    models = {name: make() for name, make in MODELS.items()}
    for name, model in models.items():
        assert write_python(model, folder / f"{name}.py") == folder / f"{name}.py"
        inputs = {f"in_{number:02}": value for number, value in enumerate(drawn(model))}
        np.savez(folder / f"{name}.in.npz", **inputs)
    done = subprocess.run(
        [sys.executable, "-I", "-c", ALONE, str(folder)], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder, models


@pytest.mark.parametrize("name", MODELS)
def test_the_file_alone_gives_the_same_bits(written, name):
    folder, models = written
    found = np.load(folder / f"{name}.out.npz")
    wanted = run(models[name], drawn(models[name]))
    assert len(found.files) == len(wanted) + 1
    for number, array in enumerate(wanted):
        np.testing.assert_array_equal(found[f"out_{number}"], array.astype(np.float64))


@pytest.mark.parametrize("name", MODELS)
def test_layers_keep_their_names_and_weights_are_called_after_them(written, name):
    folder, models = written
    model = models[name]
    wanted = {layer.name for layer in model.layers} | {tensor._keras_history.operation.name for tensor in model.inputs}
    assert sorted(np.load(folder / f"{name}.out.npz")["layers"]) == sorted(wanted)
    with safe_open(folder / f"{name}.safetensors", framework="np") as arrays:
        keys = list(arrays.keys())
        assert len(keys) == sum(len(layer.weights) for layer in model.layers)
        assert {key.partition("/")[0] for key in keys} == {layer.name for layer in model.layers if layer.weights}


@pytest.mark.parametrize("name", MODELS)
def test_the_file_is_formatted(written, name):
    folder, _ = written
    path = folder / f"{name}.py"
    command = [sys.executable, "-m", "ruff", "format", "--isolated", "--line-length", "100", "--diff", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert max(len(line) for line in path.read_text().splitlines()) <= 100
    checked = [sys.executable, "-m", "ruff", "check", "--isolated", "--line-length", "100", "--select", "E,F,I,W,N,UP"]
    done = subprocess.run([*checked, str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


#: Networks of slim -> more lines than this would mean that a repetition was not seen.
NETWORKS = {
    "inception_resnet_v2": 200,
    "inception_v3": 160,
    "mobilenet_v1": 80,
    "mobilenet_v2": 125,
    "mobilenet_v3_small": 190,
    "nasnet_mobile": 350,
    "resnet_v1_50": 115,
    "resnet_v2_50": 120,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_of_slim_becomes_a_short_file(tmp_path, name):
    model = build(name, input_shape=(96, 96, 3), classes=5)
    path = write_python(model, tmp_path / "net.py")
    assert len(path.read_text().splitlines()) <= NETWORKS[name]
    again = load(path).build()
    np.testing.assert_array_equal(run(again, drawn(again))[0], run(model, drawn(model))[0])


@pytest.mark.slow
@pytest.mark.parametrize(("name", "lines"), [("densenet121", 230), ("inception_v1", 100), ("resnet50", 120)])
def test_a_light_network_of_onnx_becomes_a_short_file(tmp_path, name, lines):
    model = light(name)
    path = write_python(model, tmp_path / "net.py")
    assert len(path.read_text().splitlines()) <= lines
    again = load(path).build()
    values = [value[:1] for value in drawn(model)]
    np.testing.assert_array_equal(run(again, values)[0], run(model, values)[0])


def test_each_config_comes_back(tmp_path):
    model = slim()
    again = load(write_python(model, tmp_path / "slim.py")).build()
    mine = {layer.name: layer.get_config() for layer in model.layers}
    assert {layer.name: layer.get_config() for layer in again.layers} == mine


def test_what_slim_repeats_is_a_function_with_the_names_of_its_scopes(tmp_path):
    text = write_python(slim(), tmp_path / "net.py").read_text()
    assert '    x = conv_bn_relu(inputs, 64, 7, strides=2, name="Conv2d_1a_7x7")\n' in text
    assert '    x = mixed(x, 192, 96, 208, 16, 48, 64, name="Mixed_4b")\n' in text
    # One scope has another name in the released checkpoints.
    assert '    x = mixed(x, 256, 160, 320, 32, 128, 128, part="a", name="Mixed_5b")\n' in text
    assert text.count("layers.Conv2D(") == 2
    assert len(text.splitlines()) < 90


def test_counted_names_become_a_number(tmp_path):
    text = write_python(residuals(), tmp_path / "net.py").read_text()
    assert "    x = residual(x, number=3)\n    x = residual(x, number=10)\n" in text
    assert 'name=f"r{number + 6}")([x, y])' in text


def test_without_repetition_each_layer_is_a_line(tmp_path):
    inputs = keras.Input((9, 9, 3), name="in")
    x = layers.Conv2D(4, (3, 5), strides=2, activation="relu", name="c")(inputs)
    x = layers.MaxPooling2D(2, strides=1, name="p")(x)
    x = layers.MaxPooling2D(1, name="q")(x)
    outputs = layers.Dense(2, kernel_initializer="zeros", name="d")(layers.Flatten(name="f")(x))
    text = write_python(keras.Model(inputs, outputs, name="plain"), tmp_path / "plain.py").read_text()
    body = textwrap.dedent(
        """\
        inputs = keras.Input((9, 9, 3), name="in")
        x = layers.Conv2D(4, (3, 5), strides=2, activation="relu", name="c")(inputs)
        x = layers.MaxPooling2D(2, strides=1, name="p")(x)
        x = layers.MaxPooling2D(1, name="q")(x)
        x = layers.Flatten(name="f")(x)
        x = layers.Dense(2, kernel_initializer=keras.initializers.Zeros(), name="d")(x)
        model = keras.Model(inputs, x, name="plain")
        """
    )
    assert textwrap.indent(body, "    ") in text


def test_source_names_that_layer_names_do_not_say_are_in_a_table(tmp_path):
    model = several()
    object.__setattr__(
        model, "source_names", {"both": "net/both:0", "sum": "sum", "left": "left", "x": "x", "gone": "g"}
    )
    module = load(write_python(model, tmp_path / "net.py"))
    assert module.SOURCE_NAMES == {"both": "net/both:0"}
    assert not hasattr(load(write_python(several(), tmp_path / "plain.py")), "SOURCE_NAMES")


# -- names from a hostile file --------------------------------------------------------------------------------------

HOSTILE = (
    '"); import os; os.environ["HURT"] = "1"; ("',
    "'); raise SystemExit('hurt')  # ",
    '"""\nimport os\nos.environ["HURT"] = "1"\n"""',
    "{__import__('os').environ.update(HURT='1')}",
    "\\",
    '\\"',
    "a\n    raise SystemExit",
    "import",
    "build",
    "x",
    "\u202egnp.x",
    "names, names",
)


@pytest.mark.parametrize("repeated", [1, 4], ids=["lines", "blocks"])
def test_no_name_becomes_code(tmp_path, monkeypatch, repeated):
    monkeypatch.delenv("HURT", raising=False)
    inputs = x = keras.Input((8, 8, 2), name=HOSTILE[0] + "input")
    for number in range(repeated):
        for text in HOSTILE:
            y = layers.Conv2D(2, 1, name=f"{text}c{number}")(x)
            y = layers.ReLU(name=f"{text}r{number}")(y)
            x = layers.Add(name=f"{text}a{number}")([x, y])
    model = keras.Model(inputs, x, name=HOSTILE[2])
    object.__setattr__(model, "source_names", {f"{text}c0": f"{text}/0" for text in HOSTILE})
    path = write_python(model, tmp_path / "hostile.py")
    text = path.read_text()
    assert all(character.isprintable() or character == "\n" for character in text)
    tree = ast.parse(text)
    functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    assert {"build", "load"} < functions
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    assert not names & {"os", "SystemExit", "__import__"}
    assert sum(isinstance(node, ast.Import | ast.ImportFrom) for node in ast.walk(tree)) == 5
    module = load(path)
    again = module.build()
    import os

    assert "HURT" not in os.environ
    assert {layer.name for layer in again.layers} == {layer.name for layer in model.layers}
    assert set(module.SOURCE_NAMES) == {f"{text}c0" for text in HOSTILE}
    np.testing.assert_array_equal(run(again, drawn(again))[0], run(model, drawn(model))[0])


@pytest.mark.parametrize("name", ["filters", "name", "conv_relu", "branch_0", "number", "layers", "relu", "np", "part"])
def test_blocks_are_not_called_like_what_is_in_their_scope(tmp_path, name):
    inputs = x = keras.Input((8, 8, 2), name="in")
    for number in range(4):
        y = layers.ReLU(name=f"{name}.{number}.relu_c")(layers.Conv2D(3, 1, name=f"{name}.{number}.c")(x))
        z = layers.ReLU(name=f"{name}.{number}.relu_d")(
            layers.Conv2D(number + 1, 3, padding="same", name=f"{name}.{number}.d")(y)
        )
        z = layers.ReLU(name=f"{name}.{number}.relu_e")(layers.Conv2D(3, 1, name=f"{name}.{number}.e")(z))
        x = layers.Concatenate(name=f"{name}.{number}")([y, z])
    model = keras.Model(inputs, x, name="net")
    again = load(write_python(model, tmp_path / "net.py")).build()
    np.testing.assert_array_equal(run(again, drawn(again))[0], run(model, drawn(model))[0])


# -- what is refused ------------------------------------------------------------------------------------------------


@keras.saving.register_keras_serializable(package="tests")
class Own(layers.Layer):
    def call(self, x):
        return x + 1


def test_layers_that_are_not_of_keras_are_named(tmp_path):
    inputs = keras.Input((4,), name="in")
    x = Own(name="mine")(inputs)
    outputs = layers.Lambda(lambda value: value * 2, name="anything")(x)
    with pytest.raises(errors.ConversionError, match="'mine', 'anything'") as caught:
        write_python(keras.Model(inputs, outputs), tmp_path / "net.py")
    assert 'to="function"' in str(caught.value)
    assert not any(tmp_path.iterdir())


def test_a_graph_function_is_named(tmp_path):
    from onnx import helper

    from converters.keras import to_keras
    from tests.converters.keras.networks import model

    made = to_keras(
        model([helper.make_node("CumSum", ["x", "axis"], ["y"])], {"x": ["N", 4]}, ["y"], {"axis": np.array(1)})
    )
    assert not made.stock_only
    with pytest.raises(errors.ConversionError, match=r"'y' is of class .*GraphFunction") as caught:
        write_python(made, tmp_path / "net.py")
    assert 'to="savedmodel"' in str(caught.value)


def test_a_model_in_the_model_is_named(tmp_path):
    inputs = keras.Input((4,))
    inner = keras.Sequential([keras.Input((4,)), layers.Dense(2)], name="inner")
    with pytest.raises(errors.ConversionError, match="'inner' is a model in the model"):
        write_python(keras.Model(inputs, inner(inputs)), tmp_path / "net.py")


def test_a_model_that_only_python_knows_is_refused(tmp_path):
    class Subclass(keras.Model):
        def call(self, x):
            return x

    with pytest.raises(errors.ConversionError, match="Only functional"):
        write_python(Subclass(), tmp_path / "net.py")


def test_a_constant_too_large_for_source_is_refused(tmp_path):
    inputs = keras.Input((5000,), name="in")
    model = keras.Model(inputs, ops.add(inputs, np.ones((1, 5000), np.float32)))
    with pytest.raises(errors.ConversionError, match="5000 elements"):
        write_python(model, tmp_path / "net.py")
    assert not any(tmp_path.iterdir())


def test_the_place_must_be_a_python_file(tmp_path):
    (tmp_path / "taken.py").mkdir()
    with pytest.raises(errors.UsageError, match=r"NAME\.py"):
        write_python(several(), tmp_path / "net.txt")
    with pytest.raises(errors.UsageError, match="folder"):
        write_python(several(), tmp_path / "taken.py")
    assert [path.name for path in tmp_path.iterdir()] == ["taken.py"]
