"""Which taps stand for content and for style, where nobody says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modelzoo.errors import UsageError
from modelzoo.features.taps import describe_taps
from modelzoo.finetune.backbone import default_tap
from modelzoo.finetune.walking import layers_before
from modelzoo.style.network import known_taps

__all__ = ["style_taps", "trunk"]

_STRIDES = (1, 2, 4, 8, 16)
_CONTENT_STRIDE = 8


def style_taps(network: Any, card: Any = None, name: str | None = None) -> tuple[list[str], list[str]]:
    """(content taps, style taps) of a network.

    The card's field `style`, `{"content": [TAP, ...], "style": [TAP, ...]}`, decides. Without it, style is read where
    each stage of the network ends: the last map of stride 1, 2, 4, 8 and 16 through which everything flows on the way
    to the classifier (`relu1_2` to `relu5_4` of VGG-19, `conv1` to `inception_4e` of GoogLeNet); and content at the
    end of the stage of stride 8, where the outlines of things are still in their places.

    Args:
        network: functional keras.Model.
        card: of the registry, or None.
        name: for messages.

    Raises:
        UsageError: no such map is found: say which taps.
    """
    name = name or network.name
    said = getattr(card, "style", None)
    if said is not None:
        return list(said.content), list(said.style)
    ends: dict[int, str] = {}
    for tap, stride in trunk(network, name).items():
        ends[stride] = tap
    style = [ends[stride] for stride in _STRIDES if stride in ends]
    if not style:
        raise UsageError(
            f"Which taps of {name} stand for content and style is not known.",
            hint=f"content_taps=[...], style_taps=[...]; modelzoo taps {name} lists them",
        )
    content = ends.get(_CONTENT_STRIDE) or style[min(len(style) - 1, 2)]
    return [content], style


def trunk(network: Any, name: str) -> dict[str, int]:
    """{tap: stride} of the maps through which everything flows on the way to the classifier, the input's side first.

    Branches of an inception module, or the inside of a residual one, are not among them, nor is what comes straight out
    of pooling or padding, nor what lies before the first kernel.
    """
    import keras

    known = known_taps(network)
    by_tensor: dict[int, str] = {}
    for tap, tensor in known.items():
        by_tensor.setdefault(id(tensor), tap)
    try:
        end = known[default_tap(network, known, name)]
    except UsageError:
        end = keras.tree.flatten(network.output)[-1]
    layers = layers_before([end])
    position = {id(layer): number for number, layer in enumerate(layers)}
    nodes = [_node_of(layer, end, position) for layer in layers]
    # A value is of the trunk if, once it is computed, nothing else that came before is needed any more.
    last_use: dict[int, int] = {}
    for number, node in enumerate(nodes):
        for tensor in node.input_tensors:
            last_use[id(tensor)] = number
    found: dict[str, int] = {}
    waiting: dict[int, int] = {}
    seen_kernel = False
    for number, (layer, node) in enumerate(zip(layers, nodes, strict=True)):
        waiting = {tensor: use for tensor, use in waiting.items() if use > number}
        outputs = keras.tree.flatten(node.outputs)
        alone = not waiting
        seen_kernel = seen_kernel or bool(layer.variables)
        waiting |= {id(tensor): last_use[id(tensor)] for tensor in outputs if id(tensor) in last_use}
        tap = by_tensor.get(id(outputs[0]), "") if len(outputs) == 1 else ""
        if not (alone and seen_kernel and tap) or any(word in type(layer).__name__ for word in ("Pool", "Padding")):
            continue
        info = describe_taps({tap: outputs[0]})[tap]
        if info.stride is not None and len(info.shape) == 4 and info.shape[1:3] != (1, 1):
            found[tap] = info.stride
    return found


def _node_of(layer: Any, end: Any, position: Mapping[int, int]) -> Any:
    """The call of `layer` that belongs to the network: all of its inputs come from layers before `end`."""
    history = end._keras_history
    if history.operation is layer:
        return layer._inbound_nodes[history.node_index]
    for node in layer._inbound_nodes:
        if all(id(tensor._keras_history.operation) in position for tensor in node.input_tensors):
            return node
    return layer._inbound_nodes[0]
