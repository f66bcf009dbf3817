"""Keras model -> a Python file that a person wants to read, and its weights as safetensors beside it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from converters.emit.blocks import RESERVED, Block, extract_blocks
from converters.emit.borders import functional
from converters.emit.literals import Code, block, call, constant, identifier, literal, quoted
from converters.emit.publishing import publish
from converters.emit.statements import Program, Statement, read, refs
from converters.emit.writing import constructor, lines_of, source
from modelzoo.errors import ConversionError, UsageError

if TYPE_CHECKING:
    import keras
    import numpy as np

__all__ = ["write_python"]

_SHORT_ARRAY = 8
"""Elements of an array that stands where it is used."""


def write_python(model: keras.Model, out: Path) -> Path:
    """Write a functional Keras model as Python source: one line a layer, repeated blocks as functions.

    Args:
        model: functional or sequential, of layers of `keras.layers` and functions of `keras.ops`; several inputs and
            outputs, and layers that are called several times, are said as they are.
        out: NAME.py; the weights go beside it into NAME.safetensors, as `<layer>/<weight>`. Files that are there are
            replaced.

    Returns:
        `out`. The file needs Keras and safetensors only. Its `build()` gives a model with the same layers, names and
        numbers: the same outputs to the bit.

    Raises:
        ConversionError: a layer or operation is not Keras' own (`GraphFunction`, a model in the model, Lambda); all
            such layers are named.
        UsageError: `out` does not end in `.py`.
        DiskError: the files cannot be written there.
    """
    out = Path(out)
    if out.suffix != ".py":
        raise UsageError("Python source goes into a .py file.", received=str(out), hint="name it NAME.py")
    model = functional(model)
    program = read(model)
    text = _module(model, program, out.with_suffix(".safetensors").name)
    arrays = _arrays(model)
    if out.expanduser().is_dir():
        raise UsageError("A folder lies where the file goes.", received=str(out), hint="choose another -o")
    publish(out.with_suffix(".safetensors"), lambda path: _save(arrays, path))
    return publish(out, lambda path: Path(path).write_text(text, encoding="utf-8"))


def _arrays(model: Any) -> dict[str, np.ndarray]:
    """`<layer>/<weight>` -> array; a name's further weights in a layer have numbers."""
    import numpy as np

    arrays = {}
    for layer in model.layers:
        names = [weight.name for weight in layer.weights]
        for number, weight in enumerate(layer.weights):
            copies = names[:number].count(weight.name)
            key = f"{layer.name}/{weight.name}" + (f"_{copies}" if copies else "")
            if key in arrays:
                raise ConversionError(
                    f"The layer {layer.name!r} has two weights of one name.", received=key, hint="rename the layer"
                )
            arrays[key] = np.ascontiguousarray(weight.numpy()).reshape(weight.shape)
    return arrays


def _save(arrays: dict[str, np.ndarray], path: str) -> None:
    from safetensors.numpy import save_file

    save_file(arrays, path, metadata={"format": "tf"})


# -- the file ---------------------------------------------------------------------------------------------------------


def _module(model: Any, program: Program, weights: str) -> str:
    constants = _named_constants(program.statements)
    statements, blocks = extract_blocks(program.statements, program.outputs)
    named = {item.function for found in [statements, *(item.body for item in blocks)] for item in found}
    blocks = [item for item in blocks if item.name in named]
    everything = [*statements, *(item for made in blocks for item in made.body), *(item for _, item in program.shared)]
    head = _head(model, everything, weights, bool(constants)) + _source_names(model)
    head += "".join("\n" + constant(name, array) for name, array in constants.items())
    parts = [head, *(_function(item, statements, blocks) for item in blocks)]
    parts += [_build(model, program, statements, {item.name for item in blocks}), _load(model)]
    return "\n\n".join(parts)


