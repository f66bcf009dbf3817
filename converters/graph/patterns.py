"""Operators that exporters write out as chains of smaller ones, made one operator again.

Before ONNX had LayerNormalization (opset 17), Gelu (20) and RMSNormalization (23), exporters spelled them; most still
do for older opsets. One operator is one layer: quicker, readable, and its scale is a weight that has a name.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from converters.graph.merging import constant_of, register

__all__ = ["join_patterns"]


def join_patterns(model: ir.Model, keep: Collection[str] = ()) -> int:
    """Make each written-out GELU and layer, RMS or group normalisation one node, in place.

    The new node carries the version since which ONNX has its operator, whatever the model's opset is; its output keeps
    the name of the chain's last value. Only float32 is joined. Transpositions between two reshapes that only make
    three axes of more, which exporters write for attention, are joined where the declared sizes prove it.

    Args:
        model: the hub graph.
        keep: names of tensors or nodes that somebody asked for; a chain with such a value inside stays as it is.

    Returns:
        How many chains were joined.
    """
    count = _spread_less(model.graph, keep)
    for node in list(model.graph):
        match = _KEYS.get(node.op_type)
        if match is None or node.domain or node.graph is not model.graph:
            continue
        chain = match(node)
        if chain is not None and _join(model.graph, chain, keep):
            count += 1
    return count


def _spread_less(graph: ir.Graph, keep: Collection[str]) -> int:
    """Let values be spread by the arithmetic that reads them: `y / expand(n, shape of y)` is `y / n`."""
    count = 0
    for node in list(graph):
        if node.op_type != "Expand" or node.domain or {node.name, node.outputs[0].name} & set(keep):
            continue
        reader, shape = _reader(node.outputs[0], "Add", "Div", "Mul", "Sub"), _by(node.inputs[1], "Shape")
        if reader is None or shape is None or shape.attributes or reader.graph is not graph:
            continue
        if _beside(reader, node.outputs[0]) is shape.inputs[0] and node.inputs[0] is not None:
            reader.replace_input_with(list(reader.inputs).index(node.outputs[0]), node.inputs[0])
            graph.remove(node, safe=True)
            count += 1
    return count


@dataclass
class _Chain:
    """A chain that was recognised: its nodes, the value that it gives, and the operator that it is."""

    nodes: list[ir.Node]
    out: ir.Value
    operator: str
    version: int
    x: ir.Value
    weights: dict[str, ir.Value] = field(default_factory=dict)
    attributes: dict[str, float | str | list[int]] = field(default_factory=dict)


def _join(graph: ir.Graph, chain: _Chain, keep: Collection[str]) -> bool:
    inside = set(chain.nodes)
    for node in inside:
        for value in node.outputs:
            if value is chain.out:
                continue
            if value.is_graph_output() or value.name in keep or node.name in keep:
                return False
            if any(use.node not in inside for use in value.uses()):
                return False
    last, out = chain.out.producer(), chain.out
    assert last is not None
    inputs = [chain.x, *(_flat(graph, f"{out.name}.{part}", value) for part, value in chain.weights.items())]
    made = ir.node(chain.operator, inputs, chain.attributes, version=chain.version, name=last.name)
    graph.insert_before(last, made)
    name, result = out.name, made.outputs[0]
    result.shape, result.type = out.shape, out.type
    ir.convenience.replace_all_uses_with(out, result, replace_graph_outputs=True)
    graph.remove(chain.nodes, safe=True)
    result.name = name
    return True


def _flat(graph: ir.Graph, name: str, value: ir.Value) -> ir.Value:
    """The vector of a constant: the constant itself where it is one, so that what shares it shares it still."""
    array = _array(value)
    assert array is not None
    return value if array.ndim == 1 or name.endswith(".kernel") else register(graph, name, array.reshape(-1))


# -- looking around -------------------------------------------------------------------------------------------------


def _by(value: ir.Value | None, *operators: str) -> ir.Node | None:
    """The node of ONNX's own domain that gives the value, if it is one of `operators`."""
    node = None if value is None else value.producer()
    return node if node is not None and not node.domain and node.op_type in operators else None


