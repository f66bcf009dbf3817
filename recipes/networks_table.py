"""The table of docs/networks.md: every card whose network modelzoo writes down, counted and held against its source.

    python -m recipes.networks_table > docs/networks.md

Counts come from the built networks. Slim's are exact sums over the variables of its checkpoints, or what its READMEs
state; those of keras.applications and of the papers are rounded there, and compared at their last digit.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, NamedTuple

import modelzoo as mz
from modelzoo.networks import APPLICATIONS, NETWORKS
from modelzoo.networks.multiply_adds import count_multiply_adds

__all__ = ["PUBLISHED", "SLIM", "Row", "agrees", "counted", "line", "rows", "stated"]

_NASNET = "TF-Slim's nasnet/README.md"
_V1 = "TF-Slim's mobilenet_v1.md"
_V2 = "TF-Slim's mobilenet/README.md"
_V3 = "arXiv:1905.02244"
_KERAS = "keras.io/api/applications"
_CONVNEXT = "arXiv:2201.03545"
_VGG = "arXiv:1409.1556"

SLIM: dict[str, int] = {
    "alexnet_v2": 50_303_912,
    "cifarnet": 1_756_426,
    "inception_resnet_v2": 55_875_273,
    "inception_v1": 6_633_209,
    "inception_v2": 11_199_137,
    "inception_v3": 23_853_833,
    "inception_v4": 42_712_937,
    "lenet": 3_274_634,
    "mobilenet_v1_0.25_128": 475_801,
    "mobilenet_v1_0.5_160": 1_343_049,
    "mobilenet_v1_1.0_224": 4_254_889,
    "mobilenet_v2_0.35_96": 1_692_489,
    "mobilenet_v2_1.0_224": 3_540_265,
    "mobilenet_v2_1.4_224": 6_158_505,
    "mobilenet_v3_large": 5_508_713,
    "mobilenet_v3_small": 2_555_993,
    "nasnet_large": 88_953_851,
    "nasnet_mobile": 5_327_773,
    "overfeat": 145_704_424,
    "pnasnet_large": 86_238_977,
    "pnasnet_mobile": 5_099_232,
    "resnet_v1_101": 44_654_504,
    "resnet_v1_152": 60_344_232,
    "resnet_v1_50": 25_610_152,
    "resnet_v2_101": 44_677_609,
    "resnet_v2_152": 60_382_697,
    "resnet_v2_50": 25_615_849,
    "vgg_16": 138_357_544,
    "vgg_19": 143_667_240,
}
"""Values in the variables of TF-Slim's own inference graphs, auxiliary classifiers of the Inception networks apart."""

PUBLISHED: tuple[tuple[str, str, str], ...] = (
    (r"mobilenet_v1_0\.25_.*|keras_mobilenet_2_5_.*", "0.47", _V1),
    (r"mobilenet_v1_0\.50?_.*|keras_mobilenet_5_0_.*", "1.34", _V1),
    (r"mobilenet_v1_0\.75_.*|keras_mobilenet_7_5_.*", "2.59", _V1),
    (r"mobilenet_v1_1\.0_.*|keras_mobilenet_1_0_.*", "4.24", _V1),
    (r"(keras_)?mobilenet_v2_0[._]35_.*", "1.66", _V2),
    (r"(keras_)?mobilenet_v2_0[._]50?_.*", "1.95", _V2),
    (r"(keras_)?mobilenet_v2_0[._]75_.*", "2.61", _V2),
    (r"(keras_)?mobilenet_v2_1[._]0_.*", "3.47", _V2),
    (r"(keras_)?mobilenet_v2_1[._]3_.*", "5.34", _V2),
    (r"(keras_)?mobilenet_v2_1[._]4_.*", "6.06", _V2),
    (r"mobilenet_?v3_?large|keras_mobilenet_v3_large_224_1_0_float", "5.4", _V3),
    (r"(keras_)?mobilenet_v3_large_(224_)?0[._]75.*", "4.0", _V3),
    (r"(keras_)?mobilenet_v3_large_minimalistic_.*", "3.9", _V2),
    (r"mobilenet_?v3_?small|keras_mobilenet_v3_small_224_1_0_float", "2.5", _V3),
    (r"(keras_)?mobilenet_v3_small_(224_)?0[._]75.*", "2.0", _V3),
    (r"(keras_)?mobilenet_v3_small_minimalistic_.*", "2.0", _V2),
    (r"nasnet_?mobile", "5.3", _NASNET),
    (r"nasnet_?large", "88.9", _NASNET),
    (r"pnasnet_mobile", "5.1", _NASNET),
    (r"pnasnet_large", "86.1", _NASNET),
    (r"vgg_?16", "138", _VGG),
    (r"vgg_?19", "144", _VGG),
    (r"convnexttiny", "29", _CONVNEXT),
    (r"convnextsmall", "50", _CONVNEXT),
    (r"convnextbase", "89", _CONVNEXT),
    (r"convnextlarge", "198", _CONVNEXT),
    (r"convnextxlarge", "350", _CONVNEXT),
    (r"densenet121", "8.1", _KERAS),
    (r"densenet169", "14.3", _KERAS),
    (r"densenet201", "20.2", _KERAS),
    (r"efficientnetb0", "5.3", _KERAS),
    (r"efficientnetb1", "7.9", _KERAS),
    (r"efficientnetb2", "9.2", _KERAS),
    (r"efficientnetb3", "12.3", _KERAS),
    (r"efficientnetb4", "19.5", _KERAS),
    (r"efficientnetb5", "30.6", _KERAS),
    (r"efficientnetb6", "43.3", _KERAS),
    (r"efficientnetb7", "66.7", _KERAS),
    (r"efficientnetv2b0", "7.2", _KERAS),
    (r"efficientnetv2b1", "8.2", _KERAS),
    (r"efficientnetv2b2", "10.2", _KERAS),
    (r"efficientnetv2b3", "14.5", _KERAS),
    (r"efficientnetv2s", "21.6", _KERAS),
    (r"efficientnetv2m", "54.4", _KERAS),
    (r"efficientnetv2l", "119.0", _KERAS),
    (r"inceptionresnetv2", "55.9", _KERAS),
    (r"inceptionv3", "23.9", _KERAS),
    (r"mobilenet", "4.3", _KERAS),
    (r"mobilenetv2", "3.5", _KERAS),
    (r"resnet50(v2)?", "25.6", _KERAS),
    (r"resnet101(v2)?", "44.7", _KERAS),
    (r"resnet152(v2)?", "60.4", _KERAS),
    (r"xception", "22.9", _KERAS),
)
"""(regular expression of card names, millions of parameters as printed, where)."""


