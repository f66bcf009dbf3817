"""Published recurrent networks of the data folder: restored, computed with, trained on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from modelzoo.errors import UsageError
from modelzoo.rnn import CharRNN, load_dtln, read_wav
from tests.data_folder import DATA, needs_data
from tests.rnn import plain_cells

pytestmark = needs_data

SCENE = """First Citizen:
Before we proceed any further, hear me speak.

All:
Speak, speak.

First Citizen:
You are all resolved rather to die than to famish?

All:
Resolved. resolved.

First Citizen:
First, you know Caius Marcius is chief enemy to the people.
"""
"""The first lines of Coriolanus."""

LAW = (Path(__file__).resolve().parents[2] / "LICENSE").read_text(encoding="utf-8")
"""A text of another kind, which every checkout has."""


@pytest.fixture
def shakespeare():
    return CharRNN.load(DATA / "models" / "char_rnn_shakespeare")


def test_shakespeare_is_the_published_network(shakespeare):
    from modelzoo.checkpoints import open_checkpoint

    with open_checkpoint(DATA / "models" / "char_rnn_shakespeare" / "model-85340") as file:
        arrays = {name: np.array(file[name]) for name in file if "/Adam" not in name}
    ids = shakespeare.vocabulary.encode(SCENE)
    wanted = plain_cells.logits(arrays, "basic_lstm_cell", ids)
    found, _ = shakespeare.network(ids[None], shakespeare.network.zeros(1))
    np.testing.assert_allclose(np.asarray(found)[0], wanted, atol=1e-4)
    # It knows this text; with the forget bias of 1 that TensorFlow's cell has by default it would be near 4.
    assert shakespeare.perplexity(SCENE) < 3.6
    default = CharRNN.load(DATA / "models" / "char_rnn_shakespeare", forget_bias=1.0)
    assert default.perplexity(SCENE) > 1.1 * shakespeare.perplexity(SCENE)
    # Its authors measured 5.39 on their test text; the prose of lawyers is harder.
    assert 5.4 < shakespeare.perplexity(shakespeare.vocabulary.filter(LAW)[:2000]) < 200


def test_shakespeare_writes(shakespeare):
    text = shakespeare.generate("ROMEO:\n", 300, temperature=0.5, seed=1)
    words = text.replace("\n", " ").split()
    assert 4 < len(text) / len(words) < 8
    assert {"the", "and", "of", "to", "I", "you", "my"} & set(words)


def test_shakespeare_is_trained_on(shakespeare):
    text = shakespeare.vocabulary.filter(LAW)
    train, held = text[:8000], text[8000:]
    before = shakespeare.perplexity(held)
    history = shakespeare.fit(train, held, epochs=2, batch_size=8, window=40, learning_rate=3e-3)
    assert history["perplexity"][1] < history["perplexity"][0] < before
    assert history["val_perplexity"][1] < 0.5 * before


@pytest.fixture(scope="module")
def speech():
    clean = np.concatenate([read_wav(DATA / "audio" / f"{word}_1000ms.wav")[0] for word in ("yes", "no")])
    noise = np.random.default_rng(0).normal(0, 0.05, clean.shape).astype(np.float32)
    return clean, clean + noise


def ratio(clean, signal):
    return 10 * np.log10((clean**2).sum() / ((clean - signal) ** 2).sum())


def test_dtln_takes_noise_out_of_speech(speech):
    clean, noisy = speech
    model = load_dtln(DATA / "models" / "dtln" / "model.h5")
    found = np.asarray(model(noisy[None]))[0]
    assert found.shape == clean.shape and model.count_params() == 986_753
    assert ratio(clean, noisy) < 4 < 9 < ratio(clean, found)


def test_dtln_agrees_with_its_published_onnx_form(speech):
    """The streaming form: block by block, with the LSTMs' states carried by hand."""
    import onnxruntime

    _, noisy = speech
    first, second = (
        onnxruntime.InferenceSession(DATA / "models" / "dtln" / f"model_{n}.onnx", providers=["CPUExecutionProvider"])
        for n in (1, 2)
    )
    states = [np.zeros((1, 2, 128, 2), np.float32) for _ in range(2)]
    count = 40
    total = np.zeros(512 + 128 * (count - 1), np.float32)
    for n in range(count):
        spectrum = np.fft.rfft(noisy[n * 128 : n * 128 + 512])
        magnitude = np.abs(spectrum).astype(np.float32)[None, None]
        mask, states[0] = first.run(None, {"input_2": magnitude, "input_3": states[0]})
        block = np.fft.irfft(mask[0, 0] * spectrum).astype(np.float32)[None, None]
        decoded, states[1] = second.run(None, {"input_4": block, "input_5": states[1]})
        total[n * 128 : n * 128 + 512] += decoded[0, 0]
    model = load_dtln(DATA / "models" / "dtln" / "model.h5")
    found = np.asarray(model(noisy[None, : total.size]))[0]
    assert np.abs(found - total).max() < 1e-3 * np.abs(total).max()


