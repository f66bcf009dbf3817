"""What depends on the inputs, and how many pixels of the input lie between two neighbours of a map.

Strides are walked from node to node, so they are right for open sizes and odd paddings.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from converters.tensorflow.graph import Node, Ref
from converters.tensorflow.plan import Plan, Unit

__all__ = ["walk_strides"]

_DIVIDING = ("DepthToSpace", "Conv2DBackpropInput")
_RESIZING = ("ResizeArea", "ResizeBicubic", "ResizeBilinear", "ResizeNearestNeighbor")


def walk_strides(plan: Plan, known: Mapping[Ref, Any]) -> dict[Ref, Fraction | None]:
    """The plan's targets that depend on what is fed, each with its stride along the height.

    Args:
        plan: of all tensors that are asked for.
        known: ref -> (type, shape).

    Returns:
        Origin of a target -> stride; None where no stride can be told (behind loops, or a resize of open sizes).
    """
    # Unit -> (whether it depends on an input, its stride).
    found: dict[int, tuple[bool, Fraction | None]] = {}

    def facts(ref: Ref) -> tuple[bool, Fraction | None]:
        return (True, Fraction(1)) if ref in plan.fed else found.get(id(plan.unit(ref)), (False, None))

    for target in plan.targets:
        stack: list[Unit] = [] if target in plan.fed else [plan.unit(target)]
        while stack:
            unit = stack[-1]
            if id(unit) in found:
                stack.pop()
                continue
            before = [ref for ref in plan.needs(unit) if ref not in plan.carried]
            waiting = [plan.unit(ref) for ref in before if ref not in plan.fed and id(plan.unit(ref)) not in found]
            if waiting:
                stack.extend(waiting)
                continue
            stack.pop()
            moving = [step for depends, step in map(facts, before) if depends]
            steps = [step for step in moving if step is not None]
            own = _own(unit, known) if isinstance(unit, Node) else None
            found[id(unit)] = (bool(moving), max(steps) * own if steps and own is not None else None)
    return {ref: facts(ref)[1] for ref in plan.targets if facts(ref)[0]}


def _own(node: Node, known: Mapping[Ref, Any]) -> Fraction | None:
    if node.op in _RESIZING:
        return _ratio(node, known)
    if node.op in ("SpaceToDepth", "DepthToSpace"):
        step = Fraction(max(1, node.attr["block_size"].i))
    else:
        listed = node.attr["strides"].list.i if "strides" in node.attr else []
        if len(listed) != 4:
            return Fraction(1)
        first = node.attr["data_format"].s.startswith(b"NC") if "data_format" in node.attr else False
        step = Fraction(max(1, listed[2 if first else 1]))
    return 1 / step if node.op in _DIVIDING else step


def _ratio(node: Node, known: Mapping[Ref, Any]) -> Fraction | None:
    sizes = []
    for ref in (node.inputs[0], Ref(node.name, 0)):
        _, shape = known.get(ref, (None, None))
        if shape is None or shape.rank != 4 or not shape[1]:
            return None
        sizes.append(int(shape[1]))
    return Fraction(sizes[0], sizes[1])
