"""What the names in weight files mean: which layer an array belongs to, and which of its weights it is.

Every framework says the same in its own words: `conv1/weights` (slim), `conv1/conv1_W:0` (Keras 1),
`conv1/conv1_3/kernel:0` (Keras 2), `conv1/kernel` (Keras 3), `conv1/0` (Caffe),
`layer_with_weights-0/kernel/.ATTRIBUTES/VARIABLE_VALUE` (TensorFlow's object-based checkpoints).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from modelzoo.networks.weights import _AVERAGE, _TRAINING_LEFTOVERS

__all__ = [
    "OBJECT_SUFFIX",
    "ArrayName",
    "array_name",
    "canonical_kind",
    "is_training_leftover",
    "natural_key",
    "prefer_averages",
    "scope_key",
]

OBJECT_SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"
"""What TensorFlow's object-based checkpoints put behind the path of a variable."""

# Beside what TF-slim leaves: object-based checkpoints, Keras' own files, several optimisers in one graph.
_MORE_LEFTOVERS = re.compile(
    r"\.OPTIMIZER_SLOT/"
    r"|(^|/)_?(optimizer|optimizer_weights|keras_api|metrics|compile_metrics|loss_tracker)/"
    r"|(^|/)(save_counter|step)" + re.escape(OBJECT_SUFFIX) + "$"
    r"|(^|/)beta\d_power(_\d+)?$"
    r"|(^|/)global_step(:0)?$"
    r"|/(Momentum|Adagrad|Ftrl|AdaGrad)(_\d+)?$"
    r"|(^|/)seed_generator(_\d+)?/"
)

# A word for a weight -> its one spelling here. Keras 1 calls `running_std` what is the variance.
_KINDS = {
    "weights": "kernel", "weight": "kernel", "W": "kernel", "w": "kernel", "filter": "kernel", "filters": "kernel",
    "biases": "bias", "B": "bias", "b": "bias",
    "moving_mean": "mean", "running_mean": "mean",
    "moving_variance": "variance", "running_std": "variance", "running_var": "variance", "running_variance": "variance",
    "moving_var": "variance", "var": "variance",
    "scale": "gamma", "offset": "beta",
    "depthwise_weights": "depthwise_kernel", "pointwise_weights": "pointwise_kernel",
    "alphas": "alpha", "embedding": "embeddings",
}  # fmt: skip

_PLAIN = frozenset({
    "kernel", "bias", "gamma", "beta", "mean", "variance", "recurrent_kernel", "depthwise_kernel",
    "pointwise_kernel", "embeddings", "alpha",
})  # fmt: skip

_UNIQUE = re.compile(r"_\d+$")  # what TensorFlow and Keras 1 put behind a name that is taken
_CELL = re.compile(r"^(cell|(\w+_)?(lstm|gru|simple_rnn|rnn)_cell(_\d+)?)$")
_DIRECTION = re.compile(r"^(forward|backward)_\w+$")
_ATTENTION = re.compile(r"^_?(query|key|value)(_dense)?$|^_?(?:attention_)?(output)(_dense)?$")


@dataclass(frozen=True)
class ArrayName:
    """How the name of an array may be understood.

    Attributes:
        name: as the file has it, without `:0`.
        scopes: keys (see `scope_key`) of the layer that it may belong to, the likeliest first.
        kinds: which weight of the layer it may be (`kernel`, `bias`, `0`), the likeliest first.
    """

    name: str
    scopes: tuple[str, ...]
    kinds: tuple[str, ...]


def is_training_leftover(name: str) -> bool:
    """Whether an array is the trainer's and no weight: `global_step`, optimiser slots, metrics, random states."""
    if name.endswith(_AVERAGE):
        return False
    return bool(_TRAINING_LEFTOVERS.search(name) or _MORE_LEFTOVERS.search(name))


def prefer_averages(names: Iterable[str]) -> dict[str, str]:
    """{name of a variable: name of the array to take for it}: its moving average where there is one."""
    found = list(names)
    averages = {name.removesuffix(_AVERAGE): name for name in found if name.endswith(_AVERAGE)}
    return {name: averages.get(name, name) for name in (n.removesuffix(_AVERAGE) for n in found)}


def canonical_kind(word: str) -> str:
    """The one spelling of a weight's name: `weights`, `W` and `kernel` are `kernel`."""
    word = word.lstrip("_")
    return _KINDS.get(word, word)


def scope_key(parts: Sequence[str]) -> str:
    """The key under which layers of files and of models meet.

    Cells of recurrent layers are no layers of their own; a direction of `Bidirectional` and a projection of
    attention have one spelling; what separates words (`/`, `.`, `-`) does not count, since layer names may not hold
    all that names in files do. Boundaries stay visible as `/`.
    """
    kept = []
    for part in parts:
        if _CELL.match(part):
            continue
        if found := _DIRECTION.match(part):
            part = found[1]
        elif found := _ATTENTION.match(part):
            part = found[1] or found[3]
        kept.append(re.sub(r"[^A-Za-z0-9]", "_", part))
    return "/".join(kept)


def array_name(name: str, layer: str | None = None) -> ArrayName:
    """Take a name apart.

    Args:
        name: of an array.
        layer: the layer to which the file says that it belongs, and with which `name` begins.
    """
    plain = re.sub(r":\d+$", "", name).removesuffix(OBJECT_SUFFIX)
    parts = plain.split("/") if "/" in plain else plain.split(".")
    *scope, last = parts
    scopes: list[list[str]] = []
    if layer is not None:
        own = layer.split("/")
        scopes.append(own + _behind(scope[len(own) :], own))
    else:
        # Keras 2 names the group after the layer and the array by its scope, which says it again.
        for size in range(1, len(scope) // 2 + 1):
            if _alike(scope[:size], scope[size : 2 * size]):
                scopes.append(scope[:size] + scope[2 * size :])
    scopes.append(scope)
    keys = [key for key in dict.fromkeys(scope_key(one) for one in scopes) if key]
    return ArrayName(plain, tuple(keys), tuple(dict.fromkeys(_kinds(last, scope))))


def _behind(inner: list[str], own: list[str]) -> list[str]:
    """What follows the last repetition of the layer's own name in the scope of its array."""
    size = len(own)
    for at in range(len(inner) - size, -1, -1):
        if _alike(own, inner[at : at + size]):
            return inner[at + size :]
    return inner


def _alike(first: list[str], second: list[str]) -> bool:
    """Whether two names are one, but for a number that makes the second unique."""
    if len(first) != len(second) or first[:-1] != second[:-1]:
        return False
    return second[-1] == first[-1] or (
        second[-1].startswith(first[-1]) and _UNIQUE.fullmatch(second[-1][len(first[-1]) :]) is not None
    )


def _kinds(last: str, scope: list[str]) -> list[str]:
    found = [canonical_kind(last)]
    # Keras 1: `conv1/conv1_W`, `conv1/conv1_W_1`; many hand-written networks: `softmax/softmax_w`.
    words = _UNIQUE.sub("", last)
    if scope and words.startswith(scope[-1] + "_"):
        found.append(canonical_kind(words[len(scope[-1]) + 1 :]))
    for end in (words, *(words.split("_", count)[-1] for count in range(1, words.count("_") + 1))):
        if canonical_kind(end) in _PLAIN:
            found.append(canonical_kind(end))
            break
    return found


def natural_key(name: str) -> tuple[tuple[int, int | str], ...]:
    """Sorts names as people count: `conv2d`, `conv2d_2`, `conv2d_10`."""
    return tuple((0, int(piece)) if piece.isdigit() else (1, piece) for piece in re.split(r"(\d+)", name) if piece)
