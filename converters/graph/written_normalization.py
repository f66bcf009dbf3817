"""Layer, RMS and group normalisation as exporters write them out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from converters.graph.chains import (
    Chain,
    all_axes,
    array_of,
    equals,
    made_by,
    number_of,
    only_reader,
    other_input,
    rank_of,
    size_of,
    sizes_named,
    vector_of,
)

__all__ = ["group_normalization", "normalization"]


def normalization(root: ir.Node) -> Chain | None:
    """x / sqrt(mean(x²) + epsilon) * scale, around its root; with x less its mean also `+ bias`."""
    spread = made_by(root.inputs[0], "Add")
    if spread is None:
        return None
    mean = made_by(spread.inputs[0], "ReduceMean") or made_by(spread.inputs[1], "ReduceMean")
    if mean is None or not _of_last(mean):
        return None
    epsilon = number_of(other_input(spread, mean.outputs[0]))
    squares = made_by(mean.inputs[0], "Pow", "Mul")
    if epsilon is None or squares is None:
        return None
    centred, power = squares.inputs
    if centred is None or not (equals(power, 2.0) if squares.op_type == "Pow" else power is centred):
        return None
    nodes = [squares, mean, spread, root]
    x, again = centred, {centred}
    less = made_by(centred, "Sub")
    middle = None if less is None else made_by(less.inputs[1], "ReduceMean")
    centre = less is not None and middle is not None and middle.inputs[0] is less.inputs[0] and _of_last(middle)
    if centre:
        assert less is not None and middle is not None and less.inputs[0] is not None
        x = less.inputs[0]
        # Some exporters subtract twice, once for the squares.
        twice = [u.node for u in x.uses() if u.node.op_type == "Sub" and list(u.node.inputs) == list(less.inputs)]
        again = {node.outputs[0] for node in twice}
        nodes += [middle, *twice]
    scaled = _divided(root, again, nodes)
    if scaled is None:
        return None
    times = only_reader(scaled, "Mul")
    scale = None if times is None else vector_of(other_input(times, scaled))
    if times is None or scale is None:
        return None
    nodes.append(times)
    out, weights = times.outputs[0], {"scale": scale}
    plus = only_reader(out, "Add") if centre else None
    bias = None if plus is None else vector_of(other_input(plus, out))
    if plus is not None and bias is not None and size_of(bias) == size_of(scale):
        nodes.append(plus)
        out, weights["bias"] = plus.outputs[0], bias
    operator, version = ("LayerNormalization", 17) if centre else ("RMSNormalization", 23)
    return Chain(nodes, out, operator, version, x, weights, {"epsilon": epsilon})


def _divided(root: ir.Node, numerators: set[ir.Value], nodes: list[ir.Node]) -> ir.Value | None:
    """What comes of dividing one of `numerators` by the root, in either spelling; its nodes go into `nodes`."""
    by = only_reader(root.outputs[0], "Div", "Reciprocal")
    if by is None:
        return None
    nodes.append(by)
    if by.op_type == "Div" and by.inputs[0] in numerators:
        return by.outputs[0]
    if by.op_type == "Div" and not (equals(by.inputs[0], 1.0) and by.inputs[1] is root.outputs[0]):
        return None
    times = only_reader(by.outputs[0], "Mul")
    if times is None or other_input(times, by.outputs[0]) not in numerators:
        return None
    nodes.append(times)
    return times.outputs[0]


def _of_last(node: ir.Node) -> bool:
    """Whether a reduction keeps its axes and is over the last one alone."""
    keep = node.attributes.get("keepdims")
    if keep is not None and not keep.value:
        return False
    axes = node.attributes.get("axes")
    if axes is not None:
        chosen = list(axes.value)
    else:
        array = array_of(node.inputs[1]) if len(node.inputs) > 1 else None
        chosen = [] if array is None else array.ravel().tolist()
    rank = rank_of(node.inputs[0])
    return len(chosen) == 1 and (chosen[0] == -1 or (rank is not None and chosen[0] == rank - 1))


def group_normalization(node: ir.Node) -> Chain | None:
    """(x as rows of groups, each with mean 0 and variance 1, as x again) * scale + bias, around the normalisation."""
    before = made_by(node.inputs[0], "Reshape")
    target = None if before is None else array_of(before.inputs[1])
    ones, zeros = (array_of(value) for value in node.inputs[1:3])
    if before is None or target is None or ones is None or zeros is None or (ones != 1).any() or zeros.any():
        return None
    x, groups = before.inputs[0], len(ones)
    if x is None or target.tolist() not in ([0, groups, -1], [_extent(x, 0), groups, -1]) or ones.dtype != np.float32:
        return None
    after = only_reader(node.outputs[0], "Reshape")
    rank = None if after is None else _shape_is_of(after, x)
    times = None if after is None else only_reader(after.outputs[0], "Mul")
    if after is None or rank is None or times is None:
        return None
    scale = _by_channel(other_input(times, after.outputs[0]), rank)
    plus = only_reader(times.outputs[0], "Add")
    bias = None if plus is None else _by_channel(other_input(plus, times.outputs[0]), rank)
    if plus is None or scale is None or bias is None or size_of(scale) != size_of(bias):
        return None
    epsilon = node.attributes.get("epsilon")
    attributes: dict[str, float | str | list[int]] = {
        "num_groups": groups,
        "epsilon": epsilon.value if epsilon else 1e-5,
    }
    weights = {"scale": scale, "bias": bias}
    nodes = [before, node, after, times, plus]
    return Chain(nodes, plus.outputs[0], "GroupNormalization", 21, x, weights, attributes)


def _shape_is_of(node: ir.Node, x: ir.Value) -> int | None:
    """The rank of x, if a Reshape brings what it reads into the shape of x."""
    shape, rank = made_by(node.inputs[1], "Shape"), rank_of(x)
    if rank is not None and shape is not None and sizes_named(shape.outputs[0], x, rank) == all_axes(rank):
        return rank
    if rank is None or x.shape is None:
        return None
    result = node.outputs[0].shape
    return rank if result is not None and _same_sizes(result.dims, x.shape.dims) else None


def _same_sizes(first: Sequence[int | ir.SymbolicDim], second: Sequence[int | ir.SymbolicDim]) -> bool:
    """Whether declared sizes are the same numbers and names."""
    if len(first) != len(second):
        return False
    return all(
        a == b and not (isinstance(a, ir.SymbolicDim) and a.value is None) for a, b in zip(first, second, strict=True)
    )


def _extent(x: ir.Value, axis: int) -> int | None:
    size = None if x.shape is None else x.shape[axis]
    return size if isinstance(size, int) else None


def _by_channel(value: ir.Value | None, rank: int) -> ir.Value | None:
    """The value, if it is a float32 constant with one number for each channel of (N, C, spatial...)."""
    array = array_of(value)
    if array is None or array.dtype != np.float32:
        return None
    shape = (1,) * (rank - array.ndim) + array.shape
    return value if shape == (1, array.size, *[1] * (rank - 2)) and array.size > 1 else None