def _reader(value: ir.Value, *operators: str) -> ir.Node | None:
    """The only node that reads the value, if it is one of `operators`."""
    readers = {use.node for use in value.uses()}
    if len(readers) != 1 or value.is_graph_output():
        return None
    node = readers.pop()
    return node if not node.domain and node.op_type in operators and node.graph is not None else None


def _array(value: ir.Value | None) -> np.ndarray | None:
    """The array of an initialiser that is no input, or of a Constant node."""
    node = _by(value, "Constant")
    if node is None or value is None:
        return constant_of(value)
    tensor = ir.convenience.get_const_tensor(value)
    return None if tensor is None else np.asarray(tensor.numpy())


def _number(value: ir.Value | None) -> float | None:
    """The one float32 number that a constant holds."""
    array = _array(value)
    return float(array.ravel()[0]) if array is not None and array.size == 1 and array.dtype == np.float32 else None


def _is(value: ir.Value | None, wanted: float) -> bool:
    number = _number(value)
    return number is not None and math.isclose(number, wanted, rel_tol=1e-6)


def _beside(node: ir.Node, value: ir.Value) -> ir.Value | None:
    """The other input of a node of two inputs."""
    first, second = node.inputs
    return second if first is value else first


# -- normalisation --------------------------------------------------------------------------------------------------


def _normalization(root: ir.Node) -> _Chain | None:
    """x / sqrt(mean(x²) + epsilon) * scale, around its root; with x less its mean also `+ bias`."""
    spread = _by(root.inputs[0], "Add")
    if spread is None:
        return None
    mean = _by(spread.inputs[0], "ReduceMean") or _by(spread.inputs[1], "ReduceMean")
    if mean is None or not _of_last(mean):
        return None
    epsilon = _number(_beside(spread, mean.outputs[0]))
    squares = _by(mean.inputs[0], "Pow", "Mul")
    if epsilon is None or squares is None:
        return None
    centred, power = squares.inputs
    if centred is None or not (_is(power, 2.0) if squares.op_type == "Pow" else power is centred):
        return None
    nodes = [squares, mean, spread, root]
    x, again = centred, {centred}
    less = _by(centred, "Sub")
    middle = None if less is None else _by(less.inputs[1], "ReduceMean")
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
    times = _reader(scaled, "Mul")
    scale = None if times is None else _vector(_beside(times, scaled))
    if times is None or scale is None:
        return None
    nodes.append(times)
    out, weights = times.outputs[0], {"scale": scale}
    plus = _reader(out, "Add") if centre else None
    bias = None if plus is None else _vector(_beside(plus, out))
    if plus is not None and bias is not None and _size(bias) == _size(scale):
        nodes.append(plus)
        out, weights["bias"] = plus.outputs[0], bias
    operator, version = ("LayerNormalization", 17) if centre else ("RMSNormalization", 23)
    return _Chain(nodes, out, operator, version, x, weights, {"epsilon": epsilon})


def _divided(root: ir.Node, numerators: set[ir.Value], nodes: list[ir.Node]) -> ir.Value | None:
    """What comes of dividing one of `numerators` by the root, in either spelling; its nodes go into `nodes`."""
    by = _reader(root.outputs[0], "Div", "Reciprocal")
    if by is None:
        return None
    nodes.append(by)
    if by.op_type == "Div" and by.inputs[0] in numerators:
        return by.outputs[0]
    if by.op_type == "Div" and not (_is(by.inputs[0], 1.0) and by.inputs[1] is root.outputs[0]):
        return None
    times = _reader(by.outputs[0], "Mul")
    if times is None or _beside(times, by.outputs[0]) not in numerators:
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
        array = _array(node.inputs[1]) if len(node.inputs) > 1 else None
        chosen = [] if array is None else array.ravel().tolist()
    rank = _rank(node.inputs[0])
    return len(chosen) == 1 and (chosen[0] == -1 or (rank is not None and chosen[0] == rank - 1))


