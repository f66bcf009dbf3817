"""`restore`: arrays of every format and naming into models of one's own, and what is refused."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from modelzoo import errors, networks
from modelzoo.checkpoints.write_v1 import write_v1
from modelzoo.checkpoints.write_v2 import write_v2
from modelzoo.networks.restore import RestoreReport, restore

layers = keras.layers


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def small(suffix: str = "", classes: int = 4) -> keras.Model:
    """Convolution, normalisation, depthwise convolution, two dense layers."""
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(5, 3, name=f"conv1{suffix}")(inputs)
    x = layers.BatchNormalization(name=f"bn1{suffix}")(x)
    x = layers.DepthwiseConv2D(3, use_bias=False, name=f"dw1{suffix}")(x)
    x = layers.Dense(6, name=f"fc1{suffix}")(layers.GlobalAveragePooling2D()(x))
    return keras.Model(inputs, layers.Dense(classes, name=f"fc2{suffix}")(x))


def values(model: keras.Model) -> dict[str, np.ndarray]:
    return {weight.path: np.array(np.asarray(weight)) for weight in model.weights}


def filled(model: keras.Model, seed: int = 1) -> keras.Model:
    """The model with a different random number in every weight."""
    generator = np.random.default_rng(seed)
    for weight in model.weights:
        weight.assign(generator.uniform(0.1, 1, weight.shape))
    return model


def same(model: keras.Model, other: keras.Model) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(model.weights, other.weights, strict=True))


NAMINGS = {
    "keras 3": {},
    "slim": {"kernel": "weights", "bias": "biases"},
    "slim below a scope": {"kernel": "weights", "bias": "biases", "scope": "vgg_16/"},
    "caffe-tensorflow": {
        "kernel": "weights", "bias": "biases", "gamma": "scale", "beta": "offset", "moving_mean": "mean",
        "moving_variance": "variance",
    },
    "keras 1": {
        "kernel": "L_W:0", "bias": "L_b:0", "gamma": "L_gamma:0", "beta": "L_beta:0",
        "moving_mean": "L_running_mean:0", "moving_variance": "L_running_std:0",
    },
    "keras 1, made unique": {"kernel": "L_W_1:0", "bias": "L_b_1:0"},
    "keras 2": {"scope": "L/", "end": ":0"},
    "keras 2, made unique": {"scope": "L_3/", "end": ":0"},
}  # fmt: skip


def renamed(model: keras.Model, naming: dict[str, str]) -> dict[str, np.ndarray]:
    """A model's arrays under the names of another framework; `L` stands for the layer's name."""
    arrays = {}
    for path, array in values(model).items():
        layer, kind = path.split("/")
        scope = naming.get("scope", "")
        name = f"{layer}/{scope}" if "L" in scope else f"{scope}{layer}/"
        name += naming.get(kind, kind + naming.get("end", ""))
        arrays[name.replace("L", layer)] = array
    return arrays


@pytest.mark.parametrize("naming", NAMINGS, ids=str)
@pytest.mark.parametrize("form", ["mapping", "tf-v1", "tf-v2", "npz", "npy"])
def test_every_naming_in_every_format(naming, form, tmp_path):
    source, model = filled(small()), small()
    arrays = renamed(source, NAMINGS[naming])
    where: object = arrays
    if form == "tf-v1":
        where = write_v1(tmp_path / "model.ckpt", arrays)
    elif form == "tf-v2":
        write_v2(tmp_path / "model.ckpt", arrays)
        where = tmp_path / "model.ckpt"
    elif form == "npz":
        np.savez(tmp_path / "model.npz", **arrays)
        where = tmp_path / "model.npz"
    elif form == "npy":
        table: dict[str, dict[str, np.ndarray]] = {}
        for name, array in arrays.items():
            table.setdefault(name.rpartition("/")[0], {})[name.rpartition("/")[2]] = array
        np.save(tmp_path / "model.npy", table, allow_pickle=True)
        where = tmp_path / "model.npy"
    report = restore(model, where)
    assert same(model, source)
    assert report.complete and len(report.matched) == len(model.weights)
    assert report.matched["conv1/kernel"] in arrays


def mixed() -> keras.Model:
    """Recurrent layers, a bidirectional one, attention, an embedding and a nested model."""
    inputs = keras.Input((6,), dtype="int32")
    x = layers.Embedding(9, 4, name="words")(inputs)
    x = layers.LSTM(3, return_sequences=True, name="memory")(x)
    x = layers.Bidirectional(layers.GRU(2, return_sequences=True), name="both")(x)
    x = layers.MultiHeadAttention(2, 3, name="looks")(x, x)
    x = layers.SeparableConv1D(5, 3, name="wide")(x)
    inner = [keras.Input((20,)), layers.Dense(5, name="d"), layers.BatchNormalization(name="b")]
    x = keras.Sequential(inner, name="inner")(layers.Flatten()(x))
    x = layers.Dropout(0.5)(x)
    return keras.Model(inputs, layers.Dense(2, name="out")(x))


@pytest.mark.parametrize("form", ["m.weights.h5", "m.keras", "m.h5", "checkpoint"])
def test_what_keras_itself_writes(form, tmp_path):
    source = filled(mixed())
    source.compile("adam", "mse")
    source.optimizer.build(source.trainable_variables)
    path = tmp_path / form
    if form == "checkpoint":
        path = tf.train.Checkpoint(model=source, optimizer=source.optimizer).save(str(path))
    elif form.endswith("weights.h5"):
        source.save_weights(path)
    else:
        source.save(path)
    model = mixed()
    report = restore(model, path)
    assert same(model, source)
    assert report.complete and len(report.matched) == len(model.weights)


def test_layers_whose_names_differ_are_found_by_their_place_in_keras_3_files(tmp_path):
    source = filled(small("_of_yours"))
    source.save_weights(tmp_path / "yours.weights.h5")
    model = small("_of_mine")
    restore(model, tmp_path / "yours.weights.h5")
    assert same(model, source)


class Subclassed(keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.first = layers.Dense(3)
        self.second = layers.Dense(4)

    def call(self, x):
        return self.second(self.first(x))


@pytest.mark.parametrize("form", ["weights.h5", "checkpoint"])
def test_attributes_of_a_subclassed_model(form, tmp_path):
    source, model = Subclassed(), Subclassed()
    for one in (source, model):
        one(np.zeros((1, 2), np.float32))
    filled(source)
    path = tmp_path / f"s.{form}"
    if form == "checkpoint":
        path = tf.train.Checkpoint(net=source).save(str(path))
    else:
        source.save_weights(path)
    restore(model, path)
    assert same(model, source)


def test_numbered_layers_of_object_based_checkpoints():
    source = filled(mixed())
    arrays = {}
    inner = source.get_layer("inner")
    weighted = [layer for layer in source.layers if layer.weights]
    ends = {"memory": "cell/", "both": None, "looks": None}
    for number, layer in enumerate(weighted):
        root = f"model/layer_with_weights-{number}/"
        if layer is inner:
            for place, one in enumerate(inner.layers):
                for weight in one.weights:
                    arrays[f"{root}layer_with_weights-{place}/{weight.name}"] = weight
        elif layer.name == "both":
            for side, half in (("forward", layer.forward_layer), ("backward", layer.backward_layer)):
                for weight in half.weights:
                    arrays[f"{root}{side}_layer/cell/{weight.name}"] = weight
        elif layer.name == "looks":
            for weight in layer.weights:
                part = weight.path.split("/")[1].removeprefix("attention_")
                arrays[f"{root}_{part}_dense/{weight.name}"] = weight
        else:
            for weight in layer.weights:
                arrays[f"{root}{ends.get(layer.name, '')}{weight.name}"] = weight
    suffix = "/.ATTRIBUTES/VARIABLE_VALUE"
    found = {name + suffix: np.asarray(weight) for name, weight in arrays.items()}
    slot = "/.OPTIMIZER_SLOT/optimizer/m"
    found |= {name + slot + suffix: np.zeros(3, np.float32) for name in arrays}
    found |= {f"save_counter{suffix}": np.array(3), f"optimizer/iter{suffix}": np.array(9)}
    model = mixed()
    report = restore(model, found)
    assert same(model, source)
    assert len(report.ignored) == len(arrays) + 2


# -- what the report says, and what is refused -----------------------------------------------------------------------


def test_everything_that_does_not_fit_is_listed_and_nothing_assigned():
    model = filled(small())
    before = values(model)
    arrays = {path: array + 1 for path, array in before.items()}
    del arrays["conv1/bias"]
    arrays["fc2/kernel"] = np.zeros((6, 9), np.float32)
    arrays["who/kernel"] = np.zeros((1, 1), np.float32)
    with pytest.raises(errors.WeightsMismatchError) as caught:
        restore(model, arrays)
    assert caught.value.missing == ("conv1/bias",)
    assert caught.value.unexpected == ("who/kernel",)
    assert caught.value.mismatched == ("fc2/kernel: file (6, 9), model (6, 4)",)
    for text in ("conv1/bias", "who/kernel", "fc2/kernel"):
        assert text in str(caught.value)
    assert all(np.array_equal(before[path], array) for path, array in values(model).items())


def test_without_strict_what_fits_is_assigned():
    model = filled(small())
    before = values(model)
    arrays = {path: array + 1 for path, array in before.items()}
    del arrays["conv1/bias"]
    arrays["fc2/kernel"] = np.zeros((6, 9), np.float32)
    arrays["who/kernel"] = np.zeros((1, 1), np.float32)
    report = restore(model, arrays, strict=False)
    assert isinstance(report, RestoreReport) and not report.complete
    assert report.missing == ("conv1/bias",) and report.unexpected == ("who/kernel",)
    name, in_file, in_model = report.mismatched[0][:3]
    assert (name, in_file, in_model) == ("fc2/kernel", (6, 9), (6, 4))
    assert report.mismatched[0].file_shape == (6, 9)
    for path, array in values(model).items():
        kept = path in ("conv1/bias", "fc2/kernel")
        assert np.array_equal(array, before[path] if kept else before[path] + 1), path
        assert (path in report.matched) is not kept


def test_the_report_is_a_table_and_frozen():
    model = small()
    arrays = values(filled(small())) | {"who/kernel": np.zeros(2, np.float32)}
    arrays["fc2/kernel"] = np.zeros((6, 9), np.float32)
    del arrays["fc2/bias"]
    report = restore(model, arrays, strict=False)
    lines = str(report).splitlines()
    assert lines[0] == "arrays: 9 restored, 1 missing, 1 unexpected, 1 of another shape, 0 excluded, 0 ignored"
    assert "restored     conv1/kernel         conv1/kernel" in lines
    assert "other shape  fc2/kernel           fc2/kernel (6, 9), model (6, 4)" in lines
    assert "missing      fc2/bias" in lines
    assert f"unexpected   {'':19}  who/kernel" in lines
    with pytest.raises(AttributeError):
        report.missing = ()
    with pytest.raises(TypeError):
        report.matched["a"] = "b"


def test_damage_shows_before_a_weight_changes(tmp_path):
    write_v2(tmp_path / "model.ckpt", values(filled(small())))
    data = next(tmp_path.glob("*.data-*"))
    held = bytearray(data.read_bytes())
    held[-3] ^= 255
    data.write_bytes(held)
    model = small()
    before = values(model)
    with pytest.raises(errors.CheckpointFormatError):
        restore(model, tmp_path / "model.ckpt")
    assert all(np.array_equal(before[path], array) for path, array in values(model).items())


@pytest.mark.parametrize(
    "rename",
    [
        {"softmax": "fc2", "conv_one/": "conv1"},
        {"softmax/kernel": "fc2/kernel", "softmax/bias": "fc2/bias", "conv_one": "conv1"},
        [("^softmax", "fc2"), (r"conv_(one)", r"\1"), ("^one/", "conv1/")],
        lambda name: name.replace("softmax", "fc2").replace("conv_one", "conv1"),
    ],
    ids=["scopes", "names", "rules", "function"],
)
def test_rename(rename):
    source, model = filled(small()), small()
    arrays = {p.replace("fc2", "softmax").replace("conv1", "conv_one"): a for p, a in values(source).items()}
    with pytest.raises(errors.WeightsMismatchError):
        restore(model, arrays)
    restore(model, arrays, rename=rename)
    assert same(model, source)


def test_rename_to_none_leaves_an_array_out():
    source = filled(small())
    arrays = values(source) | {"helper/kernel": np.zeros(2, np.float32)}
    for rename in ({"helper": None}, lambda name: None if name.startswith("helper") else name):
        model = small()
        report = restore(model, arrays, rename=rename)
        assert same(model, source)
        assert report.excluded == ("helper/kernel",)


@pytest.mark.parametrize("exclude", [("fc2",), "fc2", ["^fc2/"], ("fc2/kernel", "2/bias$"), ("net/fc2",)], ids=str)
def test_exclude_leaves_a_head_alone(exclude):
    source, model = filled(small(classes=7)), filled(small(), 5)
    before = values(model)
    report = restore(model, {f"net/{path}": array for path, array in values(source).items()}, exclude=exclude)
    for path, array in values(model).items():
        assert np.array_equal(array, before[path] if path.startswith("fc2") else values(source)[path])
    assert set(report.excluded) == {"fc2/kernel", "fc2/bias", "net/fc2/kernel", "net/fc2/bias"}
    assert report.complete


def test_excluded_names_are_neither_missed_nor_unexpected():
    model = small()
    arrays = {path: array for path, array in values(filled(small())).items() if not path.startswith("fc2")}
    arrays["aux/weights"] = np.zeros(2, np.float32)
    with pytest.raises(errors.WeightsMismatchError):
        restore(model, arrays)
    assert restore(model, arrays, exclude=("fc2", "aux")).complete


def test_moving_averages_are_taken_and_training_is_passed_over():
    source, model = filled(small()), small()
    arrays = values(source)
    for path, array in list(arrays.items()):
        arrays[f"{path}/Adam"] = arrays[f"{path}/Adam_1"] = arrays[f"{path}/Momentum"] = array * 0
    arrays |= {"global_step": np.array(3), "beta1_power": np.float32(0.5), "train/beta2_power_1": np.float32(0.5)}
    arrays["conv1/kernel/ExponentialMovingAverage"] = arrays["conv1/kernel"]
    arrays["conv1/kernel"] = arrays["conv1/kernel"] * 9
    report = restore(model, arrays)
    assert same(model, source)
    assert report.averaged == ("conv1/kernel",)
    assert report.matched["conv1/kernel"] == "conv1/kernel/ExponentialMovingAverage"
    assert len(report.ignored) == 3 * len(model.weights) + 3


def test_by_order_takes_no_notice_of_names(tmp_path):
    source, model = filled(small("_a")), small("_zzz")
    arrays = [np.asarray(weight) for layer in source.layers for weight in layer.weights]
    np.savez(tmp_path / "a.npz", *arrays)
    with pytest.raises(errors.WeightsMismatchError):
        restore(model, tmp_path / "a.npz")
    assert restore(model, tmp_path / "a.npz", by="order").complete
    assert same(model, source)
    write_v1(tmp_path / "a.ckpt", {f"Variable_{n}" if n else "Variable": array for n, array in enumerate(arrays)})
    model = small()
    assert len(arrays) > 10  # so that Variable_10 is not behind Variable_1
    restore(model, tmp_path / "a.ckpt", by="order")
    assert same(model, source)


def test_by_order_follows_the_layers_that_a_file_lists(tmp_path):
    source = keras.Sequential([keras.Input((4,)), *(layers.Dense(4, name=name) for name in "zbya")])
    filled(source)
    source.save(tmp_path / "a.h5")
    model = keras.Sequential([keras.Input((4,)), *(layers.Dense(4) for _ in range(4))])
    restore(model, tmp_path / "a.h5", by="order")
    assert same(model, source)


def test_by_order_reports_what_is_too_much_and_what_has_another_shape():
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3, name="a"), layers.Dense(2, name="b")])
    arrays = {"w": numbers(4, 3), "x": numbers(3), "y": numbers(9, 2)}
    with pytest.raises(errors.WeightsMismatchError) as caught:
        restore(model, arrays, by="order")
    assert caught.value.missing == ("b/bias",)
    assert caught.value.mismatched == ("b/kernel: file (9, 2), model (3, 2)",)
    more = arrays | {"y": numbers(3, 2), "z": numbers(2), "zz": numbers(1)}
    with pytest.raises(errors.WeightsMismatchError) as caught:
        restore(model, more, by="order")
    assert caught.value.unexpected == ("zz",)
    assert restore(model, more, by="order", exclude="zz").complete


def test_layers_of_the_same_name_below_two_scopes_are_not_mixed_up():
    def tower(name: str) -> keras.Model:
        return keras.Sequential([keras.Input((3,)), layers.Dense(3, name="d")], name=name)

    inputs = keras.Input((3,))
    model = keras.Model(inputs, layers.Add()([tower("left")(inputs), tower("right")(inputs)]))
    arrays = {
        f"net/{side}/d/{kind}": numbers(*shape, seed=seed)
        for seed, side in enumerate(("left", "right"))
        for kind, shape in (("weights", (3, 3)), ("biases", (3,)))
    }
    report = restore(model, arrays)
    for side in ("left", "right"):
        for kind, word in (("kernel", "weights"), ("bias", "biases")):
            assert report.matched[f"{side}/d/{kind}"] == f"net/{side}/d/{word}"
    flat = keras.Sequential([keras.Input((3,)), layers.Dense(3, name="d")])
    with pytest.raises(errors.WeightsMismatchError) as caught:  # which of the two is meant nobody can tell
        restore(flat, arrays)
    assert caught.value.missing == ("d/kernel", "d/bias")


def test_a_scope_in_front_of_the_models_names():
    inputs = keras.Input((8, 8, 3))
    body = small()
    body.name = "backbone"
    model = keras.Model(inputs, body(inputs))
    source = filled(small())
    report = restore(model, values(source))
    assert report.matched["backbone/conv1/kernel"] == "conv1/kernel"
    assert same(model, source)


def test_scopes_that_layer_names_cannot_hold():
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 1, name="Mixed_3b.Branch_0.Conv2d_0a_1x1")(inputs)
    x = layers.BatchNormalization(scale=False, name="Mixed_3b.Branch_0.Conv2d_0a_1x1.BatchNorm")(x)
    model = keras.Model(inputs, layers.Conv2D(2, 1, name="fire2_squeeze1x1")(x))
    scope = "InceptionV1/InceptionV1/Mixed_3b/Branch_0/Conv2d_0a_1x1"
    arrays = {
        f"{scope}/weights": numbers(1, 1, 3, 4), f"{scope}/biases": numbers(4),
        f"{scope}/BatchNorm/beta": numbers(4, seed=1), f"{scope}/BatchNorm/moving_mean": numbers(4, seed=2),
        f"{scope}/BatchNorm/moving_variance": numbers(4, seed=3),
        "fire2/squeeze1x1/fire2/squeeze1x1_3/kernel:0": numbers(1, 1, 4, 2),
        "fire2/squeeze1x1/fire2/squeeze1x1_3/bias:0": numbers(2),
    }  # fmt: skip
    report = restore(model, arrays)
    assert report.complete and len(report.matched) == len(arrays)
    norm = model.get_layer("Mixed_3b.Branch_0.Conv2d_0a_1x1.BatchNorm")
    assert np.array_equal(norm.moving_variance, arrays[f"{scope}/BatchNorm/moving_variance"])


def test_a_network_of_modelzoo_takes_its_checkpoint():
    options = {"input_shape": (64, 64, 3), "width": 0.125}
    source, model = filled(networks.build("inception_v1", card_classes=9, **options)), networks.build(
        "inception_v1", classes=5, **options
    )  # fmt: skip
    arrays = {source.variable_names[w.path]: np.asarray(w) for w in source.weights if w.path in source.variable_names}
    report = restore(model, arrays, exclude=("InceptionV1/Logits",))
    assert report.matched["Mixed_4e.Branch_1.Conv2d_0b_3x3.Conv2D/kernel"] == (
        "InceptionV1/Mixed_4e/Branch_1/Conv2d_0b_3x3/weights"
    )
    tap = "Mixed_5c"
    picture = np.random.default_rng(0).uniform(-1, 1, (1, 64, 64, 3)).astype(np.float32)
    outputs = [keras.Model(m.input, m.taps[tap].tensor)(picture) for m in (source, model)]
    assert np.array_equal(*outputs)


def test_caffes_layout():
    inputs = keras.Input((8, 8, 6))
    x = layers.Conv2D(4, (3, 2), groups=2, name="conv")(inputs)
    x = layers.DepthwiseConv2D(3, name="dw")(x)
    x = layers.PReLU(shared_axes=(1, 2), name="prelu")(x)
    x = layers.Conv2DTranspose(3, 2, name="up")(x)
    x = layers.Dense(3, name="square")(layers.GlobalAveragePooling2D()(x))
    model = keras.Model(inputs, layers.Dense(5, name="old")(x))
    arrays = {
        "conv/0": numbers(4, 3, 3, 2), "conv/1": numbers(4), "dw/0": numbers(4, 1, 3, 3), "dw/1": numbers(1, 1, 1, 4),
        "prelu/0": numbers(4), "up/0": numbers(4, 3, 2, 2), "up/1": numbers(3), "square/0": numbers(3, 3),
        "square/1": numbers(3), "old/0": numbers(1, 1, 5, 3), "old/1": numbers(1, 1, 1, 5),
    }  # fmt: skip
    assert restore(model, arrays, layout="caffe").complete
    found = {f"{layer.name}/{n}": np.asarray(w) for layer in model.layers for n, w in enumerate(layer.weights)}
    assert np.array_equal(found["conv/0"], arrays["conv/0"].transpose(2, 3, 1, 0))
    assert np.array_equal(found["dw/0"], arrays["dw/0"].transpose(2, 3, 0, 1))
    assert np.array_equal(found["up/0"], arrays["up/0"].transpose(2, 3, 1, 0))
    assert np.array_equal(found["square/0"], arrays["square/0"].T)
    assert np.array_equal(found["old/0"], arrays["old/0"][0, 0].T)
    assert np.array_equal(found["old/1"], arrays["old/1"].ravel())
    assert np.array_equal(found["prelu/0"], arrays["prelu/0"].reshape(1, 1, 4))
    with pytest.raises(errors.WeightsMismatchError):
        restore(model, arrays)


@pytest.mark.parametrize("how", ["flatten", "reshape", "permute", "pooled"])
def test_a_dense_layer_behind_a_map_counts_its_inputs_as_caffe_does(how):
    inputs = keras.Input((2, 3, 4))
    x = {
        "flatten": lambda: layers.Dropout(0.5)(layers.Flatten()(inputs)),
        "reshape": lambda: layers.Reshape((1, 1, 24))(inputs),
        "permute": lambda: layers.Flatten()(layers.Permute((3, 1, 2))(inputs)),
        "pooled": lambda: layers.Flatten()(layers.AveragePooling2D((2, 3))(inputs)),
    }[how]()
    model = keras.Model(inputs, layers.Dense(5, name="fc")(x))
    kernel = numbers(5, x.shape[-1])
    restore(model, {"fc/0": kernel, "fc/1": np.zeros(5, np.float32)}, layout="caffe")
    picture = numbers(1, 2, 3, 4)
    flat = picture.mean((1, 2)) if how == "pooled" else picture.transpose(0, 3, 1, 2).reshape(1, -1)
    np.testing.assert_allclose(np.ravel(model(picture)), np.ravel(flat @ kernel.T), rtol=1e-5, atol=1e-5)


def test_a_convolution_over_the_whole_map_is_a_matrix_product():
    def of(layer):
        inputs = keras.Input((2, 3, 4))
        return keras.Model(inputs, layer(inputs if isinstance(layer, layers.Conv2D) else layers.Flatten()(inputs)))

    convolution, product = of(layers.Conv2D(5, (2, 3), name="fc")), of(layers.Dense(5, name="fc"))
    picture = numbers(2, 2, 3, 4)
    for source, model in ((convolution, product), (product, convolution)):
        arrays = {f"fc/{name}": numbers(*w.shape) for name, w in zip(("kernel", "bias"), source.weights, strict=True)}
        restore(source, arrays)
        restore(model, arrays)
        np.testing.assert_allclose(np.ravel(model(picture)), np.ravel(source(picture)), rtol=1e-5, atol=1e-5)


def test_numbers_as_names_mean_keras_own_order_where_all_are_there():
    source, model = filled(small()), small()
    arrays = {f"{layer.name}/{n}": np.asarray(w) for layer in source.layers for n, w in enumerate(layer.weights)}
    restore(model, arrays)
    assert same(model, source)
    with pytest.raises(errors.WeightsMismatchError) as caught:  # Caffe's BatchNorm has another order
        restore(model, arrays, layout="caffe", exclude=("conv1", "fc", "dw"))
    assert [name for name in caught.value.missing if name.startswith("bn1")] == list(caught.value.missing)
    assert len(caught.value.missing) == 4


def test_types_are_cast_where_nothing_is_lost_but_digits():
    model = keras.Sequential([keras.Input((2,)), layers.Dense(2, name="d", dtype="float16")])
    restore(model, {"d/kernel": np.eye(2), "d/bias": np.array([1, 2], np.int32)})
    assert np.array_equal(model.get_layer("d").kernel, np.eye(2)) and model.get_layer("d").kernel.dtype == "float16"
    counting = keras.Sequential([keras.Input((2,)), layers.Normalization(name="n")])
    arrays = {"n/mean": np.zeros((2,)), "n/variance": np.ones((2,)), "n/count": np.array(2.5)}
    shapes = [tuple(w.shape) for w in counting.weights]
    arrays["n/mean"], arrays["n/variance"] = np.zeros(shapes[0]), np.ones(shapes[1])
    with pytest.raises(errors.WeightsMismatchError, match=r"float64 in the file, int\d+ in the model"):
        restore(counting, arrays)


def test_changing_the_arrays_afterwards_does_not_reach_the_model():
    model = small()
    arrays = values(filled(small()))
    restore(model, arrays)
    before = values(model)
    for array in arrays.values():
        array[...] = 7
    assert all(np.array_equal(before[path], array) for path, array in values(model).items())


def test_frozen_layers_keep_their_order(tmp_path):
    source = filled(small())
    source.save(tmp_path / "a.h5")
    model = small("_x")
    model.trainable = False
    restore(model, tmp_path / "a.h5", by="order")
    assert same(model, source)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"model": "no model"}, errors.UsageError),
        ({"model": keras.Sequential([layers.Dense(2)])}, errors.UsageError),
        ({"by": "shape"}, errors.UsageError),
        ({"layout": "torch"}, errors.UsageError),
        ({"rename": 3}, errors.UsageError),
        ({"rename": {"a": 3}}, errors.UsageError),
        ({"rename": [("(", "a")]}, errors.UsageError),
        ({"rename": [("a", r"\9")]}, errors.UsageError),
        ({"rename": ["abc"]}, errors.UsageError),
        ({"rename": lambda name: 3}, errors.UsageError),
        ({"exclude": [3]}, errors.UsageError),
        ({"checkpoint": 3}, errors.UsageError),
        ({"checkpoint": "nowhere.ckpt"}, errors.CheckpointError),
        ({"checkpoint": {"conv1/kernel": object()}}, errors.ArrayError),
        ({"checkpoint": {"conv1/kernel": [[1], [2, 3]]}}, errors.ArrayError),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else str(value)[:40].split(" at 0x")[0],
)
def test_arguments_that_make_no_sense(arguments, error):
    given = {"model": small(), "checkpoint": {"conv1/kernel": numbers(1)}, **arguments}
    with pytest.raises(error):
        restore(given.pop("model"), given.pop("checkpoint"), **given)
