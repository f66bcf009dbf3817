"""Optionals: a value, or None where there is none."""

from __future__ import annotations

from typing import Any

import numpy as np

from converters.function.table import op

__all__: list[str] = []


@op("Optional", since=15)
def optional(value: Any = None, *, type: Any = None) -> Any:
    return value


@op("OptionalGetElement", since=15)
def optional_get_element(value: Any) -> Any:
    if value is None:
        raise ValueError("the optional is empty")
    return value


@op("OptionalHasElement", since=15)
def optional_has_element(value: Any = None) -> np.ndarray:
    return np.array(value is not None)