def _rank(value: ir.Value | None, seen: dict[ir.Value, int | None] | None = None) -> int | None:
    """How many axes a value has: as declared, or as the convolution has from which it comes."""
    seen = {} if seen is None else seen
    if value is None or value in seen:
        return None if value is None else seen[value]
    node, rank = value.producer(), None if value.shape is None else len(value.shape)
    array = _array(value) if rank is None else None
    seen[value] = None  # while it is looked for
    if array is not None:
        rank = array.ndim
    elif rank is None and node is not None and not node.domain:
        if node.op_type in ("Conv", "ConvTranspose"):
            rank = _rank(node.inputs[1], seen)
        elif node.op_type in ("Add", "Concat", "Div", "MatMul", "Mul", "Sub"):
            ranks = [_rank(item, seen) for item in node.inputs[:2]]
            rank = None if None in ranks else max(item or 0 for item in ranks)
        elif node.op_type == "Gather":
            ranks = [_rank(item, seen) for item in node.inputs]
            rank = None if None in ranks else sum(item or 0 for item in ranks) - 1
        elif node.op_type == "Reshape":
            rank = _count(node.inputs[1])
        elif node.op_type in _ALIKE:
            rank = _rank(node.inputs[0], seen)
    seen[value] = rank
    return rank


def _count(shape: ir.Value | None) -> int | None:
    """How many sizes a shape has."""
    array, node = _array(shape), _by(shape, "Concat", "Shape", "Unsqueeze")
    if array is not None or node is None:
        return None if array is None else array.size
    if node.op_type == "Shape":
        return None if node.attributes else _rank(node.inputs[0])
    if node.op_type == "Unsqueeze":
        return 1
    counts = [_count(item) for item in node.inputs]
    return None if None in counts else sum(item or 0 for item in counts)


#: Operators whose result has as many axes as their first input.
_ALIKE = frozenset(
    (
        "AveragePool", "BatchNormalization", "Clip", "Dropout", "Elu", "Gelu", "GroupNormalization", "HardSigmoid",
        "HardSwish", "Identity", "InstanceNormalization", "LayerNormalization", "LeakyRelu", "MaxPool", "Mish", "PRelu",
        "Pad", "Relu", "Resize", "Sigmoid", "Softplus", "Softmax", "Split", "Tanh", "Transpose", "Upsample",
    )
)  # fmt: skip


def _vector(value: ir.Value | None) -> ir.Value | None:
    """The value, if it is a float32 constant with one number for each feature of the last axis."""
    array = _array(value)
    fits = array is not None and array.dtype == np.float32 and array.ndim and array.size == array.shape[-1] > 1
    return value if fits else None


def _size(value: ir.Value) -> int:
    array = _array(value)
    return 0 if array is None else array.size


def _group_normalization(node: ir.Node) -> _Chain | None:
    """(x as rows of groups, each with mean 0 and variance 1, as x again) * scale + bias, around the normalisation."""
    before = _by(node.inputs[0], "Reshape")
    target = None if before is None else _array(before.inputs[1])
    ones, zeros = (_array(value) for value in node.inputs[1:3])
    if before is None or target is None or ones is None or zeros is None or (ones != 1).any() or zeros.any():
        return None
    x, groups = before.inputs[0], len(ones)
    if x is None or target.tolist() not in ([0, groups, -1], [_extent(x, 0), groups, -1]) or ones.dtype != np.float32:
        return None
    after = _reader(node.outputs[0], "Reshape")
    rank = None if after is None else _shape_is_of(after, x)
    times = None if after is None else _reader(after.outputs[0], "Mul")
    if after is None or rank is None or times is None:
        return None
    scale = _by_channel(_beside(times, after.outputs[0]), rank)
    plus = _reader(times.outputs[0], "Add")
    bias = None if plus is None else _by_channel(_beside(plus, times.outputs[0]), rank)
    if plus is None or scale is None or bias is None or _size(scale) != _size(bias):
        return None
    epsilon = node.attributes.get("epsilon")
    attributes: dict[str, float | str | list[int]] = {
        "num_groups": groups,
        "epsilon": epsilon.value if epsilon else 1e-5,
    }
    weights = {"scale": scale, "bias": bias}
    nodes = [before, node, after, times, plus]
    return _Chain(nodes, plus.outputs[0], "GroupNormalization", 21, x, weights, attributes)


def _shape_is_of(node: ir.Node, x: ir.Value) -> int | None:
    """The rank of x, if a Reshape brings what it reads into the shape of x."""
    shape, rank = _by(node.inputs[1], "Shape"), _rank(x)
    if rank is not None and shape is not None and _sizes_named(shape.outputs[0], x, rank) == _all_axes(rank):
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
    array = _array(value)
    if array is None or array.dtype != np.float32:
        return None
    shape = (1,) * (rank - array.ndim) + array.shape
    return value if shape == (1, array.size, *[1] * (rank - 2)) and array.size > 1 else None


