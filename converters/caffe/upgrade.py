"""Networks in Caffe's older formats -> today's: what Caffe itself does to a network when it reads one.

V0 (2013) writes `layers { layer { type: "conv" kernelsize: 3 } }` and has layers that only pad; V1 (2014) writes
`layers { type: CONVOLUTION }`; V2 `layer { type: "Convolution" }`. Rules: BVLC Caffe, util/upgrade_proto.cpp.
"""

from __future__ import annotations

from typing import Any

from converters.caffe.schema import is_repeated, message_class, new
from modelzoo.errors import InvalidGraphError, nearest

__all__ = ["upgrade"]

#: V0's type -> V1's
_V0_TYPES = {
    "accuracy": "ACCURACY",
    "bnll": "BNLL",
    "concat": "CONCAT",
    "conv": "CONVOLUTION",
    "data": "DATA",
    "dropout": "DROPOUT",
    "euclidean_loss": "EUCLIDEAN_LOSS",
    "flatten": "FLATTEN",
    "hdf5_data": "HDF5_DATA",
    "hdf5_output": "HDF5_OUTPUT",
    "im2col": "IM2COL",
    "images": "IMAGE_DATA",
    "infogain_loss": "INFOGAIN_LOSS",
    "innerproduct": "INNER_PRODUCT",
    "lrn": "LRN",
    "multinomial_logistic_loss": "MULTINOMIAL_LOGISTIC_LOSS",
    "pool": "POOLING",
    "relu": "RELU",
    "sigmoid": "SIGMOID",
    "softmax": "SOFTMAX",
    "softmax_loss": "SOFTMAX_LOSS",
    "split": "SPLIT",
    "tanh": "TANH",
    "window_data": "WINDOW_DATA",
}

#: V0's type -> the message of its parameters, and V0's fields -> that message's; other fields are passed over, as
#: Caffe does
_V0_FIELDS: dict[str, tuple[str, dict[str, str]]] = {
    "conv": (
        "convolution_param",
        {
            "num_output": "num_output",
            "biasterm": "bias_term",
            "weight_filler": "weight_filler",
            "bias_filler": "bias_filler",
            "pad": "pad",
            "kernelsize": "kernel_size",
            "group": "group",
            "stride": "stride",
        },
    ),
    "innerproduct": (
        "inner_product_param",
        {
            "num_output": "num_output",
            "biasterm": "bias_term",
            "weight_filler": "weight_filler",
            "bias_filler": "bias_filler",
        },
    ),
    "pool": ("pooling_param", {"pad": "pad", "kernelsize": "kernel_size", "stride": "stride", "pool": "pool"}),
    "dropout": ("dropout_param", {"dropout_ratio": "dropout_ratio"}),
    "lrn": ("lrn_param", {"local_size": "local_size", "alpha": "alpha", "beta": "beta", "k": "k"}),
    "concat": ("concat_param", {"concat_dim": "concat_dim"}),
    "infogain_loss": ("infogain_loss_param", {"source": "source"}),
    "data": ("data_param", {"source": "source", "batchsize": "batch_size", "rand_skip": "rand_skip"}),
    "hdf5_data": ("hdf5_data_param", {"source": "source", "batchsize": "batch_size"}),
    "images": (
        "image_data_param",
        {
            "source": "source",
            "batchsize": "batch_size",
            "rand_skip": "rand_skip",
            "shuffle_images": "shuffle",
            "new_height": "new_height",
            "new_width": "new_width",
        },
    ),
    "window_data": (
        "window_data_param",
        {
            "source": "source",
            "batchsize": "batch_size",
            "det_fg_threshold": "fg_threshold",
            "det_bg_threshold": "bg_threshold",
            "det_fg_fraction": "fg_fraction",
            "det_context_pad": "context_pad",
            "det_crop_mode": "crop_mode",
        },
    ),
}

#: V0's fields -> TransformationParameter's, whatever the type
_V0_TRANSFORM = {"scale": "scale", "meanfile": "mean_file", "cropsize": "crop_size", "mirror": "mirror"}

#: V1's types whose CamelCase is not just the words capitalised
_V1_TYPES = {
    "NONE": "",
    "ABSVAL": "AbsVal",
    "ARGMAX": "ArgMax",
    "BNLL": "BNLL",
    "HDF5_DATA": "HDF5Data",
    "HDF5_OUTPUT": "HDF5Output",
    "LRN": "LRN",
    "MVN": "MVN",
    "RELU": "ReLU",
    "SOFTMAX_LOSS": "SoftmaxWithLoss",
    "TANH": "TanH",
}

