"""ONNX graph -> a callable made of TensorFlow operations, for the whole operator set.

In comes a model (path, `ModelProto` or hub graph); out goes a `tf.Module` that takes and gives dictionaries by the
source's own tensor names and keeps the source's layout. Operators are a table of equals (`table.py`), one small
function each, one file a family. It never looks at where a model comes from.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from converters.function.program import GraphFunction, load

__all__ = ["GraphFunction", "load"]


def __getattr__(name: str) -> Any:
    # TensorFlow is imported only when somebody asks for a function.
    if name in __all__:
        from converters.function import program

        return getattr(program, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
