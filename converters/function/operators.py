"""Imports every family of operators, which fills the table."""

import importlib

#: One module a family.
FAMILIES = (
    "activation",
    "comparison",
    "convolution",
    "linear",
    "math",
    "normalization",
    "pooling",
    "recurrent",
    "reduction",
    "resize",
    "sampling",
    "signal",
)

for _family in FAMILIES:
    importlib.import_module(f"converters.function.{_family}")
