"""PNASNet-5, mobile and large, as TF-slim defines them.

Liu et al., "Progressive Neural Architecture Search", ECCV 2018 (arXiv:1712.00559), figure 1. There is but one
cell: what halves the map is the same cell with a stride. As in `nasnet`, the auxiliary head and dropped paths are not
here.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from modelzoo.networks.nasnet import BATCH_NORM, Cell, CellBuilder
from modelzoo.networks.slim import SlimNetwork
from modelzoo.networks.weights import ArraySource

CELL = Cell(
    (
        ((1, "separable_5x5"), (1, "max_pool_3x3")),
        ((0, "separable_7x7"), (0, "max_pool_3x3")),
        ((0, "separable_5x5"), (0, "separable_3x3")),
        ((4, "separable_3x3"), (0, "max_pool_3x3")),
        ((1, "separable_3x3"), (0, "none")),
    ),
    output=(2, 3, 4, 5, 6),
)


def pnasnet(
    x: Any,
    source: ArraySource,
    *,
    cells: int,
    filters: int,
    stem: int,
    include_top: bool = True,
    classes: int = 1001,
    new_head: bool = False,
) -> tuple[Any, SlimNetwork]:
    """Build a PNASNet-5 on the symbolic input `x`.

    Args:
        x: (N, H, W, 3), float32 in [-1, 1].
        source: the arrays, by slim's variable names.
        cells: behind the stem; the first of the second and of the third third of them stride.
        filters: of an operation in the first cells; they double where a cell strides.
        stem: filters of the convolution in front.
        include_top: whether the classifier follows the last cell.
        classes: width of the logits.
        new_head: the classifier is not in the checkpoint and keeps Keras' initialisers.

    Returns:
        The output, logits (N, classes) or the last cell's map after ReLU (N, H/32, W/32, 20 * filters), and the
        network with its taps.
    """
    net = SlimNetwork(source, "", BATCH_NORM)
    builder = CellBuilder(net)
    outputs = builder.stem(x, CELL, stem, filters)
    for number in range(cells):
        stride = 2 if number in (cells // 3, 2 * cells // 3) else 1
        filters *= stride
        scope, tap = f"cell_{number}", f"Cell_{number}"
        outputs.append(builder.cell(CELL, outputs[-1], outputs[-2], filters, scope, tap=tap, stride=stride))
    return builder.head(outputs[-1], include_top=include_top, classes=classes, new_head=new_head), net


pnasnet_mobile = partial(pnasnet, cells=9, filters=54, stem=32)
pnasnet_large = partial(pnasnet, cells=12, filters=216, stem=96)
