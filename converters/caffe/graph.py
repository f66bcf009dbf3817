"""Files of a Caffe network -> checked hub graph."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import onnx_ir as ir

from converters.caffe.network import read_network
from converters.caffe.translate import translate

__all__ = ["load_caffe"]


def load_caffe(
    prototxt: str | os.PathLike[str],
    weights: Any = None,
    *,
    phase: str = "test",
    stages: Sequence[str] = (),
    level: int = 0,
    inputs: Mapping[str, Sequence[int]] | None = None,
    for_keras: bool = False,
) -> ir.Model:
    """Read a Caffe network and its weights, and translate it.

    Args:
        prototxt, weights, phase, stages, level, inputs: see `read_network`.
        for_keras: leave it to Keras' layers what dropout and normalisation do in training: the graph of phase "train"
            then computes neither random numbers nor statistics.

    Returns:
        The hub graph; inputs and outputs have Caffe's names and layout (N, C, H, W).

    Raises:
        ConversionError, InvalidGraphError, UnsupportedOperatorError: the network cannot be translated.
        WeightsMismatchError, CheckpointError: the weights do not fit, or cannot be read.
    """
    network = read_network(prototxt, weights, phase=phase, stages=stages, level=level, inputs=inputs)
    if for_keras and phase == "train":
        for layer in network.layers:
            object.__setattr__(layer, "phase", "fit")
    model = translate(network)
    network.check_weights()
    return model