def _named_constants(statements: list[Statement]) -> dict[str, np.ndarray]:
    """Give names to the arrays that are too long to be read in a line, in place of them in the statements."""
    import numpy as np

    names: dict[Any, str] = {}
    arrays: dict[str, np.ndarray] = {}
    for statement in statements:
        for place, (key, value) in enumerate(statement.operands):
            if isinstance(value, np.ndarray) and value.size > _SHORT_ARRAY:
                name = names.setdefault((value.tobytes(), value.shape, value.dtype), f"CONSTANT_{len(names) + 1}")
                arrays[name] = value
                statement.operands[place] = (key, Code(name))
    return arrays


def _head(model: Any, statements: list[Statement], weights: str, constants: bool) -> str:
    title = re.sub(r"[^A-Za-z0-9_.-]", "_", model.name)
    file = re.sub(r"[^A-Za-z0-9_. -]", "_", weights)
    count = f"{model.count_params():,} weights"
    operands = [value for item in statements for _, value in item.operands]
    imports = ["import keras"]
    if constants or _has_array([operands, [list(item.options.values()) for item in statements]]):
        imports.append("import numpy as np")
    forms = {item.form for item in statements}
    modules = [name for name, form in (("layers", "layer"), ("ops", "operation")) if form in forms]
    if modules:
        imports.append(f"from keras import {', '.join(modules)}")
    return (
        f'"""{title}: {len(model.layers)} layers, {count}.\n\n'
        f"Written by modelzoo. The weights are beside this file, as `<layer>/<weight>` in\n{file}.\n"
        f'"""\n\nfrom __future__ import annotations\n\nfrom pathlib import Path\n\n' + "\n".join(imports)
    ) + "\nfrom safetensors import safe_open\n"


def _has_array(value: Any) -> bool:
    import numpy as np

    if isinstance(value, list | tuple):
        return any(_has_array(item) for item in value)
    return isinstance(value, np.ndarray | np.generic)


def _source_names(model: Any) -> str:
    """A table of the layers whose names do not say what the source calls them."""
    layers = {layer.name for layer in model.layers}
    odd = {
        layer: name
        for layer, name in getattr(model, "source_names", {}).items()
        if layer in layers and not _says(layer, name)
    }
    if not odd:
        return ""
    items = [f"{quoted(layer)}: {quoted(name)}" for layer, name in odd.items()]
    comment = "# Layers that the source calls otherwise, but for / where a layer's name has a dot.\n"
    return "\n" + comment + block("SOURCE_NAMES = {", items, "}", 0) + "\n"


def _says(layer: str, name: str) -> bool:
    plain = name.replace("/", ".")
    return layer == plain or layer.startswith(f"{plain}.")


def _function(made: Block, statements: list[Statement], blocks: list[Block]) -> str:
    tensors = list("xyzuvw"[: made.tensors])
    parameters = [key if default is ... else f"{key}={literal(default)}" for key, default in made.parameters.items()]
    first, rest = parameters[: made.positional], parameters[made.positional :]
    arguments: list[tuple[str | None, str]] = [(None, item) for item in [*tensors, *first]]
    arguments += [(None, item) for item in (["*", *rest] if rest else [])]
    lines, _ = lines_of(made.body, dict(enumerate(tensors)), indent=4, returns=True, taken=set(made.parameters))
    kinds = [item.function if item.form != "block" else f"`{item.function}`" for item in made.body]
    doc = ", ".join(kinds)
    if len(doc) > 80:
        counted = sum(item.function == made.name for other in [statements, *(b.body for b in blocks)] for item in other)
        doc = f"{made.layers} layers, {counted} times in the network"
    return call(made.name, arguments, 0, lead="def ", tail=":") + f'\n    """{doc}."""\n' + "\n".join(lines) + "\n"