def test_dtln_is_trained_on(speech):
    import keras

    clean, noisy = speech
    model = load_dtln(DATA / "models" / "dtln" / "model.h5")
    model.compile(keras.optimizers.Adam(3e-4), "mse", jit_compile=False)
    x, y = noisy[None, :8192], clean[None, :8192]
    before = model.evaluate(x, y, verbose=0)
    model.fit(x, y, epochs=15, verbose=0)
    assert model.evaluate(x, y, verbose=0) < 0.95 * before


KEYWORDS = {
    "LSTM_S": (25, "LSTM-Layer/lstm/rnn/while/Exit_3", "Output-Layer/add"),
    "GRU_S": (25, "rnn/while/Exit_2", "Output-Layer/add"),
    "CRNN_S": (49, "Relu_1", "add_2"),
}
"""Network -> frames of its MFCC, the value behind its recurrent layers, its logits."""

YES, NO = 2, 3


def keywords(name):
    """(the graph from its MFCC to its logits as a Keras model, the MFCC of "yes" and "no").

    The graphs have a batch of 1 written into the state of their loops.
    """
    from converters.tensorflow import convert_graph, load

    frames, _, logits = KEYWORDS[name]
    path = DATA / "models" / "kws_pb" / f"{name}.pb"
    front = load(path)
    sounds = [(DATA / "audio" / f"{word}_1000ms.wav").read_bytes() for word in ("yes", "no")]
    mfcc = np.concatenate([np.asarray(front(sound, outputs=["Mfcc"])["Mfcc"]) for sound in sounds])
    return convert_graph(path, inputs={"Mfcc": (1, frames, 10)}, outputs=[logits]), mfcc


@pytest.mark.parametrize("name", KEYWORDS)
def test_keyword_graphs_are_trained_on(name):
    import keras

    model, mfcc = keywords(name)

    def answers():
        return [int(np.asarray(model(one[None])).argmax()) for one in mfcc]

    assert answers() == [YES, NO]
    # The same words, called by each other's names from now on.
    before = {v.path: np.asarray(v) for v in model.trainable_variables}
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(5e-3), loss, jit_compile=False)
    history = model.fit(mfcc, np.asarray([NO, YES]), batch_size=1, epochs=15, verbose=0).history["loss"]
    assert history[-1] < 0.2 * history[0]
    assert answers() == [NO, YES]
    moved = [v for v in model.trainable_variables if not np.array_equal(np.asarray(v), before[v.path])]
    assert len(moved) == len(before) >= 5


def test_a_graph_of_one_at_a_time_is_no_network_for_every_step():
    from modelzoo.finetune import Backbone, Head
    from modelzoo.rnn import SequenceTuner

    backbone = Backbone(keywords("GRU_S")[0], tap=KEYWORDS["GRU_S"][1])
    with pytest.raises(UsageError, match="takes 1 at a time"):
        SequenceTuner(backbone, Head("sequence", 2), steps=2)
