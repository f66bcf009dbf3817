"""NASNet-A, mobile and large, as TF-slim defines them; and the cell machinery that PNASNet shares.

Zoph et al., "Learning Transferable Architectures for Scalable Image Recognition", CVPR 2018 (arXiv:1707.07012),
figure 4 and appendix A. Two things of slim's are for training from scratch only and are not here: the auxiliary head,
and dropped paths, whose rate rises over 250,000 steps.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Any

import keras

from modelzoo.networks.kernels import use_direct_kernel
from modelzoo.networks.separable import separable_conv2d
from modelzoo.networks.slim import BatchNorm, SlimNetwork
from modelzoo.networks.weights import ArraySource

BATCH_NORM = BatchNorm(decay=0.9997, gamma=True)


@dataclass(frozen=True)
class Cell:
    """What the search found: five pairs of (hidden state, operation), each added up to a new hidden state.

    Attributes:
        pairs: of the states, 0 is the cell's input, 1 the input of the cell before it, 2 .. 6 are the sums.
        output: the states that are joined to the cell's output.
    """

    pairs: tuple[tuple[tuple[int, str], tuple[int, str]], ...]
    output: tuple[int, ...]


NORMAL = Cell(
    (
        ((0, "separable_5x5"), (1, "separable_3x3")),
        ((1, "separable_5x5"), (1, "separable_3x3")),
        ((0, "avg_pool_3x3"), (1, "none")),
        ((1, "avg_pool_3x3"), (1, "avg_pool_3x3")),
        ((0, "separable_3x3"), (0, "none")),
    ),
    output=(1, 2, 3, 4, 5, 6),
)
REDUCTION = Cell(
    (
        ((0, "separable_5x5"), (1, "separable_7x7")),
        ((0, "max_pool_3x3"), (1, "separable_7x7")),
        ((0, "avg_pool_3x3"), (1, "separable_5x5")),
        ((3, "none"), (2, "avg_pool_3x3")),
        ((2, "separable_3x3"), (0, "max_pool_3x3")),
    ),
    output=(3, 4, 5, 6),
)


def nasnet(
    x: Any,
    source: ArraySource,
    *,
    cells: int,
    filters: int,
    stem: int,
    skip_reduction: bool,
    include_top: bool = True,
    classes: int = 1001,
    new_head: bool = False,
) -> tuple[Any, SlimNetwork]:
    """Build a NASNet-A on the symbolic input `x`.

    Args:
        x: (N, H, W, 3), float32 in [-1, 1].
        source: the arrays, by slim's variable names.
        cells: normal cells; a reduction cell comes before the second and the third third of them.
        filters: of an operation in the first cells; they double at each reduction.
        stem: filters of the convolution in front.
        skip_reduction: whether the cell behind a reduction cell takes for the state before it what the reduction cell
            took for that, in place of the reduction cell's input.
        include_top: whether the classifier follows the last cell.
        classes: width of the logits.
        new_head: the classifier is not in the checkpoint and keeps Keras' initialisers.

    Returns:
        The output, logits (N, classes) or the last cell's map after ReLU (N, H/32, W/32, 24 * filters), and the
        network with its taps.
    """
    net = SlimNetwork(source, "", BATCH_NORM)
    builder = CellBuilder(net)
    outputs = builder.stem(x, REDUCTION, stem, filters)
    for number in range(cells):
        previous = outputs[-2]
        if number in (cells // 3, 2 * cells // 3):
            reduction = 0 if number == cells // 3 else 1
            filters *= 2
            scope = f"reduction_cell_{reduction}"
            name = f"Reduction_Cell_{reduction}"
            outputs.append(builder.cell(REDUCTION, outputs[-1], previous, filters, scope, tap=name, stride=2))
            if not skip_reduction:
                previous = outputs[-2]
        outputs.append(builder.cell(NORMAL, outputs[-1], previous, filters, f"cell_{number}", tap=f"Cell_{number}"))
    return builder.head(outputs[-1], include_top=include_top, classes=classes, new_head=new_head), net


@dataclass(frozen=True)
class State:
    """A value between operations: its tensor, its tap, and the input's pixels for each of its cells."""

    tensor: Any
    name: str
    stride: int

    @property
    def depth(self) -> int:
        return int(self.tensor.shape[-1])