def _build(model: Any, program: Program, statements: list[Statement], functions: set[str]) -> str:
    names = _input_variables(program, functions)
    lines = [f"    {_input(tensor, name)}" for tensor, name in zip(program.inputs, names, strict=True)]
    lines += [f"    {constructor(item, 4, lead=f'{name} = ')}" for name, item in program.shared]
    kept = {ref.number for ref in refs(program.outputs)} | set(range(len(names)))
    taken = {*names, *(name for name, _ in program.shared), "model", "weights"}
    body, held = lines_of(statements, dict(enumerate(names)), indent=4, kept=kept, taken=taken)
    lines += body
    result: Any = program.outputs
    if isinstance(result, dict):
        items = [f"{quoted(str(key))}: {source(value, held)}" for key, value in result.items()]
        lines.append("    " + block("outputs = {", items, "}", 4))
        result = Code("outputs")
    fed = _fed(model, names)
    if len(fed) > 60:
        lines.append(f"    inputs = {fed}")
    arguments = [(None, fed), (None, source(result, held)), ("name", quoted(model.name))]
    lines.append("    " + call("keras.Model", arguments, 4, lead="model = "))
    shapes = "; ".join(f"({', '.join('None' if s is None else str(s) for s in t.shape)})" for t in program.inputs)
    return (
        'def build(weights: str | Path | None = Path(__file__).with_suffix(".safetensors")) -> keras.Model:\n'
        f'    """The network on inputs of shape {shapes}; untrained with `weights=None`."""\n'
        + "\n".join(lines)
        + "\n    if weights is not None:\n        load(model, weights)\n    return model\n"
    )


def _input_variables(program: Program, functions: set[str]) -> list[str]:
    if len(program.inputs) == 1:
        return ["inputs"]
    names: list[str] = []
    for tensor in program.inputs:
        wanted = name = identifier(tensor._keras_history.operation.name, "inputs")
        if name in RESERVED | functions:
            wanted = name = f"{name}_input"
        number = 1
        while name in names or re.fullmatch(r"(x|branch|shared)_\d+", name):
            number += 1
            name = f"{wanted}_{number}" if name in names else f"{wanted}_input"
        names.append(name)
    return names


def _input(tensor: Any, variable: str) -> str:
    config = tensor._keras_history.operation.get_config()
    batch, *shape = config["batch_shape"]
    arguments: list[tuple[str | None, str]] = [(None, literal(tuple(shape)))]
    if batch is not None:
        arguments.append(("batch_size", literal(batch)))
    if config["dtype"] != "float32":
        arguments.append(("dtype", literal(config["dtype"])))
    arguments += [(key, "True") for key in ("sparse", "ragged", "optional") if config.get(key)]
    arguments.append(("name", quoted(config["name"])))
    return call("keras.Input", arguments, 4, lead=f"{variable} = ")


def _fed(model: Any, names: list[str]) -> str:
    import keras

    by_tensor = {id(tensor): Code(name) for tensor, name in zip(model.inputs, names, strict=True)}
    structure = keras.tree.map_structure(lambda tensor: by_tensor[id(tensor)], model.input)
    return literal(structure)


def _load(model: Any) -> str:
    repeated = any(len({w.name for w in layer.weights}) < len(layer.weights) for layer in model.layers)
    head = (
        "def load(model: keras.Model, path: str | Path) -> None:\n"
        '    """Give each layer its weights: `<layer>/<weight>` in the file."""\n'
        '    with safe_open(path, framework="np") as arrays:\n'
        "        for layer in model.layers:\n"
    )
    if not repeated:
        return (
            head + "            for weight in layer.weights:\n"
            '                weight.assign(arrays.get_tensor(f"{layer.name}/{weight.name}"))\n'
        )
    return (
        head + "            names = [weight.name for weight in layer.weights]\n"
        "            for number, weight in enumerate(layer.weights):\n"
        "                copies = names[:number].count(weight.name)\n"
        '                suffix = f"_{copies}" if copies else ""\n'
        '                weight.assign(arrays.get_tensor(f"{layer.name}/{weight.name}{suffix}"))\n'
    )
