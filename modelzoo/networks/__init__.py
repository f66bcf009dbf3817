"""Networks for checkpoints that carry variables only: named arrays go in, a Keras model with named taps comes out.

One file a family, written so that a reader finds the paper's table in the code. Every layer is a stock Keras layer,
so that a saved model opens where only TensorFlow and Keras are installed. No random number is drawn for a variable
that the arrays give.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from modelzoo.errors import ArrayError, UnknownNetworkError, UsageError

if TYPE_CHECKING:
    import keras
    import numpy as np


class Network(NamedTuple):
    """Where a network's function is, and what it was published with.

    Attributes:
        module, function: of `modelzoo.networks`.
        size: default height and width.
        classes: default width of the classifier.
        head: names (regular expression) of the classifier's variables.
        channels: of the input.
        least: the smallest side that an input may have.
        training: names (regular expression) of variables that only the network in training has.
        least_top: the smallest side with the classifier, where that needs more.
        open_top: whether the classifier takes a map of any size, so that sides may be None.
    """

    module: str
    function: str
    size: tuple[int, int]
    classes: int
    head: str
    channels: int = 3
    least: int = 32
    training: str | None = None
    least_top: int = 0
    open_top: bool = True


NETWORKS: dict[str, Network] = {
    "inception_v1": Network("inception_v1", "inception_v1", (224, 224), 1001, r"^InceptionV1/Logits/"),
    "inception_v2": Network("inception_v2", "inception_v2", (224, 224), 1001, r"^InceptionV2/Logits/"),
    "inception_v3": Network(
        "inception_v3",
        "inception_v3",
        (299, 299),
        1001,
        r"^InceptionV3/Logits/",
        least=75,
        training=r"^InceptionV3/AuxLogits/",
    ),
    "inception_v4": Network(
        "inception_v4",
        "inception_v4",
        (299, 299),
        1001,
        r"^InceptionV4/Logits/",
        least=75,
        training=r"^InceptionV4/AuxLogits/",
    ),
    "inception_resnet_v2": Network(
        "inception_resnet_v2",
        "inception_resnet_v2",
        (299, 299),
        1001,
        r"^InceptionResnetV2/Logits/",
        least=75,
        training=r"^InceptionResnetV2/AuxLogits/",
    ),
    "mobilenet_v1": Network("mobilenet_v1", "mobilenet_v1", (224, 224), 1001, r"^MobilenetV1/Logits/"),
    "mobilenet_v2": Network("mobilenet_v2", "mobilenet_v2", (224, 224), 1001, r"^MobilenetV2/Logits/"),
    "mobilenet_v3_large": Network(
        "mobilenet_v3", "mobilenet_v3_large", (224, 224), 1001, r"^MobilenetV3/(Conv_2|Logits)/"
    ),
    "mobilenet_v3_small": Network(
        "mobilenet_v3", "mobilenet_v3_small", (224, 224), 1001, r"^MobilenetV3/(Conv_2|Logits)/"
    ),
    "mobilenet_v3_large_minimalistic": Network(
        "mobilenet_v3", "mobilenet_v3_large_minimalistic", (224, 224), 1001, r"^MobilenetV3/(Conv_2|Logits)/"
    ),
    "mobilenet_v3_small_minimalistic": Network(
        "mobilenet_v3", "mobilenet_v3_small_minimalistic", (224, 224), 1001, r"^MobilenetV3/(Conv_2|Logits)/"
    ),
    "nasnet_mobile": Network("nasnet", "nasnet_mobile", (224, 224), 1001, r"^final_layer/", training=r"^aux_\d+/"),
    "nasnet_large": Network("nasnet", "nasnet_large", (331, 331), 1001, r"^final_layer/", training=r"^aux_\d+/"),
    "pnasnet_mobile": Network("pnasnet", "pnasnet_mobile", (224, 224), 1001, r"^final_layer/", training=r"^aux_\d+/"),
    "pnasnet_large": Network("pnasnet", "pnasnet_large", (331, 331), 1001, r"^final_layer/", training=r"^aux_\d+/"),
    "resnet_v1_50": Network("resnet", "resnet_v1_50", (224, 224), 1000, r"^resnet_v1_50/logits/"),
    "resnet_v1_101": Network("resnet", "resnet_v1_101", (224, 224), 1000, r"^resnet_v1_101/logits/"),
    "resnet_v1_152": Network("resnet", "resnet_v1_152", (224, 224), 1000, r"^resnet_v1_152/logits/"),
    "resnet_v1_200": Network("resnet", "resnet_v1_200", (224, 224), 1000, r"^resnet_v1_200/logits/"),
    "resnet_v1_50_beta": Network("resnet", "resnet_v1_50_beta", (224, 224), 1001, r"^resnet_v1_50/logits/"),
    "resnet_v1_101_beta": Network("resnet", "resnet_v1_101_beta", (224, 224), 1001, r"^resnet_v1_101/logits/"),
    "resnet_v2_50": Network("resnet", "resnet_v2_50", (299, 299), 1001, r"^resnet_v2_50/logits/"),
    "resnet_v2_101": Network("resnet", "resnet_v2_101", (299, 299), 1001, r"^resnet_v2_101/logits/"),
    "resnet_v2_152": Network("resnet", "resnet_v2_152", (299, 299), 1001, r"^resnet_v2_152/logits/"),
    "resnet_v2_200": Network("resnet", "resnet_v2_200", (299, 299), 1001, r"^resnet_v2_200/logits/"),
    "vgg_16": Network("vgg", "vgg_16", (224, 224), 1000, r"^vgg_16/fc[678]/", least_top=224),
    "vgg_19": Network("vgg", "vgg_19", (224, 224), 1000, r"^vgg_19/fc[678]/", least_top=224),
    "alexnet_v2": Network("vgg", "alexnet_v2", (224, 224), 1000, r"^alexnet_v2/fc[678]/", least=67, least_top=195),
    "overfeat": Network("vgg", "overfeat", (231, 231), 1000, r"^overfeat/fc[678]/", least=71, least_top=231),
    "lenet": Network("lenet", "lenet", (28, 28), 10, r"^LeNet/fc[34]/", channels=1, least=4, open_top=False),
    "cifarnet": Network("lenet", "cifarnet", (32, 32), 10, r"^CifarNet/(fc3|fc4|logits)/", least=4, open_top=False),
}
"""The networks that `build` knows."""


APPLICATIONS = "keras_applications"
"""What a card calls the networks of keras.applications; `args` say which one."""

KNOWN_NETWORKS = frozenset(NETWORKS) | {APPLICATIONS, "char_rnn", "dtln", "finetuned"}
"""Every `build.network` that `load_pretrained` can build; "finetuned" is a head on another card's network."""


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

    known = NETWORKS[network]
    shape = _checked_shape(input_shape, known, include_top)
    if arrays is not None and "aux_logits" in inspect.signature(_builder(network)).parameters:
        # Whoever fine-tuned the network may have done without its auxiliary head.
        args.setdefault("aux_logits", any("/AuxLogits/" in name for name in arrays))
    new_head = classes is not None
    unused = [known.head] if new_head or not include_top else []
    unused += [known.training] if known.training else []
    source = ArraySource(arrays, "|".join(unused) or None)
    inputs = keras.Input(shape, name="input")
    with alike_named():
        outputs, net = _builder(network)(
            inputs,
            source,
            include_top=include_top,
            classes=classes or card_classes or known.classes,
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
    check_head(include_top, classes, pooling)
    _checked_shape(input_shape, NETWORKS[network], include_top)
    function = _builder(network)
    ours = {"x", "source", "new_head", *getattr(function, "keywords", ())}  # given by `build`, or bound by a partial
    unknown = [key for key in args if key in ours or key not in inspect.signature(function).parameters]
    if unknown:
        raise UsageError(f"The network {network!r} takes no {unknown[0]!r}.", received=repr(args))


def check_head(include_top: bool, classes: int | None, pooling: str | None) -> None:
    """Refuse what contradicts itself about a network's end, whoever builds it.

    Raises:
        UsageError: an unknown pooling, pooling behind a classifier, or a new classifier where there is none.
    """
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


def _builder(network: str) -> Callable[..., Any]:
    known = NETWORKS[network]
    return getattr(importlib.import_module(f"modelzoo.networks.{known.module}"), known.function)


def _checked_shape(
    given: tuple[int | None, int | None, int] | None, network: Network, include_top: bool
) -> tuple[int | None, int | None, int]:
    channels = network.channels
    if given is None:
        return (*network.size, channels)
    least = max(network.least, network.least_top if include_top else 0)
    shape = tuple(given) if isinstance(given, tuple | list) else ()
    sides = [side for side in shape[:2] if side is not None]
    whole = all(isinstance(side, int) and not isinstance(side, bool) and side >= least for side in sides)
    if len(shape) != 3 or shape[2] != channels or not whole:
        raise ArrayError(
            f"input_shape is (height, width, {channels}), each side at least {least} pixels or None.",
            received=repr(given),
            hint=f"for example input_shape={(*network.size, channels)} or {(None, None, channels)}",
        )
    if include_top and not network.open_top and len(sides) < 2:
        raise ArrayError(
            "The classifier of this network is dense on the last map, so height and width must be known.",
            received=repr(given),
            hint=f"input_shape={(*network.size, channels)}, or include_top=False",
        )
    return (shape[0], shape[1], channels)
