"""An operation of `keras.ops` in a functional model as the call that makes it again."""

from __future__ import annotations

import inspect
from typing import Any

import keras
import numpy as np

from modelzoo.errors import ConversionError

__all__ = ["operation_call"]

Arguments = list[tuple[str | None, Any]]


def operation_call(operation: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[str, Arguments, bool]:
    """How an operation is called.

    Args:
        operation: of a node that is no layer.
        args, kwargs: what it was called on: Keras tensors and constants.

    Returns:
        The name of the function in `keras.ops` (`getitem` for indexing), its arguments, (keyword or None, value), and
        whether the function gives a list.

    Raises:
        ConversionError: no function of `keras.ops` gives the operation.
    """
    kind = type(operation)
    if kind.__name__ == "GetItem":
        return "getitem", [(None, item) for item in (*args, *kwargs.values())], False
    name = _names().get(kind.__name__.lower())
    if name is None or not kind.__module__.startswith("keras."):
        raise _refusal(operation, "there is no function of this name")
    function = getattr(keras.ops, name)
    values = {**_given(operation), **_bound(operation, args, kwargs)}
    arguments = _arranged(operation, function, values)
    gives_list = _checked(operation, function, arguments)
    return name, arguments, gives_list


def _names() -> dict[str, str]:
    """Class name in lower case -> function of `keras.ops`."""
    return {name.replace("_", ""): name for name in dir(keras.ops) if inspect.isfunction(getattr(keras.ops, name))}


def _given(operation: Any) -> dict[str, Any]:
    """What the operation was made with."""
    known = inspect.signature(type(operation).__init__).parameters
    return {
        name: getattr(operation, name) for name in known if name not in ("self", "name") and hasattr(operation, name)
    }


def _bound(operation: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """What it was called on, by the names of `call`."""
    return dict(inspect.signature(operation.call).bind(*args, **kwargs).arguments)


def _arranged(operation: Any, function: Any, values: dict[str, Any]) -> Arguments:
    """`values` as arguments of the function; those that are its defaults are left out."""
    arguments: Arguments = []
    by_name = False
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is parameter.VAR_POSITIONAL:
            arguments += [(None, item) for item in values.pop(parameter.name, ())]
            by_name = True
            continue
        if parameter.kind is parameter.VAR_KEYWORD:
            continue
        if parameter.name not in values:
            by_name = True
            continue
        value = values.pop(parameter.name)
        if parameter.default is not parameter.empty and _same(parameter.default, value):
            by_name = True
            continue
        # The operands come first, without names; options have theirs.
        named = by_name or parameter.kind is parameter.KEYWORD_ONLY or parameter.default is not parameter.empty
        named = named and not _has_tensor(value)
        arguments.append((parameter.name if named or by_name else None, value))
        by_name = by_name or named
    if any(value is not None and value != {} for value in values.values()):
        raise _refusal(operation, f"the function takes no {next(iter(values))!r}")
    return arguments


def _same(default: Any, value: Any) -> bool:
    return type(default) is type(value) and not isinstance(value, np.ndarray) and bool(default == value)


def _has_tensor(value: Any) -> bool:
    return any(isinstance(item, keras.KerasTensor) for item in keras.tree.flatten(value))


def _checked(operation: Any, function: Any, arguments: Arguments) -> bool:
    """Call the function on tensors of the same kind: it must give the same operation. Whether it gives a list."""

    def fresh(item: Any) -> Any:
        return keras.KerasTensor(item.shape, item.dtype) if isinstance(item, keras.KerasTensor) else item

    made = [(key, keras.tree.map_structure(fresh, value)) for key, value in arguments]
    try:
        result = function(*(v for k, v in made if k is None), **{k: v for k, v in made if k is not None})
        other = keras.tree.flatten(result)[0]._keras_history.operation
    except Exception as error:
        raise _refusal(operation, str(error).splitlines()[0] if str(error) else type(error).__name__) from error
    if type(other) is not type(operation) or repr(_given(other)) != repr(_given(operation)):
        raise _refusal(operation, f"keras.ops.{function.__name__} gives another operation")
    return isinstance(result, list | tuple)


def _refusal(operation: Any, why: str) -> ConversionError:
    kind = type(operation)
    return ConversionError(
        f"The operation {operation.name!r} cannot be written as a call of keras.ops: {why}.",
        received=f"{kind.__module__}.{kind.__name__}",
        hint='convert the model with to="function" or to="savedmodel"',
    )
