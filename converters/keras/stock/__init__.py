"""The stock forms, one file a family; importing the package fills the table."""

import importlib

from converters.keras.stock.table import find_stock, stock

__all__ = ["find_stock", "stock"]

#: One module a family.
FAMILIES = (
    "activation",
    "attention",
    "convolution",
    "dense",
    "elementwise",
    "logic",
    "normalization",
    "pooling",
    "recurrent",
    "reduction",
    "reshape",
    "resize",
    "shape",
)

for _family in FAMILIES:
    importlib.import_module(f"converters.keras.stock.{_family}")
