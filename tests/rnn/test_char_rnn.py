"""Character RNNs: TensorFlow 1 cells against plain ones, reading, writing, training on, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest

from modelzoo.checkpoints.write_v2 import write_v2
from modelzoo.errors import (
    ArrayError,
    CheckpointError,
    CheckpointFormatError,
    InputError,
    UsageError,
    WeightsMismatchError,
)
from modelzoo.rnn import CharRNN, Vocabulary, tf_cells
from tests.rnn import plain_cells

LETTERS = Vocabulary("abcdefg \n")
TEXT = "a bad cab\ndeaf egg\nbee fed a cafe\nface a decade\n" * 4


def small(seed=1, **options):
    return CharRNN(LETTERS, seed=seed, **{"units": (7, 5), **options})


def state(network):
    return [np.asarray(v) for v in [*network.model.variables, *network.model.optimizer.variables]]


@pytest.mark.parametrize(
    "cell,widths,embedding,forget_bias",
    [
        pytest.param("basic_lstm_cell", (6,), 0, 0.0, marks=pytest.mark.slow),
        ("basic_lstm_cell", (5, 4, 7), 0, 1.0),
        ("basic_lstm_cell", (6, 3), 4, 0.5),
        pytest.param("gru_cell", (5, 4), 0, 0.0, marks=pytest.mark.slow),
        ("gru_cell", (6,), 4, 0.0),
        pytest.param("basic_rnn_cell", (5, 4), 0, 0.0, marks=pytest.mark.slow),
        ("basic_rnn_cell", (6,), 4, 0.0),
    ],
)
def test_checkpoints_compute_what_their_cells_define(tmp_path, cell, widths, embedding, forget_bias):
    arrays = plain_cells.invented(cell, widths, len(LETTERS), embedding)
    slots = {f"{name}/Adam": array for name, array in arrays.items()}
    write_v2(tmp_path / "model-7", {**arrays, **slots, "global_step": np.int64(7), "train/count": np.float32(2)})
    (tmp_path / "vocab.json").write_text(json.dumps({c: n for n, c in enumerate(LETTERS.characters)}))
    network = CharRNN.load(tmp_path / "model-7", forget_bias=forget_bias)
    ids = LETTERS.encode(TEXT[:40])
    wanted = plain_cells.logits(arrays, cell, ids, forget_bias)
    found, _ = network.network(ids[None], network.network.zeros(1))
    np.testing.assert_allclose(np.asarray(found)[0], wanted, atol=2e-5)
    top = wanted.max(axis=1, keepdims=True)
    shares = wanted - top - np.log(np.exp(wanted - top).sum(axis=1, keepdims=True))
    own = shares[np.arange(39), ids[1:]]
    np.testing.assert_allclose(network.log_probabilities(TEXT[:40]), own, atol=1e-5)
    assert network.perplexity(TEXT[:40]) == pytest.approx(np.exp(-own.mean()), rel=1e-5)
    # Nothing but one-hot vectors, recurrent layers and a Dense one, of the shapes that were read off.
    assert network.facts["units"] == list(widths) and network.facts["embedding"] == embedding


def test_the_forget_bias_matters(tmp_path):
    arrays = plain_cells.invented("basic_lstm_cell", (5,), len(LETTERS))
    write_v2(tmp_path / "model", arrays)
    one, other = (CharRNN.load(tmp_path / "model", vocabulary=LETTERS, forget_bias=bias) for bias in (0.0, 1.0))
    assert abs(one.perplexity(TEXT[:40]) - other.perplexity(TEXT[:40])) > 0.01


def test_long_texts_are_read_in_pieces_with_the_state_carried(monkeypatch):
    from modelzoo.rnn import char_rnn

    network = small()
    whole = network.log_probabilities(TEXT)
    monkeypatch.setattr(char_rnn, "_CHUNK", 13)
    np.testing.assert_allclose(network.log_probabilities(TEXT), whole, atol=1e-6)
    assert network.generate(TEXT, 20, seed=3) == small().generate(TEXT, 20, seed=3)


def test_writing():
    network = small()
    text = network.generate("a", 30, seed=4)
    assert len(text) == 30 and set(text) <= set(LETTERS.characters)
    assert text == network.generate("a", 30, seed=4) != network.generate("a", 30, seed=5)
    # Going on from what was written is going on.
    greedy = network.generate("a", 12, temperature=0)
    assert greedy == network.generate("a", 12, temperature=0, seed=9)
    assert network.generate("a" + greedy[:5], 7, temperature=0) == greedy[5:]
    assert network.generate("a", 0) == ""


def test_draws_follow_the_distribution():
    network = small()
    logits, _ = network.network(LETTERS.encode("a")[None], network.network.zeros(1))
    scores = np.asarray(logits)[0, 0] / 0.5
    shares = np.exp(scores) / np.exp(scores).sum()
    drawn = [network.generate("a", 1, temperature=0.5, seed=seed) for seed in range(800)]
    counts = np.array([drawn.count(c) for c in LETTERS.characters]) / 800
    # Three standard deviations of a share.
    assert (np.abs(counts - shares) < 3 * np.sqrt(shares / 800) + 1e-3).all()


def test_a_cold_network_prefers_the_likely():
    network = small()
    network.fit(TEXT, epochs=2, batch_size=4, window=12)
    cold, hot = (network.perplexity("a" + network.generate("a", 200, temperature=t)) for t in (0.2, 3.0))
    assert cold < hot


def test_it_learns_the_text():
    network = small(units=(24,))
    before = network.perplexity(TEXT)
    history = network.fit(TEXT, TEXT[:80], epochs=25, batch_size=2, window=12, learning_rate=0.02)
    assert len(history["perplexity"]) == len(history["val_perplexity"]) == 25
    assert before == pytest.approx(len(LETTERS), rel=0.1)  # knows nothing yet
    assert network.perplexity(TEXT) < before / 2
    assert history["val_perplexity"][-1] == pytest.approx(network.perplexity(TEXT[:80]))


@pytest.mark.parametrize(
    "options,back",
    [
        pytest.param({}, None, marks=pytest.mark.slow),
        pytest.param({"cell": "gru", "embedding": 4, "dropout": 0.3}, 40, marks=pytest.mark.slow),
        ({"cell": "simple", "embedding": 4, "dropout": 0.3}, 30),
    ],
)
def test_interrupted_and_resumed_is_uninterrupted_bit_for_bit(tmp_path, monkeypatch, options, back):
    how = {"batch_size": 3, "window": 20, "back": back, "epochs": 3}
    whole = small(**options)
    history = whole.fit(TEXT, TEXT[:50], **how)

    from modelzoo.rnn.truncated import TruncatedBPTT

    run, seen = TruncatedBPTT.epoch, []

    def interrupted(self, inputs, targets, **more):
        seen.append(1)
        if len(seen) < 3:
            return run(self, inputs, targets, **more)
        run(self, inputs[:, :40], targets[:, :40])
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(TruncatedBPTT, "epoch", interrupted)
        with pytest.raises(KeyboardInterrupt):
            small(**options).fit(TEXT, TEXT[:50], folder=tmp_path, **how)
    second = small(**options)
    assert second.fit(TEXT, TEXT[:50], folder=tmp_path, **how) == history
    for a, b in zip(state(whole), state(second), strict=True):
        np.testing.assert_array_equal(a, b)


def test_another_setting_does_not_go_on(tmp_path):
    small().fit(TEXT, epochs=1, folder=tmp_path)
    with pytest.raises(CheckpointFormatError, match="another text"):
        small().fit(TEXT + "a", epochs=2, folder=tmp_path)
    with pytest.raises(CheckpointFormatError, match="another window"):
        small().fit(TEXT, epochs=2, window=9, folder=tmp_path)
    with pytest.raises(CheckpointFormatError, match="another network"):
        small(units=(3,)).fit(TEXT, epochs=2, folder=tmp_path)


@pytest.mark.parametrize("cell", ["simple", "gru", "lstm"])
def test_a_saved_network_comes_back(tmp_path, cell):
    one = small(cell=cell, embedding=3, dropout=0.1)
    one.save(tmp_path / "net")
    again = CharRNN.load(tmp_path / "net")
    assert again.facts == one.facts and again.vocabulary == one.vocabulary
    assert again.perplexity(TEXT) == one.perplexity(TEXT)
    again.fit(TEXT, epochs=1)


def test_a_seed_decides_the_weights():
    one, again, other = (small(seed).arrays() for seed in (1, 1, 2))
    for name, array in one.items():
        np.testing.assert_array_equal(array, again[name])
        assert name.endswith("bias") or not np.array_equal(array, other[name])


def _write(folder, arrays, vocabulary=LETTERS):
    write_v2(folder / "model", arrays)
    (folder / "vocab.json").write_text(json.dumps({c: n for n, c in enumerate(vocabulary.characters)}))
    return folder / "model"


def _arrays(cell="basic_lstm_cell"):
    return plain_cells.invented(cell, (5, 4), len(LETTERS))


def _without(part):
    return {name: array for name, array in _arrays().items() if part not in name}


def _with(part, array):
    return {name: array if part in name else old for name, old in _arrays().items()}


@pytest.mark.parametrize(
    "arrays,error",
    [
        (_without("softmax_w"), CheckpointError),
        (_without("cell_0/"), CheckpointError),
        (_without("cell_"), CheckpointError),
        (_without("cell_1/basic_lstm_cell/bias"), WeightsMismatchError),
        (_with("cell_1/basic_lstm_cell/kernel", np.zeros((10, 16), np.float32)), WeightsMismatchError),
        (_with("cell_1/basic_lstm_cell/kernel", np.zeros((9, 15), np.float32)), ArrayError),
        (_with("cell_0/basic_lstm_cell/kernel", np.zeros((3, 20), np.float32)), ArrayError),
        (_with("cell_0/basic_lstm_cell/bias", np.zeros((2, 10), np.float32)), ArrayError),
        (_with("softmax_w", np.zeros((3, 9), np.float32)), WeightsMismatchError),
        (_with("softmax_b", np.zeros(8, np.float32)), InputError),
        ({**_arrays(), **_arrays("gru_cell")}, CheckpointError),
    ],
)
def test_checkpoints_that_are_no_character_rnn(tmp_path, arrays, error):
    with pytest.raises(error):
        CharRNN.load(_write(tmp_path, arrays))


@pytest.mark.parametrize(
    "content",
    ["", "[1]", "{}", '{"a": 0, "b": 2}', '{"a": 0, "b": 0}', '{"a": true}', '{"ab": 0}', '{"a": "0"}', "[" * 9999],
)
def test_vocabularies_that_are_none(tmp_path, content):
    path = _write(tmp_path, _arrays())
    (tmp_path / "vocab.json").write_text(content)
    with pytest.raises(InputError):
        CharRNN.load(path)
    (tmp_path / "vocab.json").unlink()
    with pytest.raises(InputError, match="vocabulary is missing"):
        CharRNN.load(path)


def test_no_checkpoint(tmp_path):
    (tmp_path / "vocab.json").write_text('{"a": 0}')
    with pytest.raises(CheckpointError):
        CharRNN.load(tmp_path / "nothing")


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{}",
        '{"characters": ["a"], "cell": "gru", "layers": 3}',
        '{"characters": 3}',
        "[]",
        '{"characters": ["a"], "units": 3}',
    ],
)
def test_damaged_descriptions(tmp_path, content):
    small().save(tmp_path)
    (tmp_path / "char_rnn.json").write_text(content)
    with pytest.raises((CheckpointFormatError, UsageError, WeightsMismatchError)):
        CharRNN.load(tmp_path)


def test_weights_of_another_network(tmp_path):
    small().save(tmp_path / "one")
    small(units=(3,)).save(tmp_path / "two")
    (tmp_path / "two" / "char_rnn.safetensors").replace(tmp_path / "one" / "char_rnn.safetensors")
    with pytest.raises(WeightsMismatchError, match="lstm_2"):
        CharRNN.load(tmp_path / "one")


def test_texts_that_do_not_fit():
    network = small()
    for call in (
        lambda: network.perplexity("a"),
        lambda: network.perplexity("axe"),
        lambda: network.generate("", 3),
        lambda: network.generate("x", 3),
        lambda: network.fit("abc", batch_size=3),
        lambda: network.fit("abcx"),
        lambda: network.fit(TEXT, "a"),
    ):
        with pytest.raises(InputError):
            call()
    with pytest.raises(InputError, match="'x' 'ä'"):
        network.perplexity("xä")
    assert LETTERS.filter("axeä") == "ae"


def test_numbers_that_make_no_sense():
    network = small()
    for call in (
        lambda: network.generate("a", -1),
        lambda: network.generate("a", 1.5),
        lambda: network.generate("a", 1, temperature=-1),
        lambda: network.generate("a", 1, temperature=float("nan")),
        lambda: network.generate("a", 1, temperature=float("inf")),
        lambda: network.fit(TEXT, epochs=0),
        lambda: network.fit(TEXT, batch_size=0),
        lambda: network.fit(TEXT, window=0),
        lambda: network.fit(TEXT, window=9, back=8),
        lambda: small(dropout=1),
        lambda: small(embedding=-1),
        lambda: small(cell="gro"),
    ):
        with pytest.raises(UsageError):
            call()


@pytest.mark.parametrize("cell", [tf_cells.basic_lstm, tf_cells.basic_rnn])
def test_arrays_of_no_cell(cell):
    for kernel, bias in (((5, 8), (7,)), ((5, 8, 1), (8,)), ((2, 8), (8,)), ((5, 8), ()), ((1, 4), (4,))):
        with pytest.raises(ArrayError):
            cell(np.zeros(kernel, np.float32), np.zeros(bias, np.float32))


def test_a_card_builds_the_model(tmp_path):
    from modelzoo.registry import Card
    from modelzoo.rnn.char_rnn_checkpoint import build_char_rnn

    raw = {"title": "t", "task": "text_generation", "framework": "tensorflow"}
    raw["build"] = {"network": "char_rnn", "args": {"forget_bias": 1.0}}
    card = Card.from_dict("writer", raw)
    path = _write(tmp_path, _arrays())
    model = build_char_rnn(card, path, input_shape=None, fetch=None)
    wanted = CharRNN.load(path, forget_bias=1.0)
    assert model.char_rnn.perplexity(TEXT) == wanted.perplexity(TEXT)
    assert sorted(model.input) == ["inputs", "state_1a", "state_1b", "state_2a", "state_2b"]
    with pytest.raises(UsageError, match="read off its weights"):
        build_char_rnn(card, None)