#: V1's data layers, whose parameters held the preprocessing at first
_V1_DATA = {"DATA": "data_param", "IMAGE_DATA": "image_data_param", "WINDOW_DATA": "window_data_param"}
_TRANSFORM = ("scale", "mean_file", "crop_size", "mirror")


def upgrade(net: Any) -> Any:
    """The network in today's format.

    Args:
        net: a `NetParameter` of any age; it stays as it is.

    Returns:
        A `NetParameter` with `layer` only: inputs are an Input layer in front; inputs without a shape are gone.

    Raises:
        InvalidGraphError: layers of two formats are mixed, an unknown type, a padding layer before anything but a
            convolution or pooling, or fewer sizes than inputs.
    """
    made = new("NetParameter")
    made.CopyFrom(net)
    if any(layer.HasField("layer") for layer in made.layers):
        made = _v0_to_v1(made)
    _move_transforms(made)
    if made.layers:
        _v1_to_v2(made)
    if made.input:
        _inputs_to_layer(made)
    for layer in made.layer:
        if layer.type == "BatchNorm" and len(layer.param) == 3:
            # Running statistics are no parameters to learn.
            for spec in layer.param:
                spec.lr_mult = spec.decay_mult = 0
        _unify_names(layer)
    return made


def _put(target: Any, name: str, value: Any) -> None:
    """Set a field of any kind: single, repeated (one more), or a message."""
    description = target.DESCRIPTOR.fields_by_name[name]
    if is_repeated(description):
        getattr(target, name).append(value)
    elif description.message_type is not None:
        getattr(target, name).CopyFrom(value)
    else:
        setattr(target, name, value)


# ---- V0 ----


def _v0_to_v1(net: Any) -> Any:
    made = new("NetParameter", input=net.input, input_dim=net.input_dim, input_shape=net.input_shape)
    for name in ("name", "force_backward"):
        if net.HasField(name):
            setattr(made, name, getattr(net, name))
    made.layer.MergeFrom(net.layer)
    for connection in _without_padding(net):
        _v0_layer(connection, made.layers.add())
    return made


def _without_padding(net: Any) -> list[Any]:
    """The layers but those of type "padding", whose sizes the layers behind them take over."""
    writer: dict[str, Any] = dict.fromkeys(net.input)
    kept = []
    for number, connection in enumerate(net.layers):
        copy = message_class("V1LayerParameter")()
        copy.CopyFrom(connection)
        kind = connection.layer.type
        if kind != "padding":
            kept.append(copy)
        for index, blob in enumerate(connection.bottom):
            if blob not in writer:
                name = connection.layer.name or number
                raise InvalidGraphError(
                    f"Layer {name!r} reads the blob {blob!r}, which no layer before it writes.",
                    received=blob,
                    hint='an input of the network has to be named: input: "data"',
                )
            source = writer[blob]
            if source is None or source.layer.type != "padding":
                continue
            if kind not in ("conv", "pool") or len(connection.bottom) != 1:
                raise InvalidGraphError(
                    f"Layer {connection.layer.name!r} reads a padding layer.",
                    received=kind,
                    hint="only a convolution or a pooling of one input can take over its padding",
                )
            if len(source.bottom) != 1 or len(source.top) != 1:
                raise InvalidGraphError(
                    f"The padding layer {source.layer.name!r} does not have one input and one output.",
                    received=f"{len(source.bottom)} and {len(source.top)}",
                )
            copy.layer.pad = source.layer.pad
            copy.bottom[index] = source.bottom[0]
        for blob in connection.top:
            writer[blob] = connection
    return kept


def _v0_layer(connection: Any, made: Any) -> None:
    if not connection.HasField("layer"):
        made.CopyFrom(connection)
        return
    old = connection.layer
    made.bottom.extend(connection.bottom)
    made.top.extend(connection.top)
    if connection.HasField("others"):
        made.others = connection.others
    if old.HasField("name"):
        made.name = old.name
    if old.HasField("type"):
        if old.type not in _V0_TYPES:
            close = nearest(old.type, _V0_TYPES)
            raise InvalidGraphError(
                f"Layer {old.name!r} is of type {old.type!r}, which the oldest format does not have.",
                received=old.type,
                hint=f"did you mean {close[0]!r}?" if close else f"it has {', '.join(_V0_TYPES)}",
            )
        made.type = made.DESCRIPTOR.enum_types_by_name["LayerType"].values_by_name[_V0_TYPES[old.type]].number
    made.blobs.MergeFrom(old.blobs)
    made.blobs_lr.extend(old.blobs_lr)
    made.weight_decay.extend(old.weight_decay)
    param, names = _V0_FIELDS.get(old.type, ("", {}))
    for name, new_name in names.items():
        if old.HasField(name):
            _put(getattr(made, param), new_name, getattr(old, name))
    for name, new_name in _V0_TRANSFORM.items():
        if old.HasField(name):
            setattr(made.transform_param, new_name, getattr(old, name))
    if old.type == "hdf5_output" and old.HasField("hdf5_output_param"):
        made.hdf5_output_param.CopyFrom(old.hdf5_output_param)


