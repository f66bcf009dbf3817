"""Small layers that many forks of Caffe have, and layer types that other forks write differently."""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Callable
from typing import Any

from converters.caffe.builder import Builder, Value
from converters.caffe.layer import TRANSLATORS, Layer, layer_type
from converters.caffe.layers.detection import python_proposal
from converters.caffe.layers.normalization import batch_norm
from converters.caffe.layers.parameters import choice, constant_filler, refusal
from modelzoo.errors import UnsupportedOperatorError


@layer_type("ReLU6")
def relu6(g: Builder, layer: Layer, x: Value) -> Value:
    """min(max(x, 0) + slope * min(x, 0), threshold); the threshold is 6 unless it is written."""
    param = layer.message.relu6_param
    if param.negative_slope:
        return g.Min(g.LeakyRelu(x, alpha=float(param.negative_slope)), float(param.threshold))
    return g.Clip(x, 0.0, float(param.threshold))


@layer_type("Axpy")
def axpy(g: Builder, layer: Layer, scale: Value, x: Value, y: Value) -> Value:
    """scale * x + y with one scale (N, C) a channel; Hu et al., "Squeeze-and-Excitation Networks", 2018."""
    if x.rank < 2 or y.shape != x.shape or scale.shape[:2] != x.shape[:2] or set(scale.shape[2:]) - {1}:
        raise refusal(
            layer,
            "needs a scale (N, C) or (N, C, 1, 1) and two blobs of one shape.",
            received=", ".join(str(list(item.shape)) for item in (scale, x, y)),
            hint="check the order of its bottoms",
        )
    return g.Add(g.Mul(g.reshape(scale, (*x.shape[:2], *[1] * (x.rank - 2))), x), y)


