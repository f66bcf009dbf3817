"""What translators ask of a layer's parameters: axes counted as Caffe counts them, names of choices, refusals."""

from __future__ import annotations

from typing import Any

from converters.caffe.builder import Value
from converters.caffe.layer import Layer
from modelzoo.errors import ConversionError

__all__ = ["axis_of", "choice", "constant_filler", "refusal"]


def refusal(layer: Layer, what: str, *, received: Any = None, hint: str | None = None) -> ConversionError:
    """The error for a layer whose parameters and input contradict each other; `what` goes on after its name."""
    return ConversionError(f"Layer {layer.name!r} ({layer.type}) {what}", received=received, hint=hint)


def axis_of(layer: Layer, x: Value, axis: int) -> int:
    """An axis of `x`, counted from the front; negative ones count from the end.

    Raises:
        ConversionError: `x` has no such axis.
    """
    if not -x.rank <= axis < x.rank:
        raise refusal(
            layer,
            f"works on axis {axis}, and its input has {x.rank} axes.",
            received=f"shape {x.shape}",
            hint="check the layer's axis, and the input's shape: inputs={NAME: SHAPE}",
        )
    return axis % x.rank


def choice(message: Any, field: str) -> str:
    """The name of an enum field's value: "MAX", "CEIL", "ACROSS_CHANNELS"."""
    names = message.DESCRIPTOR.fields_by_name[field].enum_type.values_by_number
    return str(names[getattr(message, field)].name)


def constant_filler(like: Any, value: float) -> Any:
    """A `FillerParameter` (the class of `like`) that fills with `value`."""
    return type(like)(type="constant", value=value)
