"""Heads: small networks on top of a backbone's features, described by JSON values and built by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from modelzoo.errors import UsageError, nearest

__all__ = ["HEADS", "LOGITS", "Head", "vector"]

LOGITS = "head_logits"
"""Name of the layer that makes a head's output: no backbone has a layer of this name."""


def _linear(x: Any, classes: int, norm: str | None = None, dropout: float = 0.0) -> Any:
    """A linear probe: one Dense layer on the pooled features, (N, C) -> (N, classes)."""
    import keras

    x = _normed(vector(x), norm)
    if dropout:
        x = keras.layers.Dropout(dropout, name="head_dropout")(x)
    return keras.layers.Dense(classes, name=LOGITS, dtype="float32")(x)


def _mlp(
    x: Any,
    classes: int,
    hidden: Any = (256,),
    norm: str | None = None,
    dropout: float = 0.2,
    activation: str = "relu",
) -> Any:
    """Dense layers with dropout in between, (N, C) -> (N, classes)."""
    import keras

    x = _normed(vector(x), norm)
    for number, width in enumerate(hidden, 1):
        x = keras.layers.Dense(int(width), activation=activation, name=f"head_hidden_{number}")(x)
        if dropout:
            x = keras.layers.Dropout(dropout, name=f"head_dropout_{number}")(x)
    return keras.layers.Dense(classes, name=LOGITS, dtype="float32")(x)


def _sequence(
    x: Any,
    classes: int,
    cell: str = "gru",
    units: Any = (64,),
    bidirectional: bool = False,
    norm: str | None = None,
    dropout: float = 0.0,
    every_step: bool = False,
    *,
    mask: Any = None,
) -> Any:
    """Recurrent layers over (N, T, C); (N, classes), or (N, T, classes). Without a mask, steps that are all zero are
    taken for padding."""
    import keras

    from modelzoo.finetune.cells import recurrent_stack

    if mask is None:
        x = keras.layers.Masking(name="head_mask")(x)
    x = _normed(x, norm, mask)
    x = recurrent_stack(
        x, cell, tuple(units), bidirectional=bidirectional, dropout=dropout, every_step=every_step, mask=mask
    )
    return keras.layers.Dense(classes, name=LOGITS, dtype="float32")(x)


def _mean(x: Any, classes: int, norm: str | None = None, dropout: float = 0.0, *, mask: Any = None) -> Any:
    """A linear probe on the mean over the steps, which forgets their order: (N, T, C) -> (N, classes)."""
    import keras

    x = _normed(x, norm, mask)
    given = {} if mask is None else {"mask": mask}
    x = keras.layers.GlobalAveragePooling1D(name="head_pool")(x, **given)
    if dropout:
        x = keras.layers.Dropout(dropout, name="head_dropout")(x)
    return keras.layers.Dense(classes, name=LOGITS, dtype="float32")(x)


def _spatial(x: Any, classes: int, hidden: int = 64, kernel: int = 3, upsample: int = 1) -> Any:
    """A class for each place of a map: (N, H, W, C) -> (N, H * upsample, W * upsample, classes)."""
    import keras

    if hidden:
        x = keras.layers.Conv2D(hidden, kernel, padding="same", activation="relu", name="head_hidden")(x)
    if upsample > 1:
        x = keras.layers.UpSampling2D(upsample, interpolation="bilinear", name="head_upsampling")(x)
    return keras.layers.Conv2D(classes, 1, name=LOGITS, dtype="float32")(x)


def _normed(x: Any, norm: str | None, mask: Any = None) -> Any:
    """Features of the same scale, whatever the network's own is: one learning rate then serves them all.

    `batch` standardises each feature over the pictures (the probe stays linear), `layer` each picture's features.
    """
    import keras

    if norm is None:
        return x
    if norm == "batch":
        given = {} if mask is None else {"mask": mask}
        return keras.layers.BatchNormalization(center=False, scale=False, momentum=0.9, name="head_norm")(x, **given)
    if norm == "layer":
        return keras.layers.LayerNormalization(center=False, scale=False, name="head_norm")(x)
    raise UsageError("There is no such normalisation.", received=repr(norm), hint="batch | layer | None")


