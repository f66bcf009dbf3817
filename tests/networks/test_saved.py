"""A saved model opens where only TensorFlow and Keras are installed, and gives the same numbers."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from modelzoo import networks
from tests.networks.plain_inception import plain_inception_v1, random_variables

FRESH = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("modelzoo", "converters"):
            raise ImportError(name + " must not be needed")

sys.meta_path.insert(0, Refuse())
try:
    import modelzoo
except ImportError:
    pass
else:
    raise SystemExit("modelzoo could be imported: this proves nothing")
import keras, numpy
model = keras.models.load_model(sys.argv[1], safe_mode=True)
x = numpy.load(sys.argv[2])
numpy.save(sys.argv[3], numpy.asarray(model(x, training=False)))
assert not [name for name in sys.modules if name.partition(".")[0] == "modelzoo"]
"""


@pytest.fixture(scope="module")
def case():
    variable, arrays = random_variables(8)
    x = np.random.default_rng(9).uniform(-1, 1, (2, 96, 64, 3)).astype(np.float32)
    return arrays, x, plain_inception_v1(x, variable, 13, 0.25)


def test_a_keras_file_opens_without_modelzoo(case, tmp_path):
    arrays, x, ends = case
    model = networks.build("inception_v1", arrays=arrays, input_shape=(96, 64, 3), card_classes=13, width=0.25)
    model.save(tmp_path / "net.keras")
    np.save(tmp_path / "x.npy", x)
    done = subprocess.run(
        [sys.executable, "-I", "-c", FRESH, *(str(tmp_path / name) for name in ("net.keras", "x.npy", "out.npy"))],
        capture_output=True,
        text=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    found = np.load(tmp_path / "out.npy")
    assert np.abs(found - np.asarray(model(x))).max() <= 1e-5 * found.std()
    assert np.abs(found - ends["Logits"]).max() <= 3e-4 * found.std()


@pytest.mark.slow
def test_an_exported_saved_model_gives_the_same_numbers(case, tmp_path):
    import tensorflow as tf

    arrays, x, ends = case
    model = networks.build("inception_v1", arrays=arrays, input_shape=(96, 64, 3), card_classes=13, width=0.25)
    model.export(tmp_path / "saved", verbose=False)
    loaded = tf.saved_model.load(str(tmp_path / "saved"))
    found = loaded.serve(x).numpy()
    assert np.abs(found - ends["Logits"]).max() <= 3e-4 * found.std()