# -- GELU -----------------------------------------------------------------------------------------------------------


def _gelu_erf(node: ir.Node) -> _Chain | None:
    """x / 2 * (1 + erf(x / sqrt(2))), its factors in any order."""
    inner = _by(node.inputs[0], "Div", "Mul")
    if inner is None:
        return None
    root = math.sqrt(2)
    for position, value in enumerate(inner.inputs):
        other = inner.inputs[1 - position]
        fits = _is(other, 1 / root) if inner.op_type == "Mul" else position == 0 and _is(other, root)
        if value is not None and fits:
            return _halved(node, value, [inner, node], "none")
    return None


def _gelu_tanh(node: ir.Node) -> _Chain | None:
    """x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x³))), its factors in any order."""
    outer = _by(node.inputs[0], "Mul")
    if outer is None:
        return None
    for position, value in enumerate(outer.inputs):
        plus = _by(value, "Add")
        if plus is None or not _is(outer.inputs[1 - position], math.sqrt(2 / math.pi)):
            continue
        for place, x in enumerate(plus.inputs):
            times = _by(plus.inputs[1 - place], "Mul")
            if x is None or times is None:
                continue
            for which, cube in enumerate(times.inputs):
                nodes = _cubed(cube, x)
                if nodes is not None and _is(times.inputs[1 - which], 0.044715):
                    return _halved(node, x, [*nodes, times, plus, outer, node], "tanh")
    return None


def _cubed(value: ir.Value | None, x: ir.Value) -> list[ir.Node] | None:
    """The nodes that make x³ of x."""
    node = _by(value, "Pow", "Mul")
    if node is None:
        return None
    if node.op_type == "Pow":
        return [node] if node.inputs[0] is x and _is(node.inputs[1], 3.0) else None
    if x not in node.inputs:
        return None
    square = _by(_beside(node, x), "Mul", "Pow")
    if square is None or square.inputs[0] is not x:
        return None
    twice = square.inputs[1] is x if square.op_type == "Mul" else _is(square.inputs[1], 2.0)
    return [square, node] if twice else None


def _halved(node: ir.Node, x: ir.Value, nodes: list[ir.Node], approximate: str) -> _Chain | None:
    """`x * 0.5 * (1 + value)`: from the value on, until x and the half are both found."""
    plus = _reader(node.outputs[0], "Add")
    if plus is None or not _is(_beside(plus, node.outputs[0]), 1.0):
        return None
    nodes = [*nodes, plus]
    value, has_x, has_half = plus.outputs[0], False, False
    while not (has_x and has_half):
        times = _reader(value, "Mul")
        if times is None:
            return None
        other = _beside(times, value)
        half = _by(other, "Mul", "Div")
        if other is x and not has_x:
            has_x = True
        elif _is(other, 0.5) and not has_half:
            has_half = True
        elif half is not None and not has_x and not has_half and _is_half_of(half, x):
            has_x = has_half = True
            nodes.append(half)
        else:
            return None
        nodes.append(times)
        value = times.outputs[0]
    return _Chain(nodes, value, "Gelu", 20, x, {}, {"approximate": approximate})


def _is_half_of(node: ir.Node, x: ir.Value) -> bool:
    if node.op_type == "Div":
        return node.inputs[0] is x and _is(node.inputs[1], 2.0)
    return x in node.inputs and _is(_beside(node, x), 0.5)


# -- products -------------------------------------------------------------------------------------------------------


