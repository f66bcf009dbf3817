"""The backbone: a pretrained network up to some taps, of which any part can be frozen."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from modelzoo.errors import UsageError
from modelzoo.features.taps import TapInfo, choose_taps, describe_taps
from modelzoo.finetune.walking import layers_before, untapped_input, variables_before

if TYPE_CHECKING:
    import keras

__all__ = ["BATCH_NORM", "Backbone", "Stage", "default_tap", "taps_of"]

BATCH_NORM = ("follow", "inference")
"""What BatchNormalization does: trains where its layer is trained, or keeps the pretrained statistics everywhere."""


@dataclass(frozen=True)
class Stage:
    """A part of a backbone: what lies between one tap and those before it.

    Attributes:
        tap: where the stage ends.
        variables: its trainable variables (each of them in one stage only).
    """

    tap: str
    variables: tuple[Any, ...]


class Backbone:
    """A pretrained network, from its own input to one tap or several; the network is shared, not copied.

    Args:
        source: a name for `load_pretrained`, or a functional keras.Model. Without `.taps` its layers are the taps.
        tap: a tap's name, or several; None = the value that enters the classifier.
        pooling: `avg` or `max` over height and width of each map; None = whole maps.
        freeze: True freezes all of it, False nothing, a tap's name all that the tap is computed from.
        batch_norm: `follow` trains BatchNormalization with its layer (frozen layers run in inference mode),
            `inference` keeps its statistics and scales as they are everywhere.
        **options: of `load_pretrained`, where `source` is a name (weights, input_shape, registries, ...).

    Attributes:
        network: the whole pretrained network.
        model: keras.Model, the network's own input -> the tap's tensor, or {tap: tensor} of several.
        output: symbolic tensor of the tap (pooled), or {tap: tensor}.
        taps: {name: TapInfo} of the chosen taps, shapes before pooling.
        stages: the parts between its end points, first one first.
        preprocess, card: the network's own, or None.

    Raises:
        UsageError: no functional model, no tap that can be guessed, an unknown policy.
        UnknownTapError: a name is no tap of the network.
        Whatever `load_pretrained` raises.
    """

    def __init__(
        self,
        source: str | keras.Model,
        *,
        tap: str | Sequence[str] | None = None,
        pooling: str | None = None,
        freeze: bool | str = True,
        batch_norm: str = "follow",
        **options: Any,
    ) -> None:
        if pooling not in (None, "avg", "max"):
            raise UsageError("pooling is 'avg', 'max' or None.", received=repr(pooling))
        if batch_norm not in BATCH_NORM:
            raise UsageError(
                "There is no such policy for BatchNorm.", received=batch_norm, hint=" or ".join(BATCH_NORM)
            )
        self.network = _network(source, options)
        self.pooling, self.batch_norm = pooling, batch_norm
        self.card: Any = getattr(self.network, "card", None)
        self.preprocess: Any = getattr(self.network, "preprocess", None)
        self.name: str = self.card.name if self.card is not None else self.network.name
        self._known = taps_of(self.network)
        self.single = tap is None or isinstance(tap, str)
        if tap is None:
            tap = default_tap(self.network, self._known, self.name)
        names = choose_taps([tap] if isinstance(tap, str) else tap, self._known, (), self.name)
        if not names:
            raise UsageError("A backbone ends in a tap.", received=repr(tap))
        tensors = self._select(names)
        self.taps: dict[str, TapInfo] = describe_taps(tensors)
        pooled = {name: _pooled(tensor, pooling) for name, tensor in tensors.items()}
        self.output: Any = pooled[names[0]] if self.single else pooled
        self.model = self._model()
        # Variables that the file does not train (anchors, statistics) never are.
        self.network.trainable = True
        self._learnable = {id(variable) for variable in self.network.trainable_variables}
        self._resting: dict[str, float] = {}
        self.layers: list[Any] = layers_before(list(tensors.values()))
        self.stages: tuple[Stage, ...] = self._find_stages(tensors)
        self.frozen_until: bool | str = False
        self.freeze(freeze)

    def __repr__(self) -> str:
        return f"Backbone({self.name!r}, taps={list(self.taps)}, frozen={self.frozen_until!r})"

    @property
    def strides(self) -> dict[str, int | None]:
        """Input pixels between two neighbours of each tap's map; None for what is no map."""
        return {name: tap.stride for name, tap in self.taps.items()}

    @property
    def frozen(self) -> bool:
        """Whether nothing of it is trained: features of a picture then never change."""
        return not any(variable.trainable for stage in self.stages for variable in stage.variables)

    @property
    def variables(self) -> list[Any]:
        """The variables that training may change, in the order of the stages, frozen or not."""
        return [variable for stage in self.stages for variable in stage.variables]

    def freeze(self, until: bool | str = True) -> None:
        """Freeze everything (True), nothing (False), or what the tap `until` is computed from, and train the rest.

        Frozen layers run in inference mode: BatchNorm uses its moving statistics, Dropout drops nothing.
        A model that is being fitted must make its train function anew (`GradualUnfreezing` does).

        Raises:
            UnknownTapError: `until` is no tap of the network.
        """
        import keras

        if isinstance(until, str):
            choose_taps([until], self._known, (), self.name)
            tensor = self._known[until]
            layers = {id(layer) for layer in layers_before([tensor])}
            frozen = {id(variable) for variable in variables_before(until, tensor)}
        else:
            layers = {id(layer) for layer in self.layers} if until else set()
            frozen = {id(v) for layer in self.layers for v in layer.variables} if until else set()
        inside = {id(layer) for layer in self.layers}
        for layer in _leaves(self.network):
            learnable = [variable for variable in layer.variables if id(variable) in self._learnable]
            # A layer that holds a whole graph has variables behind the tap as well, which nothing would train.
            rest = {id(v) for v in learnable if id(v) not in frozen and id(v) in self._needed}
            is_norm = isinstance(layer, keras.layers.BatchNormalization)
            still = (is_norm and self.batch_norm == "inference") or id(layer) not in inside
            train = not still and (bool(rest) if learnable else id(layer) not in layers)
            layer.trainable = train
            for variable in learnable:
                variable.trainable = train and id(variable) in rest
            self._let_rest(layer, not train)
        self.frozen_until = until

    def unfreeze(self, after: str | None = None) -> None:
        """Train what lies behind the tap `after`, or everything; the opposite words for `freeze`."""
        self.freeze(False if after is None else after)

    def _let_rest(self, layer: Any, rest: bool) -> None:
        """Dropout knows no inference mode of its own: while it is frozen, its rate is 0."""
        rate = getattr(layer, "rate", None)
        if not isinstance(rate, float | int) or "Dropout" not in type(layer).__name__:
            return
        before = self._resting.setdefault(layer.name, float(rate))
        layer.rate = 0.0 if rest else before

    def _select(self, names: Sequence[str]) -> dict[str, Any]:
        select = getattr(self.network, "select_taps", None)
        found = select(names) if select is not None else {name: self._known[name] for name in names}
        return {name: found[name] for name in names}

    def _model(self) -> Any:
        import keras

        return keras.Model(self.network.input, self.output, name=f"{self.network.name}_backbone")

    def _find_stages(self, tensors: dict[str, Any]) -> tuple[Stage, ...]:
        """Each trainable variable belongs to the first end point that needs it; what is left, to the taps."""
        self._needed = {id(v) for name, tensor in tensors.items() for v in variables_before(name, tensor)}
        taken: set[int] = set()
        stages = []
        ends = [(name, tap) for name, tap in self._ends() if name not in tensors]
        for name, tensor in [*ends, *tensors.items()]:
            mine = [
                v
                for v in variables_before(name, tensor)
                if id(v) in self._needed and id(v) in self._learnable and id(v) not in taken
            ]
            if mine:
                taken.update(id(variable) for variable in mine)
                stages.append(Stage(name, tuple(mine)))
        return tuple(stages)

    def _ends(self) -> Iterable[tuple[str, Any]]:
        taps = getattr(self.network, "taps", None)
        return [(n, t) for n, t in self._known.items() if taps is None or n not in taps or taps[n].end_point]


