"""Truncated backpropagation: against numerical gradients, and against the tape over the whole sequence."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from modelzoo.errors import ArrayError, UsageError
from modelzoo.rnn import Carried, TruncatedBPTT, carried_network

LENGTH, CHANNELS, CLASSES = 5, 3, 4


def network(cell="lstm", units=(5, 4), **options):
    keras.utils.set_random_seed(2)
    inputs = keras.Input((None, CHANNELS), name="inputs")
    return carried_network(inputs, inputs, cell=cell, units=units, outputs=CLASSES, **options)


def data(batch=2, length=LENGTH, seed=0):
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(batch, length, CHANNELS)).astype(np.float32)
    return x, generator.integers(0, CLASSES, (batch, length)).astype(np.int32)


def losses(targets, outputs):
    return tf.nn.sparse_softmax_cross_entropy_with_logits(labels=targets, logits=outputs)


def trainer(net, every, back=None, rate=0.0, **options):
    return TruncatedBPTT(net, losses, keras.optimizers.SGD(rate), every=every, back=back, **options)


class Recorder(keras.optimizers.SGD):
    """Keeps the gradients that it is given, and changes nothing."""

    def __init__(self):
        super().__init__(0.0)
        self.seen = []

    def apply(self, grads, trainable_variables=None):
        tf.py_function(lambda *values: self.seen.append([v.numpy() for v in values]), grads, [])


def recorded(net, x, y, every, back):
    optimizer = Recorder()
    TruncatedBPTT(net, losses, optimizer, every=every, back=back).epoch(x, y)
    return optimizer.seen


def whole(net, x, y, first, last, edge):
    """Gradient of the mean loss of the steps [first, last), with the state at `edge` a constant; step by step."""
    variables = [v.value for v in net.model.trainable_variables]
    with tf.GradientTape() as tape:
        state, total = net.zeros(len(x)), 0.0
        for t in range(last):
            if t == edge:
                state = {name: tf.stop_gradient(value) for name, value in state.items()}
            outputs, state = net(x[:, t : t + 1], state)
            if t >= first:
                total += tf.reduce_mean(losses(y[:, t : t + 1], outputs)) / (last - first)
    return tape.gradient(total, variables)


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    "cell,every,back",
    [
        ("simple", 2, 2),
        ("simple", 1, 3),
        ("simple", 3, 5),
        pytest.param("simple", 2, 7, marks=SLOW),
        pytest.param("gru", 3, 4, marks=SLOW),
        pytest.param("lstm", 3, 3, marks=SLOW),
        ("lstm", 2, 4),
    ],
)
def test_every_update_is_the_tapes_gradient_with_the_far_edge_a_constant(cell, every, back):
    net, (x, y) = network(cell), data()
    found = recorded(net, x, y, every, back)
    ends = [min(end, LENGTH) for end in range(every, LENGTH + every, every)]
    assert len(found) == len(ends)
    done = 0
    for number, (end, gradients) in enumerate(zip(ends, found, strict=True)):
        edge = max(0, (number + 1) * every - back)
        for one, other in zip(gradients, whole(net, x, y, done, end, edge), strict=True):
            np.testing.assert_allclose(one, np.asarray(other), atol=2e-6)
        done = end


def test_a_window_of_the_whole_sequence_is_full_backpropagation():
    net, (x, y) = network(), data()
    with tf.GradientTape() as tape:
        outputs, _ = net(x, net.zeros(2))
        loss = tf.reduce_mean(losses(y, outputs))
    wanted = tape.gradient(loss, [v.value for v in net.model.trainable_variables])
    (found,) = recorded(net, x, y, LENGTH, LENGTH)
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, np.asarray(other), atol=1e-6)
    # It is another gradient than that of short windows: the test can fail.
    assert not np.allclose(recorded(net, x, y, 2, 2)[-1][0], np.asarray(wanted[0]), atol=1e-4)


@pytest.mark.parametrize("cell", [pytest.param("simple", marks=SLOW), pytest.param("gru", marks=SLOW), "lstm"])
def test_numerical_gradients_of_a_window(cell):
    """Central differences of the loss behind the edge; the state at the edge stays what it was."""
    net, (x, y) = network(cell, (3,)), data()
    _, edge = net(x[:, :2], net.zeros(2))
    window, targets = x[:, 2:], y[:, 2:]
    bptt = trainer(net, LENGTH - 2)
    _, gradients, _ = bptt.gradients(
        tf.constant(window), tf.constant(targets), edge, advance=LENGTH - 2, counted=LENGTH - 2
    )

    def loss():
        outputs, _ = net(window, edge)
        return float(tf.reduce_mean(tf.cast(losses(targets, outputs), tf.float64)))

    checked = 0
    for variable, gradient in zip(net.model.trainable_variables, gradients, strict=True):
        values, flat = np.array(variable), np.asarray(gradient).ravel()
        for place in np.linspace(0, values.size - 1, min(6, values.size), dtype=int):
            step = np.zeros(values.size, np.float32)
            step[place] = 1e-2
            step = step.reshape(values.shape)
            variable.assign(values + step)
            above = loss()
            variable.assign(values - step)
            below = loss()
            variable.assign(values)
            assert (above - below) / 2e-2 == pytest.approx(flat[place], abs=3e-4)
            checked += 1
    assert checked >= 20


@pytest.mark.parametrize("cell", ["simple", "gru", "lstm"])
def test_windows_compute_what_the_whole_does(cell):
    net, (x, _) = network(cell), data()
    wanted, last = net(x, net.zeros(2))
    first, state = net(x[:, :3], net.zeros(2))
    second, state = net(x[:, 3:], state)
    np.testing.assert_allclose(np.concatenate([first, second], axis=1), np.asarray(wanted), atol=1e-6)
    for name, value in state.items():
        np.testing.assert_allclose(np.asarray(value), np.asarray(last[name]), atol=1e-6)
    assert sum(net.widths.values()) == 9 * (2 if cell == "lstm" else 1)


def test_the_state_of_long_sequences_is_learnt_from():
    """Echo of the input three steps ago: windows of one step cannot learn it, four steps back can."""
    generator = np.random.default_rng(0)
    signs = generator.integers(0, 2, (8, 80))
    x = np.eye(2, dtype=np.float32)[signs]
    y = np.roll(signs, 3, axis=1).astype(np.int32)

    def after(every, back):
        keras.utils.set_random_seed(1)
        inputs = keras.Input((None, 2), name="inputs")
        net = carried_network(inputs, inputs, cell="gru", units=(16,), outputs=2)
        bptt = TruncatedBPTT(net, losses, keras.optimizers.Adam(0.01), every=every, back=back, clip_norm=1.0)
        return [bptt.epoch(x, y) for _ in range(25 if back > 1 else 4)][-1]

    assert after(4, 8) < 0.2
    assert after(1, 1) > 0.5


def test_clipping_cuts_the_global_norm():
    net, (x, y) = network(), data()
    before = [np.array(v) for v in net.model.trainable_variables]
    trainer(net, LENGTH, rate=1.0, clip_norm=0.01).epoch(x, y)
    moved = [np.asarray(v) - b for v, b in zip(net.model.trainable_variables, before, strict=True)]
    assert np.sqrt(sum((m**2).sum() for m in moved)) == pytest.approx(0.01, rel=1e-3)


@pytest.mark.parametrize(
    "options",
    [{"every": 0}, {"every": 3, "back": 2}, {"every": 2.0}, {"every": True}, {"every": 2, "clip_norm": 0}],
)
def test_steps_that_make_no_sense(options):
    with pytest.raises(UsageError):
        TruncatedBPTT(network(), losses, keras.optimizers.SGD(), **options)


@pytest.mark.parametrize(
    "inputs,targets", [((2, 5, 3), (2, 4)), ((2, 5, 3), (3, 5)), ((0, 5, 3), (0, 5)), ((2, 0, 3), (2, 0)), ((2,), (2,))]
)
def test_sequences_that_do_not_fit(inputs, targets):
    with pytest.raises(ArrayError):
        trainer(network(), 2).epoch(np.zeros(inputs, np.float32), np.zeros(targets, np.int32))


@pytest.mark.parametrize("options", [{"cell": "gro"}, {"units": ()}, {"units": (0,)}, {"units": (True,)}])
def test_networks_that_make_no_sense(options):
    with pytest.raises(UsageError):
        network(**options)


def test_a_carried_network_is_of_stock_layers(tmp_path):
    net = network("gru")
    net.model.save(tmp_path / "net.keras")
    again = Carried(keras.models.load_model(tmp_path / "net.keras"), net.widths)
    x, _ = data()
    np.testing.assert_array_equal(np.asarray(again(x, again.zeros(2))[0]), np.asarray(net(x, net.zeros(2))[0]))
