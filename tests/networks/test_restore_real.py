"""Real checkpoints of other people into hand-built Keras models, beside what Keras itself or plain NumPy computes."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from modelzoo.checkpoints import open_checkpoint
from modelzoo.networks.restore import restore
from tests.data_folder import DATA, needs_data

pytestmark = needs_data

layers = keras.layers
MODELS = DATA / "models" if DATA is not None else None


def same_outputs(model: keras.Model, other: keras.Model, x: np.ndarray) -> bool:
    return np.array_equal(np.asarray(model(x, training=False)), np.asarray(other(x, training=False)))


# -- Keras 2's HDF5 files, beside keras' own loader --------------------------------------------------------------------


def squeezenet() -> keras.Model:
    """SqueezeNet 1.1 without its head (arXiv:1602.07360, table 1)."""
    inputs = keras.Input((96, 96, 3))
    x = layers.Conv2D(64, 3, strides=2, activation="relu", name="conv1")(inputs)
    x = layers.MaxPooling2D(3, 2)(x)
    for number, narrow in zip(range(2, 10), (16, 16, 32, 32, 48, 48, 64, 64), strict=True):
        if number in (4, 6):
            x = layers.MaxPooling2D(3, 2)(x)
        x = layers.Conv2D(narrow, 1, activation="relu", name=f"fire{number}_squeeze1x1")(x)
        one = layers.Conv2D(4 * narrow, 1, activation="relu", name=f"fire{number}_expand1x1")(x)
        three = layers.Conv2D(4 * narrow, 3, padding="same", activation="relu", name=f"fire{number}_expand3x3")(x)
        x = layers.Concatenate()([one, three])
    return keras.Model(inputs, x)


def test_squeezenet():
    path = MODELS / "squeezenet_keras_notop" / "squeezenet_weights_tf_dim_ordering_tf_kernels_notop.h5"
    ours, theirs = squeezenet(), squeezenet()
    report = restore(ours, path)
    theirs.load_weights(path)
    assert report.complete and len(report.matched) == 50
    assert report.matched["fire5_expand3x3/bias"] == "fire5/expand3x3/fire5/expand3x3_3/bias:0"
    picture = np.random.default_rng(0).uniform(-128, 128, (2, 96, 96, 3)).astype(np.float32)
    assert same_outputs(ours, theirs, picture)
    assert np.std(np.asarray(ours(picture))) > 0


def resnet8(prefix: str = "") -> keras.Model:
    """The image classifier of MLPerf Tiny: three residual stacks on 32 x 32 pictures."""
    counts: dict[str, int] = {}

    def name(kind: str) -> str:
        number = counts[kind] = counts.get(kind, -1) + 1
        return f"{prefix}{kind}_{number}" if number else f"{prefix}{kind}"

    def conv(x, filters, size, stride):
        return layers.Conv2D(filters, size, strides=stride, padding="same", name=name("conv2d"))(x)

    def norm(x):
        return layers.BatchNormalization(name=name("batch_normalization"))(x)

    inputs = keras.Input((32, 32, 3))
    x = layers.ReLU()(norm(conv(inputs, 16, 3, 1)))
    for filters, stride in ((16, 1), (32, 2), (64, 2)):
        y = layers.ReLU()(norm(conv(x, filters, 3, stride)))
        y = conv(y, filters, 3, 1)
        if stride != 1:
            x = conv(x, filters, 1, stride)
        x = layers.ReLU()(layers.Add()([x, norm(y)]))
    x = layers.Flatten()(layers.AveragePooling2D(8)(x))
    return keras.Model(inputs, layers.Dense(10, activation="softmax", name=name("dense"))(x))


@pytest.mark.parametrize(("prefix", "by"), [("", "name"), ("", "order"), ("other_", "order")])
def test_resnet_of_mlperf_tiny(prefix, by):
    path = MODELS / "mlperf_tiny" / "pretrainedResnet.h5"
    ours, theirs = resnet8(prefix), resnet8()
    report = restore(ours, path, by=by)
    theirs.load_weights(path)
    assert len(report.matched) == 48
    picture = np.random.default_rng(0).uniform(0, 255, (4, 32, 32, 3)).astype(np.float32)
    assert same_outputs(ours, theirs, picture)


AGENTS = {
    "cartpole_rlcode/cartpole_actor.h5": (4, [24, 2], "softmax", 1),
    "cartpole_rlcode/cartpole_critic.h5": (4, [24, 1], "linear", 3),
    "cartpole_rlcode/cartpole_dqn.h5": (4, [32, 16, 2], "linear", 1),
    "cartpole_rlcode/cartpole_reinforce.h5": (4, [24, 24, 2], "softmax", 1),
    "cartpole_keon/cartpole-dqn.h5": (4, [24, 24, 2], "linear", 1),
    "cartpole_keon/cartpole-ddqn.h5": (4, [24, 24, 2], "linear", 1),
}


@pytest.mark.parametrize("by", ["name", "order"])
@pytest.mark.parametrize("file", AGENTS)
def test_agents(file, by):
    size, widths, last, first = AGENTS[file]

    def agent(start: int) -> keras.Model:
        dense = [
            layers.Dense(width, activation="relu" if n < len(widths) - 1 else last, name=f"dense_{start + n}")
            for n, width in enumerate(widths)
        ]
        return keras.Sequential([keras.Input((size,)), *dense])

    ours, theirs = agent(first if by == "name" else 70), agent(1)
    report = restore(ours, MODELS / file, by=by)
    theirs.load_weights(MODELS / file)
    assert len(report.matched) == 2 * len(widths)
    states = np.random.default_rng(0).normal(size=(16, size)).astype(np.float32)
    assert same_outputs(ours, theirs, states)


# -- TensorFlow's checkpoints, beside NumPy ----------------------------------------------------------------------------

LETTERS, UNITS = 65, 128
CELLS = [f"rnn/multi_rnn_cell/cell_{n}/basic_lstm_cell" for n in (0, 1)]
CHAR_RNN = ("char_rnn_shakespeare", "model-85340")


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def plain_char_rnn(letters: np.ndarray) -> np.ndarray:
    """Logits (N, T, 65): BasicLSTMCell twice (gates i, j, f, o; forget bias 1), then a linear layer."""
    with open_checkpoint(MODELS.joinpath(*CHAR_RNN)) as arrays:
        kernels = [arrays[f"{cell}/kernel"].astype(np.float64) for cell in CELLS]
        biases = [arrays[f"{cell}/bias"].astype(np.float64) for cell in CELLS]
        w, b = arrays["softmax/softmax_w"].astype(np.float64), arrays["softmax/softmax_b"].astype(np.float64)
    states = [(np.zeros((len(letters), UNITS)), np.zeros((len(letters), UNITS))) for _ in CELLS]
    outputs = []
    for step in range(letters.shape[1]):
        x = np.eye(LETTERS)[letters[:, step]]
        for n in (0, 1):
            c, h = states[n]
            i, j, f, o = np.split(np.concatenate([x, h], 1) @ kernels[n] + biases[n], 4, axis=1)
            c = c * sigmoid(f + 1) + sigmoid(i) * np.tanh(j)
            x = np.tanh(c) * sigmoid(o)
            states[n] = (c, x)
        outputs.append(x @ w + b)
    return np.stack(outputs, 1)


class BasicLSTMCell(layers.Layer):
    """TensorFlow 1's cell: one kernel for input and state, gates i, j, f, o, forget bias 1."""

    def __init__(self, units: int, **options) -> None:
        super().__init__(**options)
        self.units, self.state_size, self.output_size = units, [units, units], units

    def build(self, shape) -> None:
        self.kernel = self.add_weight(shape=(shape[-1] + self.units, 4 * self.units), name="kernel")
        self.bias = self.add_weight(shape=(4 * self.units,), name="bias")

    def call(self, x, states):
        c, h = states
        i, j, f, o = keras.ops.split(keras.ops.concatenate([x, h], 1) @ self.kernel + self.bias, 4, 1)
        c = c * keras.ops.sigmoid(f + 1) + keras.ops.sigmoid(i) * keras.ops.tanh(j)
        h = keras.ops.tanh(c) * keras.ops.sigmoid(o)
        return h, [c, h]