def _network(source: Any, options: dict[str, Any]) -> Any:
    import keras

    if isinstance(source, str):
        from modelzoo.pretrained import load_pretrained

        for key in ("features", "pooling", "trainable"):
            if key in options:
                raise UsageError(f"A backbone takes no {key!r}.", received=repr(options[key]), hint="tap=, freeze=")
        return load_pretrained(source, **options)
    if options:
        raise UsageError("Options of load_pretrained go with a name.", received=", ".join(options))
    if not isinstance(source, keras.Model) or not getattr(source, "inputs", None):
        raise UsageError(
            "A backbone is made of a model's name or of a functional Keras model.",
            received=type(source).__name__,
            hint="Backbone('inception_v1'), or Backbone(keras.Model(inputs, outputs))",
        )
    if isinstance(source, keras.Sequential):
        return keras.Model(source.inputs, source.outputs, name=source.name)  # which has one input by name
    return source


def _leaves(model: Any) -> list[Any]:
    return [layer for layer in model._flatten_layers(include_self=False) if not list(layer._layers)]


def taps_of(network: Any) -> dict[str, Any]:
    """{name: symbolic tensor}: the network's own taps, else the first output of each layer under its name."""
    taps = getattr(network, "taps", None)
    if taps:
        return {name: tap.tensor for name, tap in taps.items()}
    import keras

    found = {}
    for layer in network.layers:
        if layer._inbound_nodes and not isinstance(layer, keras.layers.InputLayer):
            found[layer.name] = keras.tree.flatten(layer._inbound_nodes[0].outputs)[0]
    return found


def _pooled(tensor: Any, pooling: str | None) -> Any:
    import keras

    if pooling is None or len(tensor.shape) != 4:
        return tensor
    kind = keras.layers.GlobalAveragePooling2D if pooling == "avg" else keras.layers.GlobalMaxPooling2D
    return kind()(tensor)


def default_tap(network: Any, taps: dict[str, Any], owner: str) -> str:
    """The tap whose value enters the classifier: the last layer with a kernel.

    Raises:
        UsageError: there is no such layer, as in a graph that is one layer.
    """
    found = untapped_input(network, taps)
    if found is None:
        raise UsageError(
            f"Where the classifier of {owner!r} begins is not known.",
            hint=f"say which tap the head stands on; `modelzoo taps {owner}` lists them",
        )
    return found