def vector(x: Any) -> Any:
    """(N, H, W, C) -> (N, C) by the mean; vectors stay."""
    import keras

    if len(x.shape) == 4:
        return keras.layers.GlobalAveragePooling2D(name="head_pool")(x)
    return x if len(x.shape) == 2 else keras.layers.Flatten(name="head_flatten")(x)


@dataclass(frozen=True)
class _Kind:
    make: Callable[..., Any]
    ranks: tuple[int, ...]
    takes: str
    masked: bool = False


HEADS: Mapping[str, _Kind] = {
    "linear": _Kind(_linear, (2, 3, 4), "vectors or maps"),
    "mean": _Kind(_mean, (3,), "sequences (N, T, C)", masked=True),
    "mlp": _Kind(_mlp, (2, 3, 4), "vectors or maps"),
    "sequence": _Kind(_sequence, (3,), "sequences (N, T, C)", masked=True),
    "spatial": _Kind(_spatial, (4,), "maps (N, H, W, C)"),
}
"""Kind of head -> how it is made, and the ranks of the features that it takes."""


@dataclass(frozen=True)
class Head:
    """What a head is, as data.

    Attributes:
        kind: a key of `HEADS`.
        classes: width of its output.
        args: keyword arguments of the kind, JSON values.

    Raises:
        UsageError: an unknown kind or argument, or no positive number of classes.
    """

    kind: str
    classes: int
    args: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        import inspect

        if self.kind not in HEADS:
            near = nearest(str(self.kind), HEADS)
            hint = f"did you mean {near[0]!r}?" if near else " | ".join(HEADS)
            raise UsageError(f"There is no head {self.kind!r}.", received=repr(self.kind), hint=hint)
        if not isinstance(self.classes, int) or isinstance(self.classes, bool) or self.classes < 1:
            raise UsageError("A head has a positive number of classes.", received=repr(self.classes))
        known = [name for name in inspect.signature(HEADS[self.kind].make).parameters if name != "mask"][2:]
        unknown = [key for key in self.args if key not in known]
        if unknown:
            raise UsageError(
                f"The head {self.kind!r} takes no {unknown[0]!r}.",
                received=repr(dict(self.args)),
                hint=", ".join(known),
            )

    def __call__(self, features: Any, *, mask: Any = None) -> Any:
        """Logits (float32) of symbolic features; the layer that makes them is called `LOGITS`.

        Args:
            features: (N, C), (N, T, C) or (N, H, W, C), as the kind takes them.
            mask: of heads over sequences: symbolic bool (N, T), False where a step is padding.

        Raises:
            UsageError: features of a rank that this head does not take, or of an open width.
        """
        kind = HEADS[self.kind]
        shape = tuple(features.shape)
        if len(shape) not in kind.ranks or shape[-1] is None:
            raise UsageError(
                f"The head {self.kind!r} takes {kind.takes}.",
                received=f"features {shape}",
                hint="choose another tap, pooling or head",
            )
        if mask is not None and not kind.masked:
            raise UsageError(f"The head {self.kind!r} takes no mask.", received=f"mask {tuple(mask.shape)}")
        given = {} if mask is None else {"mask": mask}
        return kind.make(features, self.classes, **self.args, **given)

    def as_dict(self) -> dict[str, Any]:
        """JSON values; `from_dict` reads them."""
        args = {key: list(value) if isinstance(value, tuple) else value for key, value in self.args.items()}
        return {"kind": self.kind, "classes": self.classes, "args": args}

    @classmethod
    def from_dict(cls, raw: Any) -> Head:
        """A head from a card.

        Raises:
            UsageError: the description is none.
        """
        if not isinstance(raw, Mapping) or not {"kind", "classes"} <= set(raw):
            raise UsageError("A head is described by kind, classes and args.", received=repr(raw)[:200])
        return cls(raw["kind"], raw["classes"], dict(raw.get("args") or {}))
