"""RNN, LSTM and LSTMUnit against the equations of their layers, written out step by step."""

from __future__ import annotations

import numpy as np
import pytest

from modelzoo.errors import ConversionError
from tests.converters.caffe.networks import inputs, model_of, run

T, N, H = 5, 3, 6
SIZE, STATIC = 4, 2  # of the two inputs


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def lstm(x, cont, arrays, static=None, h=None, c=None):
    """h (T, N, H), last h, last c."""
    w_x, bias, *w_static, w_h = arrays
    size = w_h.shape[1]
    h = np.zeros((x.shape[1], size)) if h is None else h[0]
    c = np.zeros((x.shape[1], size)) if c is None else c[0]
    made = []
    for t in range(len(x)):
        keep = cont[t][:, None]
        gates = x[t].reshape(x.shape[1], -1) @ w_x.T + bias + (keep * h) @ w_h.T
        if static is not None:
            gates = gates + static @ w_static[0].T
        i, f, o, g = np.split(gates, 4, axis=1)
        c = keep * (sigmoid(f) * c) + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        made.append(h)
    return np.stack(made), h[None], c[None]


def rnn(x, cont, arrays, static=None, h=None):
    """o (T, N, H), last h."""
    w_x, b_h, *w_static, w_h, w_o, b_o = arrays
    h = np.zeros((x.shape[1], w_h.shape[0])) if h is None else h[0]
    made = []
    for t in range(len(x)):
        drive = x[t].reshape(x.shape[1], -1) @ w_x.T + b_h + (cont[t][:, None] * h) @ w_h.T
        h = np.tanh(drive if static is None else drive + static @ w_static[0].T)
        made.append(np.tanh(h @ w_o.T + b_o))
    return np.stack(made), h[None]


def random(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype(np.float32)


CONT = np.ones((T, N), np.float32)
CONT[0], CONT[2, 1], CONT[3, 2] = 0, 0, 0.5  # a new sequence, and a state that counts by half


def layer(kind, bottoms, tops, **fields):
    names = " ".join([*(f'bottom: "{name}"' for name in bottoms), *(f'top: "{name}"' for name in tops)])
    said = " ".join(f"{key}: {value}" for key, value in fields.items())
    return f'layer {{ name: "rec" type: "{kind}" {names} recurrent_param {{ num_output: {H} {said} }} }}'


@pytest.mark.parametrize("with_static", [False, True])
@pytest.mark.parametrize("exposed", [False, True])
@pytest.mark.parametrize("shape", [(SIZE,), (2, 1, 2)])
def test_lstm(with_static, exposed, shape):
    arrays = [random(4 * H, SIZE), random(4 * H), *([random(4 * H, STATIC)] if with_static else []), random(4 * H, H)]
    feeds = {"x": random(T, N, *shape), "cont": CONT}
    if with_static:
        feeds["s"] = random(N, STATIC)
    if exposed:
        feeds |= {"h0": random(1, N, H), "c0": random(1, N, H, seed=1)}
    tops = ["h", "hT", "cT"] if exposed else ["h"]
    text = inputs(**{name: value.shape for name, value in feeds.items()})
    text += layer("LSTM", feeds, tops, expose_hidden=str(exposed).lower())
    found = run(text, feeds, {"rec": arrays})
    expected = lstm(feeds["x"], CONT, arrays, feeds.get("s"), feeds.get("h0"), feeds.get("c0"))
    for name, value in zip(tops, expected, strict=False):
        np.testing.assert_allclose(found[name], value, rtol=1e-4, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("with_static", [False, True])
@pytest.mark.parametrize("exposed", [False, True])
def test_rnn(with_static, exposed):
    arrays = [random(H, SIZE), random(H), *([random(H, STATIC)] if with_static else [])]
    arrays += [random(H, H), random(H, H, seed=1), random(H, seed=1)]
    feeds = {"x": random(T, N, SIZE), "cont": CONT}
    if with_static:
        feeds["s"] = random(N, STATIC)
    if exposed:
        feeds["h0"] = random(1, N, H)
    tops = ["o", "hT"] if exposed else ["o"]
    text = inputs(**{name: value.shape for name, value in feeds.items()})
    text += layer("RNN", feeds, tops, expose_hidden=str(exposed).lower())
    found = run(text, feeds, {"rec": arrays})
    expected = rnn(feeds["x"], CONT, arrays, feeds.get("s"), feeds.get("h0"))
    for name, value in zip(tops, expected, strict=False):
        np.testing.assert_allclose(found[name], value, rtol=1e-4, atol=1e-5, err_msg=name)


def test_states_passed_from_call_to_call_continue_a_sequence():
    arrays = {"rec": [random(4 * H, SIZE), random(4 * H), random(4 * H, H)]}
    x, cont = random(4, N, SIZE), np.ones((4, N), np.float32)
    whole = run(
        inputs(x=x.shape, cont=cont.shape) + layer("LSTM", ["x", "cont"], ["h"]), {"x": x, "cont": cont}, arrays
    )
    text = inputs(x=(2, N, SIZE), cont=(2, N), h0=(1, N, H), c0=(1, N, H))
    text += layer("LSTM", ["x", "cont", "h0", "c0"], ["h", "hT", "cT"], expose_hidden="true")
    zeros = np.zeros((1, N, H))
    first = run(text, {"x": x[:2], "cont": cont[:2], "h0": zeros, "c0": zeros}, arrays)
    second = run(text, {"x": x[2:], "cont": cont[2:], "h0": first["hT"], "c0": first["cT"]}, arrays)
    np.testing.assert_allclose(np.concatenate([first["h"], second["h"]]), whole["h"], rtol=1e-4, atol=1e-5)


def test_a_sequence_may_be_longer_than_the_prototxt_says():
    arrays = {"rec": [random(4 * H, SIZE), random(4 * H), random(4 * H, H)]}
    x, cont = random(9, N, SIZE), np.ones((9, N), np.float32)
    text = inputs(x=(T, N, SIZE), cont=(T, N)) + layer("LSTM", ["x", "cont"], ["h"])
    np.testing.assert_allclose(
        run(text, {"x": x, "cont": cont}, arrays)["h"], lstm(x, cont, arrays["rec"])[0], rtol=1e-4, atol=1e-5
    )


def test_lstm_unit():
    c, gates, cont = random(1, N, H), random(1, N, 4 * H), np.array([[0, 1, 0.5]], np.float32)
    text = inputs(c=c.shape, g=gates.shape, cont=cont.shape)
    text += 'layer { name: "u" type: "LSTMUnit" bottom: "c" bottom: "g" bottom: "cont" top: "c1" top: "h1" }'
    found = run(text, {"c": c, "g": gates, "cont": cont})
    i, f, o, g = np.split(gates, 4, axis=2)
    c1 = cont[..., None] * sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    np.testing.assert_allclose(found["c1"], c1, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found["h1"], sigmoid(o) * np.tanh(c1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("shapes", "bottoms", "message"),
    [
        ({"x": (T, N, SIZE), "cont": (N, T)}, ["x", "cont"], "its cont"),
        ({"x": (T, N, SIZE), "cont": (T, N), "s": (T, STATIC)}, ["x", "cont", "s"], "another batch"),
        ({"x": (T, N, SIZE)}, ["x"], "1 bottoms"),
    ],
)
def test_bottoms_that_do_not_fit_are_refused(shapes, bottoms, message):
    with pytest.raises(ConversionError, match=message):
        model_of(inputs(**shapes) + layer("LSTM", bottoms, ["h"]))
