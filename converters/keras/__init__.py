"""Hub graph -> Keras model of stock layers, channels_last, trainable, with the source's tap names.

In comes a checked ONNX graph; out goes a functional `keras.Model`. What Keras has a layer for becomes that layer, its
weights permuted once; what only `keras.ops` has becomes that operation; the rest goes into the one registered layer
`modelzoo>GraphFunction`, which runs operators of `converters.function`. Nothing is initialised: each weight goes from
the file's bytes into TensorFlow's memory once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from converters.keras.lowering import to_keras

__all__ = ["to_keras"]


def __getattr__(name: str) -> Any:
    # TensorFlow is imported only when somebody asks for a model.
    if name in __all__:
        from converters.keras import lowering

        return getattr(lowering, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
