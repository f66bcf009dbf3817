"""What a block's function is called: after what it is made of, or after what its layers are called."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from converters.emit.common_names import common_start
from converters.emit.literals import identifier
from converters.emit.statements import Statement

__all__ = ["block_name", "short_name", "unit_name"]

_SHORT = {
    "Concatenate": "concat",
    "BatchNormalization": "bn",
    "Dense": "dense",
    "DepthwiseConv1D": "depthwise",
    "DepthwiseConv2D": "depthwise",
    "LeakyReLU": "leaky_relu",
    "PReLU": "prelu",
    "ReLU": "relu",
    "SeparableConv1D": "separable",
    "SeparableConv2D": "separable",
    "ZeroPadding1D": "pad",
    "ZeroPadding2D": "pad",
    "ZeroPadding3D": "pad",
}


def short_name(statement: Statement) -> str:
    """A word for a statement: `conv`, `bn`, `relu`, or its function's own name."""
    if statement.function == "Activation":
        return identifier(str(statement.options.get("activation", "activation")))
    if statement.function == "ReLU" and statement.options.get("max_value") == 6:
        return "relu6"
    known = _SHORT.get(statement.function)
    split = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", re.sub(r"\dD", "", statement.function))
    return known or identifier(split, "layer")


def unit_name(body: Sequence[Statement]) -> str:
    """`conv_bn_relu` of its layers' classes."""
    return identifier("_".join(short_name(statement) for statement in body))


def block_name(stretches: Sequence[Sequence[Statement]], values: Sequence[dict[str, Any]]) -> str:
    """The last word that the names of all its occurrences begin with, else what joins its branches.

    Args:
        stretches: its statements in each occurrence.
        values: the arguments of its function in each occurrence.
    """
    for names in ([value.get("name") for value in values], [_first_name(stretch) for stretch in stretches]):
        texts = [name for name in names if isinstance(name, str)]
        word = _shared_word(texts) if len(texts) == len(values) else ""
        if word:
            return identifier(word)
    kinds = {statement.function for statement in stretches[0]}
    return "residual" if "Add" in kinds else "branches" if "Concatenate" in kinds else "block"


def _first_name(stretch: Sequence[Statement]) -> str | None:
    for statement in stretch:
        name = statement.name or statement.options.get("name")
        if isinstance(name, str):
            return name
    return None


def _shared_word(names: Sequence[str]) -> str:
    """`bottleneck_v1` of `net.block1.unit_1.bottleneck_v1`, `mixed` of `Mixed_3b`; empty where there is none."""
    lasts = {name.rpartition(".")[2] for name in names}
    if len(lasts) == 1 and re.search(r"[A-Za-z]{2}", next(iter(lasts))):
        return lasts.pop()
    for texts in (lasts, set(names)):
        word = common_start(texts)
        # A number in which it ends may go on in other names; one with a separator behind it does not.
        word = re.sub(r"[^A-Za-z]*$", "", word) if re.search(r"\d$", word) else word.rstrip("._-")
        word = word.rpartition(".")[2]
        if re.search(r"[A-Za-z]{2}", word):
            return word
    return ""