# ---- V1 ----


def _type_name(layer: Any) -> str:
    return str(layer.DESCRIPTOR.enum_types_by_name["LayerType"].values_by_number[layer.type].name)


def _move_transforms(net: Any) -> None:
    """Preprocessing out of the parameters of V1's data layers, into `transform_param`."""
    found = [(layer, _V1_DATA[name]) for layer in net.layers if (name := _type_name(layer)) in _V1_DATA]
    if not any(getattr(layer, param).HasField(name) for layer, param in found for name in _TRANSFORM):
        return
    for layer, param in found:
        source, target = getattr(layer, param), layer.transform_param
        source.SetInParent()  # Caffe leaves both behind, empty or not
        target.SetInParent()
        for name in _TRANSFORM:
            if source.HasField(name):
                setattr(target, name, getattr(source, name))
                source.ClearField(name)


def _v1_to_v2(net: Any) -> None:
    if net.layer:
        raise InvalidGraphError(
            "The network has both `layer` and `layers`, which are of different formats.",
            received=f"{len(net.layer)} and {len(net.layers)}",
            hint='write all of them as layer { type: "Convolution" ... }',
        )
    for old in net.layers:
        _v1_layer(old, net.layer.add())
    net.ClearField("layers")


_V1_RENAMED = frozenset(["layer", "type", "param", "blob_share_mode", "blobs_lr", "weight_decay"])


def _v1_layer(old: Any, made: Any) -> None:
    for description, value in old.ListFields():
        if description.name in _V1_RENAMED:
            continue
        if is_repeated(description):
            getattr(made, description.name).MergeFrom(value)
        else:
            _put(made, description.name, value)
    if old.HasField("type"):
        name = _type_name(old)
        made.type = _V1_TYPES.get(name, "".join(word.capitalize() for word in name.split("_")))
    for source, target in (
        ("param", "name"),
        ("blob_share_mode", "share_mode"),
        ("blobs_lr", "lr_mult"),
        ("weight_decay", "decay_mult"),
    ):
        for index, value in enumerate(getattr(old, source)):
            while len(made.param) <= index:
                made.param.add()
            setattr(made.param[index], target, value)


# ---- V2 ----


def _inputs_to_layer(net: Any) -> None:
    """The fields `input`, `input_shape` and `input_dim` -> an Input layer, the first."""
    if net.input_shape or net.input_dim:
        count = len(net.input)
        if net.input_shape:
            shapes = [list(shape.dim) for shape in net.input_shape]
        else:
            shapes = [list(net.input_dim[at : at + 4]) for at in range(0, 4 * count, 4)]
        if len(shapes) < count or (not net.input_shape and len(net.input_dim) < 4 * count):
            raise InvalidGraphError(
                f"The network has {count} inputs and too few sizes for them.",
                received=f"{len(net.input_shape)} input_shape, {len(net.input_dim)} input_dim",
                hint="each input needs its input_shape, or four input_dim",
            )
        layer = new("LayerParameter", name="input", type="Input", top=net.input)
        for shape in shapes[:count]:
            layer.input_param.shape.add(dim=shape)
        layers = list(net.layer)
        net.ClearField("layer")
        net.layer.append(layer)
        net.layer.extend(layers)
    for name in ("input", "input_shape", "input_dim"):
        net.ClearField(name)


def _unify_names(layer: Any) -> None:
    """Forks' other names of BVLC's parameters: `hole` (DeepLab) is a dilation, `ceil_mode: false` a rounding down."""
    if layer.HasField("convolution_param"):
        param = layer.convolution_param
        if param.HasField("hole") or param.HasField("hole_h") or param.HasField("hole_w"):
            holes = [param.hole_h or param.hole, param.hole_w or param.hole]
            param.dilation[:] = holes if holes[0] != holes[1] else holes[:1]
            for name in ("hole", "hole_h", "hole_w"):
                param.ClearField(name)
    if layer.HasField("pooling_param") and layer.pooling_param.HasField("ceil_mode"):
        param = layer.pooling_param
        if not param.ceil_mode:
            param.round_mode = param.DESCRIPTOR.enum_types_by_name["RoundMode"].values_by_name["FLOOR"].number
        param.ClearField("ceil_mode")