@layer_type("ShuffleChannel")
def shuffle_channel(g: Builder, layer: Layer, x: Value) -> Value:
    """Channel i of group j becomes channel j of group i; Zhang et al., "ShuffleNet", 2017."""
    group = int(layer.message.shuffle_channel_param.group)
    if x.rank < 2 or group < 1 or x.sizes_from(1, 2)[0] % group:
        raise refusal(layer, f"cannot cut its channels into {group} groups.", received=list(x.shape))
    channels, *rest = x.sizes_from(1)
    cut = g.reshape(x, (x.shape[0], group, channels // group, *rest))
    return g.reshape(g.Transpose(cut, perm=[0, 2, 1, *range(3, cut.rank)]), x.shape)


@layer_type("Reorg")
def reorg(g: Builder, layer: Layer, x: Value) -> Value:
    """Blocks of stride x stride cells become channels, or back (`reverse`), in the order of Darknet.

    Darknet computes the indices of the way forward as if it went back, so the result is no plain space to depth:
    the input is read as (C / s^2, H s, W s), and the result written as (C s^2, H / s, W / s).
    """
    param = layer.message.reorg_param
    stride = int(param.stride)
    channels, height, width = x.sizes_from(1) if x.rank == 4 else (0, 0, 0)
    whole = param.reverse or not (height % max(stride, 1) or width % max(stride, 1))
    if not channels or stride < 1 or channels % stride**2 or not whole:
        raise refusal(
            layer,
            f"needs an input (N, C, H, W) whose sizes divide by the stride {stride}, C by its square.",
            received=list(x.shape),
            hint="give another input: inputs={NAME: SHAPE}",
        )
    if param.reverse:
        return g.DepthToSpace(x, blocksize=stride, mode="DCR")
    read = g.reshape(x, (x.shape[0], channels // stride**2, height * stride, width * stride))
    return g.reshape(
        g.SpaceToDepth(read, blocksize=stride), (x.shape[0], channels * stride**2, height // stride, width // stride)
    )


@layer_type("BN")
def bn(g: Builder, layer: Layer, x: Value) -> Value:
    """scale * (x - mean) / sqrt(variance + eps) + shift of four arrays: scale, shift, mean, variance (PSPNet, ICNet).

    SegNet keeps two: with bn_mode INFERENCE they are all that is done, else the statistics are the batch's own.
    """
    param = layer.message.bn_param
    if x.rank < 2:
        raise refusal(layer, "needs an input with channels (axis 1).", received=list(x.shape))
    (channels,) = x.sizes_from(1, 2)
    shape = (1, channels, 1, 1)
    scales = param.scale_filler if param.HasField("scale_filler") else param.slope_filler
    shifts = param.shift_filler if param.HasField("shift_filler") else param.bias_filler
    if layer.stored == 2 or param.HasField("bn_mode"):
        along = (channels, *[1] * (x.rank - 2))
        scale, shift = g.blob(layer, 0, shape, scales, view=along), g.blob(layer, 1, shape, shifts, view=along)
        if choice(param, "bn_mode") == "INFERENCE":
            return g.Add(g.Mul(x, scale), shift)
        axes = [0, *range(2, x.rank)]
        centred = g.Sub(x, g.ReduceMean(x, axes, keepdims=1))
        variance = g.ReduceMean(g.Mul(centred, centred), axes, keepdims=1)
        norm = g.Div(centred, g.Sqrt(g.Add(variance, 1e-9)))
        return g.Add(g.Mul(norm, scale), shift)
    arrays = [g.blob(layer, i, shape, fill, view=(channels,)) for i, fill in enumerate((scales, shifts, None, None))]
    return g.BatchNormalization(x, *arrays, epsilon=float(param.eps))


@layer_type("BatchNorm")
def batch_norm_with_scale(g: Builder, layer: Layer, x: Value) -> Value:
    """BatchNorm, with scale and shift as its fourth and fifth array if there are any (NVCaffe)."""
    param = layer.message.batch_norm_param
    made = batch_norm(g, layer, x)
    if not (layer.stored == 5 or param.scale_bias or param.HasField("scale_filler") or param.HasField("bias_filler")):
        return made
    channels = x.sizes_from(1, 2)[0] if x.rank > 1 else 1
    scales = param.scale_filler if param.HasField("scale_filler") else constant_filler(param.scale_filler, 1.0)
    along = (channels, *[1] * (x.rank - 2))
    scale = g.blob(layer, 3, (channels,), scales, view=along)
    return g.Add(g.Mul(made, scale), g.blob(layer, 4, (channels,), param.bias_filler, view=along))


def _translated_as(kind: str) -> Callable[..., Any]:
    def translate(g: Builder, layer: Layer, *bottoms: Value) -> Any:
        return TRANSLATORS[kind](g, dataclasses.replace(layer, type=kind), *bottoms)

    return translate


for _name in ("Convolution", "Deconvolution", "Pooling", "LRN", "ReLU", "Sigmoid", "TanH", "Softmax", "BatchNorm"):
    layer_type(f"CuDNN{_name}")(_translated_as(_name))
layer_type("DepthwiseConvolution")(_translated_as("Convolution"))


@layer_type("ConvolutionDepthwise")
def convolution_depthwise(g: Builder, layer: Layer, x: Value) -> Any:
    """A convolution with one kernel a channel, whatever `num_output` and `group` say."""
    if x.rank != 4:
        raise refusal(layer, "needs an input (N, C, H, W).", received=list(x.shape))
    message = type(layer.message)()
    message.CopyFrom(layer.message)
    message.convolution_param.num_output = message.convolution_param.group = x.sizes_from(1, 2)[0]
    return TRANSLATORS["Convolution"](g, dataclasses.replace(layer, type="Convolution", message=message), x)


@layer_type("Python")
def python(g: Builder, layer: Layer, *bottoms: Value) -> Any:
    """Python code is not run; of the known layers written in Python Faster R-CNN's proposals have a translation."""
    param = layer.message.python_param
    name = f"{param.module}.{param.layer}"
    if name == "rpn.proposal_layer.ProposalLayer":
        return python_proposal(g, layer, _settings(layer, param.param_str), *bottoms)
    raise UnsupportedOperatorError(
        layer.name,
        f"Python ({name})",
        what=f"Layer {layer.name!r} is Python code ({name}), which is never run.",
        hint="take the blobs before it as outputs, or register a translator: converters.caffe.layer_type('Python')",
    )


def _settings(layer: Layer, text: str) -> dict[str, Any]:
    """`'feat_stride': 16` and the like, one a line or parted by commas: YAML of plain values, as proposals use it."""
    body = text.strip().strip("{}").replace("\n", ",")
    body = ",".join(part for part in body.split(",") if part.strip())
    made: dict[str, Any] = {}
    try:
        tree = ast.parse("{" + body + "}", mode="eval").body
        assert isinstance(tree, ast.Dict)
        for key, item in zip(tree.keys, tree.values, strict=True):
            name = key.id if isinstance(key, ast.Name) else ast.literal_eval(key) if key is not None else None
            made[str(name)] = ast.literal_eval(item)
    except (SyntaxError, ValueError, AssertionError) as error:
        raise refusal(layer, "has a param_str that cannot be read.", received=text, hint="'feat_stride': 16") from error
    return made