TEXT = np.random.default_rng(0).integers(0, LETTERS, (3, 40))
HOT = np.eye(LETTERS, dtype=np.float32)[TEXT]


def test_char_rnn_into_cells_of_ones_own():
    inputs = keras.Input((None, LETTERS))
    x = layers.RNN(BasicLSTMCell(UNITS, name="first"), return_sequences=True, name="rnn_1")(inputs)
    x = layers.RNN(BasicLSTMCell(UNITS, name="second"), return_sequences=True, name="rnn_2")(x)
    model = keras.Model(inputs, layers.Dense(LETTERS, name="softmax")(x))
    report = restore(
        model,
        MODELS.joinpath(*CHAR_RNN),
        rename={CELLS[0]: "rnn_1/first", CELLS[1]: "rnn_2/second"},
        exclude=("loss_monitor",),
    )
    assert report.matched["softmax/kernel"] == "softmax/softmax_w"
    assert len(report.matched) == 6 and len(report.ignored) == 15 and len(report.excluded) == 6
    expected = plain_char_rnn(TEXT)
    assert np.abs(np.asarray(model(HOT)) - expected).max() < 5e-5 * np.abs(expected).max()


def test_char_rnn_into_keras_own_lstm():
    inputs = keras.Input((None, LETTERS))
    x = layers.LSTM(UNITS, return_sequences=True, name="lstm_1")(inputs)
    x = layers.LSTM(UNITS, return_sequences=True, name="lstm_2")(x)
    model = keras.Model(inputs, layers.Dense(LETTERS, name="softmax")(x))
    with open_checkpoint(MODELS.joinpath(*CHAR_RNN)) as arrays:
        turned = {name: arrays[name] for name in ("softmax/softmax_w", "softmax/softmax_b")}
        for n, cell in enumerate(CELLS, 1):
            # Keras has the gates i, f, j, o, and no forget bias beside its own.
            i, j, f, o = np.split(arrays[f"{cell}/kernel"], 4, axis=1)
            kernel = np.concatenate([i, f, j, o], 1)
            turned[f"lstm_{n}/kernel"], turned[f"lstm_{n}/recurrent_kernel"] = kernel[:-UNITS], kernel[-UNITS:]
            i, j, f, o = np.split(arrays[f"{cell}/bias"], 4)
            turned[f"lstm_{n}/bias"] = np.concatenate([i, f + 1, j, o])
    assert restore(model, turned).complete
    expected = plain_char_rnn(TEXT)
    assert np.abs(np.asarray(model(HOT)) - expected).max() < 5e-5 * np.abs(expected).max()


