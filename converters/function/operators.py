"""Imports every family of operators, which fills the table."""

import importlib

#: One module a family.
FAMILIES = (
    "activation",
    "attention",
    "casting",
    "comparison",
    "control",
    "convolution",
    "dropout",
    "fused",
    "gather",
    "generate",
    "image",
    "linear",
    "loss",
    "math",
    "microsoft",
    "ml_encoding",
    "ml_features",
    "ml_linear",
    "ml_maps",
    "ml_svm",
    "ml_trees",
    "normalization",
    "optional",
    "pooling",
    "quantization",
    "random",
    "ranking",
    "recurrent",
    "reduction",
    "resize",
    "sampling",
    "scatter",
    "sequence",
    "shape",
    "signal",
    "tensor",
    "text",
    "tokenizer",
    "training",
    "vision",
)

for _family in FAMILIES:
    importlib.import_module(f"converters.function.{_family}")