@dataclass
class CellBuilder:
    """Cells, and what is around them, over a `SlimNetwork`.

    Several operations of a cell, or of two cells, may begin with the same ReLU or pool of one state: slim computes it
    for each of them, here it is computed once.
    """

    net: SlimNetwork
    shared: dict[str, State] = field(default_factory=dict)

    def stem(self, x: Any, cell: Cell, first: int, filters: int) -> list[State]:
        """The convolution in front and two cells that halve height and width: from 331 x 331 to 42 x 42.

        Args:
            x: (N, H, W, 3).
            cell: of which both are made.
            first: filters of the convolution.
            filters: of the cells behind the stem.

        Returns:
            The states of convolution and cells.
        """
        net = self.net
        conv = keras.layers.Conv2D(
            first, 3, strides=2, padding="valid", use_bias=False, name=net.layer_name("conv0/Conv2D")
        )
        x = net.apply(conv, x, {"kernel_initializer": ("conv0/weights", (3, 3, x.shape[-1], first))})
        conv0 = State(net.normalize(x, "conv0_bn", name=net.layer_name("conv0/BatchNorm")), "conv0", 2)
        zero = self.cell(cell, conv0, None, filters // 4, "cell_stem_0", tap="cell_stem_0/cell_output", stride=2)
        one = self.cell(cell, zero, conv0, filters // 2, "cell_stem_1", tap="Stem", stride=2)
        return [conv0, zero, one]

    def head(self, state: State, *, include_top: bool, classes: int, new_head: bool) -> Any:
        """ReLU, and unless it is left out the mean over the map, dropout and logits."""
        x = self.relu(state).tensor
        if not include_top:
            return x
        net = self.net
        x = net.tap("global_pool", keras.layers.GlobalAveragePooling2D(name=net.layer_name("global_pool"))(x))
        x = net.dropout(x, 0.5, "final_layer/dropout")
        x = net.fully_connected(x, classes, "final_layer/FC", name="Logits", activate=False, new=new_head)
        net.softmax(x)
        return x

    def cell(
        self,
        cell: Cell,
        current: State,
        previous: State | None,
        filters: int,
        scope: str,
        *,
        tap: str,
        stride: int = 1,
    ) -> State:
        """One cell.

        Args:
            cell: its pairs.
            current: its input.
            previous: the input of the cell before, in any width and depth; None: there is none.
            filters: depth of every hidden state.
            scope: slim's.
            tap: name of the output; without a slash it is an end point.
            stride: of the operations on the states 0 and 1.

        Returns:
            The joined states, (N, H/stride, W/stride, filters * len(cell.output)).
        """
        beginning = self.conv(self.relu(current), filters, f"{scope}/1x1", f"{scope}/beginning_bn")
        states = [beginning, current if previous is None else self.adjusted(previous, current, filters, scope)]
        for number, pair in enumerate(cell.pairs):
            at = f"{scope}/comb_iter_{number}"
            sides = [
                self.operation(states[index], kind, filters, f"{at}/{side}", stride if index < 2 else 1)
                for side, (index, kind) in zip(("left", "right"), pair, strict=True)
            ]
            add = keras.layers.Add(name=self.net.layer_name(f"{at}/combine"))
            states.append(self.state(add([side.tensor for side in sides]), f"{at}/combine", sides[0].stride))
        joined = self.net.concat([states[index].tensor for index in cell.output], tap)
        return self.state(joined, tap, states[-1].stride)

    def adjusted(self, previous: State, current: State, filters: int, scope: str) -> State:
        """The state before, brought to the current one's height and width and to `filters` channels."""
        if previous.stride != current.stride:
            return self.factorized_reduction(self.relu(previous), filters, scope)
        if previous.depth != filters:
            return self.conv(self.relu(previous), filters, f"{scope}/prev_1x1", f"{scope}/prev_bn")
        return previous

    def factorized_reduction(self, state: State, filters: int, scope: str) -> State:
        """Half of the filters see the even pixels and the others the odd ones, so that no pixel is lost."""
        even = self.linear(state.tensor, filters // 2, f"{scope}/path1_conv", stride=2)
        odd = state.tensor
        name = self.net.layer_name(f"{scope}/path2_conv")
        odd = use_direct_kernel(keras.layers.Cropping2D(((1, 0), (1, 0)), name=f"{name}.Cropping2D"))(odd)
        # An odd number of pixels ends in an even one: zero stands for its neighbour beyond the border.
        height, width = (1 if side is None else side % 2 for side in state.tensor.shape[1:3])
        if height or width:
            odd = keras.layers.ZeroPadding2D(((0, height), (0, width)), name=f"{name}.ZeroPadding2D")(odd)
        odd = self.linear(odd, filters - filters // 2, f"{scope}/path2_conv", stride=2)
        joined = self.net.concat([even, odd], f"{scope}/final_path_bn/Concatenate")
        return self.normalized(joined, f"{scope}/final_path_bn", 2 * state.stride)

    def operation(self, state: State, kind: str, filters: int, scope: str, stride: int) -> State:
        """One operation of a pair: what slim calls `kind`, on a state, to `filters` channels."""
        if kind.startswith("separable"):
            return self.separable(state, kind.removeprefix("separable_"), filters, scope, stride)
        if kind == "none":
            if stride == 1 and state.depth == filters:
                return state
            return self.conv(self.relu(state), filters, f"{scope}/1x1", f"{scope}/bn_1", stride=stride)
        pooled = self.pool(state, kind, stride)
        return pooled if state.depth == filters else self.conv(pooled, filters, f"{scope}/1x1", f"{scope}/bn_1")

    def separable(self, state: State, window: str, filters: int, scope: str, stride: int) -> State:
        """Twice: ReLU, separable convolution, BatchNorm; the first of them strides."""
        for number in (1, 2):
            x = self.relu(state).tensor
            x = separable_conv2d(
                self.net, x, filters, int(window[0]), f"{scope}/separable_{window}_{number}", stride=stride
            )
            state = self.normalized(x, f"{scope}/bn_sep_{window}_{number}", state.stride * stride)
            stride = 1
        return state

    def pool(self, state: State, kind: str, stride: int) -> State:
        """A pool of 3x3, the same for all operations that pool this state so."""
        layer = keras.layers.MaxPooling2D if kind == "max_pool_3x3" else keras.layers.AveragePooling2D
        name = f"{state.name}/{layer.__name__}"
        if name not in self.shared:
            pool = layer(3, strides=stride, padding="same", name=self.net.layer_name(name))
            self.shared[name] = State(pool(state.tensor), name, state.stride * stride)
        return self.shared[name]

    def relu(self, state: State) -> State:
        """The state after ReLU, the same for all that begin with it."""
        name = f"{state.name}/ReLU"
        if name not in self.shared:
            relu = keras.layers.ReLU(name=self.net.layer_name(name))
            self.shared[name] = State(relu(state.tensor), name, state.stride)
        return self.shared[name]

    def conv(self, state: State, filters: int, scope: str, norm: str, *, stride: int = 1) -> State:
        """1x1 convolution and BatchNorm, whose variables lie side by side."""
        x = self.linear(state.tensor, filters, scope, stride=stride)
        return self.normalized(x, norm, state.stride * stride)

    def linear(self, x: Any, filters: int, scope: str, *, stride: int = 1) -> Any:
        """A 1x1 convolution and nothing else, not even a bias."""
        net = self.net
        layer = keras.layers.Conv2D(filters, 1, strides=stride, use_bias=False, name=net.layer_name(scope))
        x = net.apply(layer, x, {"kernel_initializer": (net.variable(scope, "weights"), (1, 1, x.shape[-1], filters))})
        return net.tap(scope, x, end_point=False)

    def normalized(self, x: Any, scope: str, stride: int) -> State:
        """BatchNorm over a value."""
        return self.state(self.net.normalize(x, scope), scope, stride)

    def state(self, x: Any, name: str, stride: int) -> State:
        """A value and its tap."""
        return State(self.net.tap(name, x, end_point="/" not in name), name, stride)


nasnet_mobile = partial(nasnet, cells=12, filters=44, stem=32, skip_reduction=False)
nasnet_large = partial(nasnet, cells=18, filters=168, stem=96, skip_reduction=True)