def test_a_saved_model_of_tensorflow_2():
    """MLPerf Tiny's keyword spotter, a depthwise-separable network, by the numbers of its layers."""
    inputs = keras.Input((49, 10, 1))
    x = layers.Conv2D(64, (10, 4), strides=2, padding="same")(inputs)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    for _ in range(4):
        x = layers.ReLU()(layers.BatchNormalization()(layers.DepthwiseConv2D(3, padding="same")(x)))
        x = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(64, 1, padding="same")(x)))
    x = layers.Flatten()(layers.AveragePooling2D((25, 5))(x))
    model = keras.Model(inputs, layers.Dense(12, activation="softmax")(x))
    path = MODELS / "mlperf_tiny" / "kws_ref_model"
    report = restore(model, path)
    assert report.complete and len(report.matched) == len(model.weights) == 56
    import tensorflow as tf

    sounds = np.random.default_rng(0).normal(size=(5, 49, 10, 1)).astype(np.float32) * 20
    v1 = tf.compat.v1  # its optimiser is of a kind that tf.saved_model.load no longer knows
    with v1.Session(graph=tf.Graph()) as session:
        signature = v1.saved_model.load(session, ["serve"], str(path)).signature_def["serving_default"]
        (given,), (asked,) = signature.inputs.values(), signature.outputs.values()
        theirs = session.run(asked.name, {given.name: sounds})
    assert np.abs(np.asarray(model(sounds)) - theirs).max() < 1e-5


def pnet() -> keras.Model:
    """MTCNN's first network."""
    inputs = keras.Input((None, None, 3))
    x = inputs
    for number, (filters, pool) in enumerate(((10, True), (16, False), (32, False)), 1):
        x = layers.Conv2D(filters, 3, name=f"conv{number}")(x)
        x = layers.PReLU(shared_axes=(1, 2), name=f"PReLU{number}")(x)
        x = layers.MaxPooling2D(2, 2, padding="same")(x) if pool else x
    return keras.Model(inputs, [layers.Conv2D(2, 1, name="conv4-1")(x), layers.Conv2D(4, 1, name="conv4-2")(x)])


def test_caffe_tensorflows_dictionary():
    """Names are Caffe's, axes are TensorFlow's."""
    model = pnet()
    with open_checkpoint(MODELS / "mtcnn_npy" / "det1.npy") as found:
        arrays = dict(found)
    for name in [name for name in arrays if name.endswith("alpha")]:
        arrays[name] = arrays[name].reshape(1, 1, -1)  # Keras' PReLU shares over height and width
    assert restore(model, arrays).complete
    for weight in model.weights:
        layer, kind = weight.path.split("/")
        word = {"kernel": "weights", "bias": "biases"}.get(kind, kind)
        assert np.array_equal(np.asarray(weight), arrays[f"{layer}/{word}"])


def test_a_caffemodel_is_turned_without_being_asked():
    path = MODELS / "mtcnn_caffe" / "det1.caffemodel"
    model = pnet()
    report = restore(model, path)
    assert report.complete and len(report.matched) == 13
    with open_checkpoint(path) as arrays:
        for weight in model.weights:
            layer, kind = weight.path.split("/")
            blob = arrays[f"{layer}/{1 if kind == 'bias' else 0}"]
            expected = blob.transpose(2, 3, 1, 0) if kind == "kernel" else blob.reshape(weight.shape)
            assert np.array_equal(np.asarray(weight), expected), weight.path
