"""Caffe's messages: classes made from `caffe.pb`, the compiled form of `caffe.proto`.

They live in a descriptor pool of their own, so that an installed `caffe` package, which registers the same names, does
not clash with them.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

__all__ = ["DESCRIPTORS", "STANDARD_TYPES", "is_repeated", "message_class", "new"]

DESCRIPTORS = Path(__file__).with_name("caffe.pb")
"""A serialized FileDescriptorSet."""


@functools.cache
def _pool() -> Any:
    from google.protobuf import descriptor_pb2, descriptor_pool

    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(DESCRIPTORS.read_bytes()).file:
        pool.AddSerializedFile(file.SerializeToString())
    return pool


@functools.cache
def message_class(name: str) -> Any:
    """The class of a message: `message_class("LayerParameter")`.

    Raises:
        KeyError: there is no message of this name.
    """
    from google.protobuf import message_factory

    return message_factory.GetMessageClass(_pool().FindMessageTypeByName(f"caffe.{name}"))


def new(name: str, /, **fields: Any) -> Any:
    """A new message with these fields: `new("FillerParameter", type="xavier")`."""
    return message_class(name)(**fields)


def is_repeated(description: Any) -> bool:
    """Whether a field of this description holds a list (protobuf 7 has no `label`, the first 6 no `is_repeated`)."""
    found = getattr(description, "is_repeated", None)
    return bool(description.label == description.LABEL_REPEATED if found is None else found)


_TYPES = """AbsVal Accuracy ArgMax BNLL BatchNorm BatchReindex Bias Clip Concat ContrastiveLoss Convolution Crop Data
    Deconvolution Dropout DummyData ELU Eltwise Embed EuclideanLoss Exp Filter Flatten HDF5Data HDF5Output HingeLoss
    Im2col ImageData InfogainLoss InnerProduct Input LRN LSTM LSTMUnit Log MVN MemoryData MultinomialLogisticLoss PReLU
    Parameter Pooling Power Python RNN ReLU Reduction Reshape SPP Scale Sigmoid SigmoidCrossEntropyLoss Silence Slice
    Softmax SoftmaxWithLoss Split Swish TanH Threshold Tile WindowData"""

STANDARD_TYPES = frozenset(_TYPES.split())
"""The layer types of BVLC Caffe."""
