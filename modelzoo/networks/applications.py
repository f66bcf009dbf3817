"""keras.applications: built by Keras' own functions, filled from our cache by our readers.

Keras downloads nothing here, and draws no number for a weight that the file gives. The files are Keras' HDF5 of
versions 1 and 2, whose layers go by their order where names differ, since those that nobody chose are numbered.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from converters.keras.taps import Tap
from modelzoo.errors import ArrayError, UnknownNetworkError, UsageError, WeightsMismatchError
from modelzoo.networks import check_head

if TYPE_CHECKING:
    import keras
    import numpy as np

__all__ = ["APPLICATIONS", "Application", "application_taps", "build_application", "check_application"]


class Application(NamedTuple):
    """What of an application is not in its builder's signature.

    Attributes:
        size: default height and width.
        stages: (regular expression of layer names, its group the stage): the last layer of each stage is an end
            point, as the paper draws the line.
        least: the smallest side of the input.
        head: how many layers with weights the classifier has.
        flat: whether the classifier flattens the map, so that its sides have to be known.
    """

    size: int
    stages: str
    least: int = 32
    head: int = 1
    flat: bool = False


_RESNET = r"(conv1)_relu|(conv\d)_block\d+_out|(post)_relu"
_DENSENET = r"(conv1)_relu|(conv\d)_block\d+_concat|(relu)"
_EFFICIENTNET = r"(stem)_activation|(block\d+)[a-z]_(?:add|project_bn|project_activation)|(top)_activation"
_VGG = r"(block\d)_pool|(fc\d)"
_MOBILENET_V3 = r"(expanded_conv(?:_\d+)?)_(?:add|project_bn)"
_CONVNEXT = r".*_(stem)|.*_(stage_\d)_block_\d+_identity"  # what is added to the block's input, which is no layer
_NASNET = r"(normal_concat_\d+)|(reduction_concat_\w+)"

APPLICATIONS: dict[str, Application] = {
    **{f"ConvNeXt{size}": Application(224, _CONVNEXT) for size in ("Tiny", "Small", "Base", "Large", "XLarge")},
    **{f"DenseNet{depth}": Application(224, _DENSENET) for depth in (121, 169, 201)},
    **{
        f"EfficientNetB{number}": Application(size, _EFFICIENTNET)
        for number, size in enumerate((224, 240, 260, 300, 380, 456, 528, 600))
    },
    **{f"EfficientNetV2B{n}": Application(size, _EFFICIENTNET) for n, size in enumerate((224, 240, 260, 300))},
    "EfficientNetV2S": Application(384, _EFFICIENTNET),
    "EfficientNetV2M": Application(480, _EFFICIENTNET),
    "EfficientNetV2L": Application(480, _EFFICIENTNET),
    "InceptionResNetV2": Application(
        299, r"(mixed_\w+)|(block35)_\d+_ac|(block17)_\d+_ac|(custom_scale_layer_39)|(conv_7b)_ac", least=75
    ),
    "InceptionV3": Application(299, r"(mixed\d+)", least=75),
    "MobileNet": Application(224, r"(conv1)_relu|(conv_pw_\d+)_relu"),
    "MobileNetV2": Application(224, r"(Conv1)_relu|((?:expanded_conv|block_\d+))_(?:project_BN|add)|(out)_relu"),
    "MobileNetV3Large": Application(224, _MOBILENET_V3, head=2),
    "MobileNetV3Small": Application(224, _MOBILENET_V3, head=2),
    "NASNetLarge": Application(331, _NASNET),
    "NASNetMobile": Application(224, _NASNET),
    **{f"ResNet{depth}": Application(224, _RESNET) for depth in (50, 101, 152)},
    **{f"ResNet{depth}V2": Application(224, _RESNET) for depth in (50, 101, 152)},
    "VGG16": Application(224, _VGG, head=3, flat=True),
    "VGG19": Application(224, _VGG, head=3, flat=True),
    "Xception": Application(299, r"(block1_conv2_act)|(add(?:_\d+)?)|(block14_sepconv2_act)", least=71),
}
"""The applications that `build_application` knows, by the names of keras.applications."""

CLASSES = 1000


def build_application(
    application: str,
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
    """Build a network of keras.applications and put arrays into it.

    Args:
        application: a key of `APPLICATIONS`.
        arrays: the weights, usually a `Checkpoint` of Keras' HDF5 file, of the network with its classifier or
            without; None = untrained.
        input_shape: (H, W, 3); H and W may be None, but for VGG with its classifier. Default: as published.
        include_top: whether the classifier is part of the model; without it the output is the last feature map.
        classes: a new classifier of this width, which the arrays do not fill.
        pooling: `avg` or `max` over height and width of the output, only without the classifier.
        name: of the model; default: Keras'.
        card_classes: width of the classifier that the arrays hold, if not 1000.
        **args: what Keras' function takes besides (`alpha=0.5`).

    Returns:
        The model: what keras.applications gives, probabilities (N, classes) with the classifier. `model.taps` is
        {layer name: Tap}, the output of every layer, in the network's order; end points are the paper's stages and
        the output. `model.source_names` and `model.variable_names` are as of `modelzoo.networks.build`.

    Raises:
        UnknownNetworkError: there is no such application.
        UsageError: arguments that contradict each other, or that the application does not take.
        ArrayError: the input shape is too small or not (H, W, 3).
        WeightsMismatchError: arrays and network do not fit; all names are listed.
    """
    check_application(
        application, input_shape=input_shape, include_top=include_top, classes=classes, pooling=pooling, **args
    )
    from modelzoo.networks.blank import blank_weights, fresh_names
    from modelzoo.networks.weights import alike_named

    if input_shape is None:
        input_shape = (APPLICATIONS[application].size, APPLICATIONS[application].size, 3)
    options = {"include_top": include_top, "pooling": pooling, **args}
    if include_top:
        options["classes"] = classes or card_classes or CLASSES
    if arrays is None:
        with fresh_names():
            model = _call(application, input_shape, options)
    else:
        with fresh_names(), alike_named(), blank_weights():
            model = _call(application, input_shape, options)
        new = _classifier(model) if classes is not None else None
        sources = _fill(application, model, arrays, include_top=include_top, new=new)
        if new is not None:
            _initialize(new)
        object.__setattr__(model, "variable_names", sources)
    if name is not None:
        model.name = name
    # Plain attributes: Keras would wrap and track dictionaries that it sees.
    taps = application_taps(model, application)
    object.__setattr__(model, "taps", taps)
    object.__setattr__(model, "source_names", {name: name for name in taps})
    return model


def check_application(
    application: str,
    *,
    input_shape: tuple[int | None, int | None, int] | None = None,
    include_top: bool = True,
    classes: int | None = None,
    pooling: str | None = None,
    **args: Any,
) -> None:
    """Raise what `build_application` would raise for these arguments alone, before any weight is at hand."""
    if application not in APPLICATIONS:
        raise UnknownNetworkError(application, APPLICATIONS)
    check_head(include_top, classes, pooling)
    _check_shape(application, input_shape, include_top)
    if args:
        import inspect

        import keras

        known = inspect.signature(getattr(keras.applications, application)).parameters
        for key in args:
            if key not in known or key in ("weights", "input_tensor", "name"):
                raise UsageError(f"The application {application!r} takes no {key!r}.", received=repr(args))


def _check_shape(application: str, given: Any, include_top: bool) -> None:
    if given is None:
        return
    known = APPLICATIONS[application]
    shape = tuple(given) if isinstance(given, tuple | list) else ()
    sides = [side for side in shape[:2] if side is not None]
    whole = all(isinstance(side, int) and not isinstance(side, bool) and side >= known.least for side in sides)
    if len(shape) != 3 or shape[2] != 3 or not whole:
        raise ArrayError(
            f"input_shape is (height, width, 3), each side at least {known.least} pixels or None.",
            received=repr(given),
            hint=f"for example input_shape=({known.size}, {known.size}, 3) or (None, None, 3)",
        )
    if None in shape and include_top and known.flat:
        raise ArrayError(
            f"The classifier of {application} flattens the last map, so that its height and width have to be known.",
            received=repr(given),
            hint="pass whole numbers, or include_top=False",
        )


def _call(application: str, shape: Sequence[int | None], options: Mapping[str, Any]) -> keras.Model:
    import keras

    builder = getattr(keras.applications, application)
    shape = tuple(shape)
    arguments: dict[str, Any] = {"weights": None, **options}
    if None in shape and options["include_top"]:
        # Keras asks for whole numbers here even where the classifier pools; a tensor is taken as it is.
        arguments["input_tensor"] = keras.Input(shape)
    else:
        arguments["input_shape"] = shape
    try:
        model = builder(**arguments)
    except ValueError as error:
        raise ArrayError(
            f"{application} cannot be built with these arguments: {error}".splitlines()[0],
            received=f"input_shape={shape!r}, " + ", ".join(f"{key}={value!r}" for key, value in options.items()),
        ) from error
    assert isinstance(model, keras.Model)
    return model


def application_taps(model: keras.Model, application: str) -> dict[str, Tap]:
    """The taps of a model that `build_application` made, saved and loaded since or not.

    Returns:
        {layer name: Tap}, the output of every layer; end points are the last of each of the paper's stages, the last
        map and the model's output.
    """
    import keras

    pattern = re.compile(APPLICATIONS[application].stages)
    last: dict[str, str] = {}  # stage -> layer
    taps: dict[str, Tap] = {}
    makers: dict[int, str] = {}
    readers: dict[int, str] = {}
    pooled = flattened = None  # the map that the classifier reads; squeeze-and-excitation pools before it
    # Sums that a builder writes as `a + b` are operations, and no layers.
    for operation in model.operations:
        if isinstance(operation, keras.layers.InputLayer):
            continue
        name = operation.name
        taps[name] = Tap(name, operation.output, False)
        makers[id(operation.output)] = name
        inputs = operation.input if isinstance(operation.input, (list, tuple)) else [operation.input]
        for tensor in inputs:
            readers.setdefault(id(tensor), name)
        if isinstance(operation, keras.layers.GlobalAveragePooling2D):
            pooled = makers.get(id(inputs[0]))
        elif isinstance(operation, keras.layers.Flatten):
            flattened = makers.get(id(inputs[0]))
        if found := pattern.fullmatch(name):
            last[next(group for group in found.groups() if group is not None)] = name
    ends = [readers[id(taps[name].tensor)] if name.endswith("_identity") else name for name in last.values()]
    for end in (*ends, pooled or flattened, makers[id(model.output)]):
        if end is not None:
            taps[end].end_point = True
    return taps


def _classifier(model: keras.Model) -> Any:
    """The layer whose width is the number of classes: the last one that has weights."""
    return [layer for layer in model.layers if layer.weights][-1]


def _initialize(layer: Any) -> None:
    """Give a layer the weights that its own initialisers draw, which were blank."""
    for weight in layer.weights:
        initializer = getattr(layer, f"{weight.name}_initializer")
        weight.assign(initializer(weight.shape, dtype=weight.dtype))


# -- weights ----------------------------------------------------------------------------------------------------------


def _fill(
    application: str, model: keras.Model, arrays: Mapping[str, np.ndarray], *, include_top: bool, new: Any
) -> dict[str, str]:
    """Assign the arrays; {path of a weight: name of its array}.

    Raises:
        WeightsMismatchError: they do not fit; nothing that counts was assigned.
    """
    from modelzoo.checkpoints.keras_layers import saved_layers
    from modelzoo.networks.restore import assign

    wanted = [layer for layer in model.layers if layer.weights and layer is not new]
    listed = saved_layers(arrays)
    if listed is None:
        pairs, missing, unexpected = _by_name(application, model, arrays, wanted, include_top)
    else:
        pairs, missing, unexpected = _by_layers(application, wanted, listed, include_top, new)
    entries = getattr(arrays, "entries", None)
    mismatched = []
    for weight, name in pairs:
        found = tuple((entries if entries is not None else arrays)[name].shape)
        if found != tuple(weight.shape):
            mismatched.append(f"{weight.path}: file {found}, network {tuple(weight.shape)}")
    if missing or unexpected or mismatched:
        raise WeightsMismatchError(
            f"The weights do not fit {application}: {len(missing)} missing, {len(mismatched)} of another shape, "
            f"{len(unexpected)} unknown to it.",
            missing=missing,
            unexpected=unexpected,
            mismatched=mismatched,
            hint="check that the file belongs to this network; for another number of classes pass classes=N (a new "
            "head), without a head include_top=False",
        )
    for weight, name in pairs:
        assign(weight, arrays[name])
    return {weight.path: name for weight, name in pairs}


_Pairs = tuple[list[tuple[Any, str]], list[str], list[str]]


def _by_layers(
    application: str, wanted: list[Any], listed: list[tuple[str, list[str]]], include_top: bool, new: Any
) -> _Pairs:
    """Pairs of weights and arrays where the file lists its layers."""
    from modelzoo.networks.model_weights import weights_of_layer

    spare = APPLICATIONS[application].head if not include_top else 1 if new is not None else 0
    if 0 < len(listed) - len(wanted) <= spare and len(listed) - len(wanted) == spare:
        listed = listed[:-spare]  # the classifier, which this model has not, or has anew
    names = {layer.name for layer in wanted}
    if {layer for layer, _ in listed} == names:
        table = dict(listed)
        ordered = [(layer, layer.name, table[layer.name]) for layer in wanted]
    elif len(listed) == len(wanted):
        ordered = [(layer, *saved) for layer, saved in zip(wanted, listed, strict=True)]
    else:
        here = {layer for layer, _ in listed}
        absent = [layer for layer in wanted if layer.name not in here]
        return (
            [],
            [weight.path for layer in absent for weight in layer.weights],
            [name for layer, arrays in listed if layer not in names for name in arrays],
        )
    pairs: list[tuple[Any, str]] = []
    missing: list[str] = []
    unexpected: list[str] = []
    for layer, saved_as, arrays in ordered:
        own = weights_of_layer(layer)
        if len(own) == len(arrays):
            pairs += zip(own, _in_order(own, arrays, saved_as), strict=True)
        else:
            missing += [weight.path for weight in own[len(arrays) :]]
            unexpected += arrays[len(own) :]
    return pairs, missing, unexpected


def _in_order(weights: list[Any], names: list[str], layer: str) -> list[str]:
    """A layer's arrays in the order of its weights: by what they are called where that is clear, else as listed."""
    from modelzoo.networks.array_names import array_name, canonical_kind

    kinds = [canonical_kind(weight.name) for weight in weights]
    found = {array_name(name, layer).kinds[-1]: name for name in names}
    if len(set(kinds)) == len(kinds) and set(found) == set(kinds):
        return [found[kind] for kind in kinds]
    return names


def _by_name(
    application: str, model: keras.Model, arrays: Mapping[str, np.ndarray], wanted: list[Any], include_top: bool
) -> _Pairs:
    """Pairs of weights and arrays by their names, as `restore` reads them."""
    from modelzoo.networks.matching import by_name, take_arrays

    taken = take_arrays(arrays)
    found, left = by_name(model, taken)
    own = {id(weight): weight for layer in wanted for weight in layer.weights}
    pairs = [(one.variable, taken.sources[name]) for one, name in found if id(one.variable) in own]
    given = {id(weight) for weight, _ in pairs}
    missing = [weight.path for key, weight in own.items() if key not in given]
    unexpected = [taken.sources[name] for name in left]
    if not include_top and not missing and len(unexpected) == 2 * APPLICATIONS[application].head:
        unexpected = []  # the classifier's kernels and biases
    return pairs, missing, unexpected
