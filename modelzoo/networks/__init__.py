"""Networks for checkpoints that carry variables only: named arrays go in, a Keras model with named taps comes out.

One file a family, written so that a reader finds the paper's table in the code. Every layer is a stock Keras layer,
so that a saved model opens where only TensorFlow and Keras are installed. No random number is drawn for a variable
that the arrays give.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from modelzoo.errors import ArrayError, UnknownNetworkError, UsageError

if TYPE_CHECKING:
    import keras
    import numpy as np

# network -> (module, function, default height and width, default classes, scope of the classifier's variables)
NETWORKS: dict[str, tuple[str, str, tuple[int, int], int, str]] = {
    "inception_v1": ("inception_v1", "inception_v1", (224, 224), 1001, r"^InceptionV1/Logits/"),
}
"""The networks that `build` knows."""


def build(
    network: str,
    *,
    arrays: Mapping[str, np.ndarray] | None = None,
    input_shape: tuple[int | None, int | None, int] | None = None,
    include_top: bool = True,
    classes: int | None = None,
    pooling: str | None = None,
    name: str | None = None,
    card_classes: int | None = None,
    **args: Any,
) -> keras.Model:
    """Build a network and put arrays into it, each copied once.

    Args:
        network: a key of `NETWORKS`.
        arrays: variable name -> array, as the checkpoint names them; None = untrained, with Keras' initialisers.
        input_shape: (H, W, 3); H and W may be None. Default: what the network was published with.
        include_top: whether the classifier is part of the model; without it the output is the last feature map.
        classes: a new head of this width, which the arrays do not fill.
        pooling: `avg` or `max` over height and width of the output, only without the classifier.
        name: of the model.
        card_classes: width of the classifier that the arrays hold, if not the published one.
        **args: what the network's function takes besides (`width=0.25`).

    Returns:
        The model. `model.taps` is {name: Tap} in the network's order; `model.source_names` maps layer names to
        slim's scopes and `model.variable_names` layer variables to checkpoint names.

    Raises:
        UnknownNetworkError: there is no such network.
        UsageError: arguments that contradict each other, or that the network does not take.
        ArrayError: the input shape is too small or not (H, W, 3).
        WeightsMismatchError: arrays and network do not fit; all names are listed.
    """
    check_arguments(network, input_shape=input_shape, include_top=include_top, classes=classes, pooling=pooling, **args)
    import keras

    from modelzoo.networks.slim import POOLED
    from modelzoo.networks.weights import ArraySource, alike_named

    _, _, size, published, head = NETWORKS[network]
    shape = _checked_shape(input_shape, size)
    new_head = classes is not None
    ignore = head if new_head or not include_top else None
    source = ArraySource(arrays, ignore)
    inputs = keras.Input(shape, name="input")
    with alike_named():
        outputs, net = _builder(network)(
            inputs,
            source,
            include_top=include_top,
            classes=classes or card_classes or published,
            new_head=new_head,
            **args,
        )
    source.finish(network)
    if pooling == "avg":
        outputs = keras.layers.GlobalAveragePooling2D(name=POOLED)(outputs)
    elif pooling == "max":
        outputs = keras.layers.GlobalMaxPooling2D(name=POOLED)(outputs)
    model = keras.Model(inputs, outputs, name=name or network)
    # Plain attributes: Keras would wrap and track dictionaries that it sees.
    object.__setattr__(model, "taps", net.taps)
    object.__setattr__(model, "source_names", net.source_names)
    object.__setattr__(model, "variable_names", net.variable_names)
    return model


def check_arguments(
    network: str,
    *,
    input_shape: tuple[int | None, int | None, int] | None = None,
    include_top: bool = True,
    classes: int | None = None,
    pooling: str | None = None,
    **args: Any,
) -> None:
    """Raise what `build` would raise for these arguments alone, before any weight is at hand."""
    if network not in NETWORKS:
        raise UnknownNetworkError(network, NETWORKS)
    if pooling not in (None, "avg", "max"):
        raise UsageError("pooling is 'avg', 'max' or None.", received=repr(pooling))
    if pooling and include_top:
        raise UsageError(
            "pooling applies to the last feature map, and this model ends in a classifier.",
            received=f"pooling={pooling!r}, include_top=True",
            hint="pass include_top=False, or features=[...] for pooled taps",
        )
    if classes is not None and (not isinstance(classes, int) or isinstance(classes, bool) or classes < 1):
        raise UsageError("classes is a positive whole number.", received=repr(classes))
    if classes is not None and not include_top:
        raise UsageError(
            "classes=N builds a new classifier, and this model has none.",
            received=f"classes={classes}, include_top=False",
            hint="leave one of the two out",
        )
    _checked_shape(input_shape, NETWORKS[network][2])
    unknown = [key for key in args if key not in inspect.signature(_builder(network)).parameters]
    if unknown:
        raise UsageError(f"The network {network!r} takes no {unknown[0]!r}.", received=repr(args))


def _builder(network: str) -> Callable[..., Any]:
    module, function, *_ = NETWORKS[network]
    return getattr(importlib.import_module(f"modelzoo.networks.{module}"), function)


def _checked_shape(
    given: tuple[int | None, int | None, int] | None, default: tuple[int, int]
) -> tuple[int | None, int | None, int]:
    if given is None:
        return (*default, 3)
    shape = tuple(given) if isinstance(given, tuple | list) else ()
    sides = [side for side in shape[:2] if side is not None]
    whole = all(isinstance(side, int) and not isinstance(side, bool) and side >= 32 for side in sides)
    if len(shape) != 3 or shape[2] != 3 or not whole:
        raise ArrayError(
            "input_shape is (height, width, 3), each side at least 32 pixels or None.",
            received=repr(given),
            hint="for example input_shape=(224, 224, 3) or (None, None, 3)",
        )
    return (shape[0], shape[1], 3)