def _rows_product(node: ir.Node) -> _Chain | None:
    """A Gemm of rows that were made of all axes but the last one, and apart again after it: a MatMul with a bias."""
    before, after = _by(node.inputs[0], "Reshape"), _reader(node.outputs[0], "Reshape")
    if before is None or after is None or len(node.inputs) != 3 or node.inputs[1] is None or node.inputs[2] is None:
        return None
    plain = {"alpha": 1.0, "beta": 1.0, "transA": 0, "transB": 0}
    if any(plain.get(name) != item.value for name, item in node.attributes.items()):
        return None
    x, kernel, bias = before.inputs[0], _array(node.inputs[1]), _array(node.inputs[2])
    rank = _rank(x)
    if x is None or rank is None or rank < 3 or kernel is None or bias is None or bias.shape != kernel.shape[1:]:
        return None
    rows, made = _sizes_named(before.inputs[1], x, rank), _sizes_named(after.inputs[1], x, rank)
    axes = _all_axes(rank)
    if rows is None or made is None or len(rows) != 2 or rows[0] != -1 or rows[1] not in (axes[-1], kernel.shape[0]):
        return None
    if not _are(made[:-1], axes[:-1], x) or made[-1] not in (-1, kernel.shape[1]):
        return None
    weights = {"kernel": node.inputs[1], "bias": node.inputs[2]}
    return _Chain([before, node, after], after.outputs[0], "MatMul", 13, x, weights)


# -- transposition --------------------------------------------------------------------------------------------------


def _exchange(node: ir.Node) -> _Chain | None:
    """The last two axes exchanged, all others made one before and apart again after it."""
    perm = node.attributes.get("perm")
    before, after = _by(node.inputs[0], "Reshape"), _reader(node.outputs[0], "Reshape")
    if before is None or after is None or perm is None or list(perm.value) != [0, 2, 1]:
        return None
    x = before.inputs[0]
    rank = _rank(x)
    if x is None or rank is None or rank < 3:
        return None
    joined, made = _sizes_named(before.inputs[1], x, rank), _sizes_named(after.inputs[1], x, rank)
    axes = _all_axes(rank)
    order = [*range(rank - 2), rank - 1, rank - 2]
    if joined is None or made is None or joined[:1] != [-1] or not _are(joined[1:], axes[-2:], x):
        return None
    if not _are(made, [axes[place] for place in order], x):
        return None
    return _Chain([before, node, after], after.outputs[0], "Transpose", 1, x, {}, {"perm": order})


def _all_axes(rank: int) -> list[str | int]:
    return [f"axis {place}" for place in range(rank)]


def _are(sizes: Sequence[str | int], axes: Sequence[str | int], x: ir.Value) -> bool:
    """Whether sizes are those of the axes named, or the numbers that x declares for them."""
    dims = {} if x.shape is None else {f"axis {place}": size for place, size in enumerate(x.shape.dims)}
    return len(sizes) == len(axes) and all(
        size == axis or (isinstance(size, int) and size == dims.get(str(axis)))
        for size, axis in zip(sizes, axes, strict=True)
    )


def _sizes_named(value: ir.Value | None, x: ir.Value, rank: int) -> list[str | int] | None:
    """The items of a shape: numbers, or `axis k` for a size of x; None where something else is in it."""
    array = _array(value)
    if array is not None:
        return [int(item) for item in array.ravel()]
    node = _by(value, "Cast", "Concat", "Gather", "Reshape", "Shape", "Slice", "Squeeze", "Unsqueeze")
    if node is None:
        return None
    if node.op_type == "Shape":
        start, end = (node.attributes.get(name) for name in ("start", "end"))
        cut = slice(start.value if start else 0, end.value if end else None)
        return _all_axes(rank)[cut] if node.inputs[0] is x else None
    if node.op_type == "Concat":
        parts = [_sizes_named(item, x, rank) for item in node.inputs]
        return None if any(part is None for part in parts) else [item for part in parts for item in part or ()]
    items = _sizes_named(node.inputs[0], x, rank)
    given = [_array(item) for item in node.inputs[1:]]
    if items is None or node.op_type in ("Cast", "Reshape", "Squeeze", "Unsqueeze"):
        return items
    if any(item is None for item in given) or not given:
        return None
    numbers = [int(item.ravel()[0]) if item is not None and item.size == 1 else None for item in given]
    if None in numbers:
        return None
    if node.op_type == "Gather":
        return [items[numbers[0] or 0]]
    step = numbers[3] if len(numbers) > 3 else 1
    return items[numbers[0] : numbers[1] : step]


#: Operator that betrays a chain -> what recognises it.
_KEYS: dict[str, Callable[[ir.Node], _Chain | None]] = {
    "Erf": _gelu_erf,
    "Gemm": _rows_product,
    "InstanceNormalization": _group_normalization,
    "Sqrt": _normalization,
    "Tanh": _gelu_tanh,
    "Transpose": _exchange,
}