class Row(NamedTuple):
    """One card's network.

    Attributes:
        parameters: all values a checkpoint holds; BatchNorm's statistics among them.
        trainable: without those statistics.
        plain: without normalisation at all, as MobileNet V2's authors count.
        multiply_adds: of one picture at the card's size; None where a size is open.
    """

    card: str
    network: str
    parameters: int
    trainable: int
    plain: int
    multiply_adds: int | None


def stated(card: str) -> tuple[str, str] | None:
    """(Millions as printed, where) for a card's name, or None where nobody states them."""
    return next(((millions, where) for names, millions, where in PUBLISHED if re.fullmatch(names, card)), None)


def agrees(row: Row, millions: str) -> bool:
    """Whether a count, with BatchNorm's statistics, without them, or without BatchNorm, rounds or is cut to that."""
    step = Decimal(millions).as_tuple().exponent
    assert isinstance(step, int)
    unit = Decimal(1).scaleb(step)
    counts = [Decimal(count) / 1_000_000 for count in (row.parameters, row.trainable, row.plain)]
    return any(abs(count - Decimal(millions)) < unit for count in counts)


def rows(names: list[str] | None = None) -> Iterator[Row]:
    """Build and count every card's network, untrained.

    Args:
        names: of cards; None = `counted()`.
    """
    import keras

    for name in names or counted():
        model: Any = mz.load_pretrained(name, weights=None)
        try:
            adds: int | None = count_multiply_adds(model).count
        except mz.UsageError:
            adds = None
        trainable = sum(math.prod(variable.shape) for variable in model.trainable_variables)
        norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
        total = model.count_params()
        plain = total - sum(layer.count_params() for layer in norms)
        yield Row(name, str(mz.info(name).build.network), total, trainable, plain, adds)
        keras.backend.clear_session()


def counted() -> list[str]:
    """Names of the cards whose network is in modelzoo or in keras.applications."""
    return [name for name in mz.list_models() if mz.info(name).build.network in {*NETWORKS, APPLICATIONS}]


def line(row: Row) -> str:
    """One line of the table."""
    millions = stated(row.card)
    shown = [f"{SLIM[row.card]:,}, TF-Slim's graph"] if row.card in SLIM else []
    shown += [f"{millions[0]} M, {millions[1]}"] if millions else []
    adds = "" if row.multiply_adds is None else f"{Decimal(row.multiply_adds) / 1_000_000:,.0f} M"
    counts = " | ".join(f"{count:,}" for count in (row.parameters, row.trainable, row.plain))
    return f"| `{row.card}` | `{row.network}` | {counts} | {adds} | {'; '.join(shown)} |"


def main() -> None:
    print(_HEAD)
    for row in rows():
        print(line(row), flush=True)


_HEAD = """# Networks
Every card whose network modelzoo writes down itself, or builds through keras.applications: what it holds, and what its
source says. `modelzoo compare NAME...` counts the others, whose networks are in their files, once they are fetched.

Made by `python -m recipes.networks_table > docs/networks.md`. Parameters are all values of a checkpoint; trainable ones
leave BatchNorm's statistics out, and the count beside them BatchNorm as a whole, as some authors do: what a source
states is met by one of the three. Counts of TF-Slim's graphs, without auxiliary classifiers, are met exactly. TF-Slim's
README has 2.9 M for MobileNet V3 small; its own checkpoint has what is said here, and so has the paper.

| card | network | parameters | trainable | without BatchNorm | multiply-adds | stated |
| --- | --- | ---: | ---: | ---: | ---: | --- |"""

if __name__ == "__main__":
    main()
