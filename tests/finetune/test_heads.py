"""Heads: shapes, description as JSON, refusals."""

from __future__ import annotations

import json

import keras
import numpy as np
import pytest

from modelzoo.errors import UsageError
from modelzoo.finetune import Head

CASES = [
    (Head("linear", 4), (7,), (4,)),
    (Head("linear", 4, {"dropout": 0.5}), (3, 3, 5), (4,)),
    (Head("mlp", 3, {"hidden": [8, 6], "dropout": 0.1, "norm": "layer"}), (7,), (3,)),
    (Head("linear", 4, {"norm": "batch"}), (7,), (4,)),
    (Head("sequence", 3, {"cell": "lstm", "units": [4, 5]}), (6, 7), (3,)),
    (Head("sequence", 3, {"bidirectional": True, "every_step": True}), (6, 7), (6, 3)),
    (Head("sequence", 3, {"cell": "simple"}), (None, 7), (3,)),
    (Head("spatial", 2, {"upsample": 4}), (3, 5, 6), (12, 20, 2)),
    (Head("spatial", 2, {"hidden": 0}), (None, None, 6), (None, None, 2)),
]


@pytest.mark.parametrize("head,shape,wanted", CASES, ids=lambda case: getattr(case, "kind", None))
def test_a_head_comes_back_from_its_description(head, shape, wanted):
    again = Head.from_dict(json.loads(json.dumps(head.as_dict())))
    assert again.as_dict() == head.as_dict()
    features = keras.Input(shape)
    assert tuple(again(features).shape) == (None, *wanted)


def test_masked_steps_do_not_count():
    features = keras.Input((None, 4))
    model = keras.Model(features, Head("sequence", 2)(features))
    x = np.random.default_rng(0).normal(size=(1, 5, 4)).astype(np.float32)
    padded = np.concatenate([x, np.zeros((1, 3, 4), np.float32)], axis=1)
    np.testing.assert_allclose(np.asarray(model(padded)), np.asarray(model(x)), atol=1e-6)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Head("linaer", 3),
        lambda: Head("linear", 0),
        lambda: Head("linear", True),
        lambda: Head("linear", 3, {"hidden": [3]}),
        lambda: Head.from_dict({"kind": "linear"}),
        lambda: Head.from_dict("linear"),
        lambda: Head("linear", 3, {"norm": "group"})(keras.Input((4,))),
        lambda: Head("spatial", 3)(keras.Input((4,))),
        lambda: Head("sequence", 3)(keras.Input((4,))),
        lambda: Head("linear", 3)(keras.Input((None,))),
        lambda: Head("sequence", 3, {"cell": "gre"})(keras.Input((4, 4))),
    ],
)
def test_refusals(make):
    with pytest.raises(UsageError):
        make()
