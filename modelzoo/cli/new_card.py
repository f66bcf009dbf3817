"""A card from a weight file: size, digests, and whatever the file itself tells of inputs, outputs and network.

Nothing is guessed: what a file does not say stays off the card, and `check_entry` says what is missing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from modelzoo.errors import CheckpointError, ConversionError, UsageError

if TYPE_CHECKING:
    from modelzoo.checkpoints import Checkpoint

__all__ = ["card_name", "new_card"]

_ORDER = ("build", "inputs", "outputs", "labels", "taps", "notes")

_Files = list[tuple[Path, str, str]]
"""(path, name in the model's folder, role) of every file of the model."""


def new_card(path: Path, *, url: str | None = None, task: str | None = None, licence: str | None = None) -> Any:
    """The card of a model's file or folder, as JSON.

    Args:
        path: `.onnx`, `.prototxt` or `.caffemodel` (the other one is looked for beside it), a frozen graph, the folder
            of a SavedModel, a file or prefix of a TensorFlow checkpoint, or another file that `open_checkpoint` reads.
        url: where `path` will be found; files beside it are expected beside it there, those of a folder below it.
            None: where it lies now, as a `file:` URL.
        task: what the model does; None: classification where the file shows it, else "other".
        licence: of the weights; None: unknown.

    Raises:
        UsageError: there is no such file, or `url` is none.
        CheckpointError, ConversionError: it cannot be read, or is of no format that modelzoo knows.
    """
    facts, files = _facts(path)
    card: dict[str, Any] = {
        "title": _title(path if path.is_dir() else files[0][0]),
        "task": task or ("classification" if _is_classifier(facts) else "other"),
        "framework": facts.pop("framework"),
        "format": facts.pop("format"),
        "licence": licence or "unknown",
    }
    card["files"] = [_file(file, name, role, _address(url, path, file, name)) for file, name, role in files]
    facts["inputs"] = [one for one in facts.get("inputs", ()) if one["shape"] is not None]
    card.update({key: facts[key] for key in _ORDER if facts.get(key)})
    return card


_ENDING = re.compile(r"(\.weights)?\.(index|meta|h5|keras|onnx|pb|pbtxt|prototxt|caffemodel|npy|npz|safetensors)$")


def _title(path: Path) -> str:
    """The file's name without its ending, or its folder's where that says nothing."""
    name = _ENDING.sub("", path.name)
    if name in ("deploy", "model", "saved_model", "frozen_inference_graph", "variables"):
        name = f"{path.absolute().parent.name} {name}".strip()
    return re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]", "?", name) or "model"


def _counted(kinds: Iterable[str]) -> str:
    """`34 layers: Conv 20, Relu 14`: the kinds of layers, most frequent first."""
    from collections import Counter

    counts = Counter(kinds)
    shown = ", ".join(f"{kind} {count}" for kind, count in counts.most_common(8))
    return f"{counts.total()} layers: {shown}{', ...' if len(counts) > 8 else ''}."


def card_name(card: Mapping[str, Any]) -> str:
    """A name that a card may have, made of its title."""
    return re.sub(r"[^a-z0-9._-]+", "-", str(card["title"]).lower()).strip("._-") or "model"


def _is_classifier(facts: Mapping[str, Any]) -> bool:
    outputs = facts.get("outputs", ())
    return len(outputs) == 1 and outputs[0].get("classes", 0) > 1 and outputs[0]["kind"] != "tensor"


def _file(path: Path, name: str, role: str, url: str) -> dict[str, Any]:
    import hashlib

    try:
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            size = file.tell()
    except OSError as error:
        raise UsageError(f"{path.name} cannot be read: {error.strerror}.", received=str(path)) from error
    return {
        "name": name,
        "role": role,
        "urls": [{"url": url, "kind": "original"}],
        "size": size,
        "digests": {"sha256": sha256},
    }


def _address(url: str | None, main: Path, path: Path, name: str) -> str:
    """Where a file is served: `url` is that of `main`, or of the folder where it ends with a slash."""
    if url is None:
        return path.absolute().as_uri()
    try:
        if urlsplit(url).scheme not in ("http", "https", "file") or re.search(r"[\s\x00-\x1f\x7f]", url):
            raise ValueError
    except ValueError:
        raise UsageError("A file is found at an https:, http: or file: URL.", received=url) from None
    if path == main and not url.endswith("/"):
        return url
    base = url if url.endswith("/") or main.is_dir() else url[: url.rindex("/") + 1]
    return base + ("" if base.endswith("/") else "/") + quote(name)


# -- what each format tells -----------------------------------------------------------------------------------------


def _facts(path: Path) -> tuple[dict[str, Any], _Files]:
    name = path.name.lower()
    if path.is_dir() and ((path / "saved_model.pb").is_file() or (path / "saved_model.pbtxt").is_file()):
        return _tensorflow(path), list(_below(path))
    if path.is_file():
        if name.endswith(".onnx"):
            return _onnx(path)
        if name.endswith((".prototxt", ".caffemodel", ".caffemodel.h5")):
            return _caffe(path)
        if name.endswith((".pb", ".pbtxt")):
            return _tensorflow(path), [(path, path.name, "graph")]
    elif not path.is_dir() and not list(path.parent.glob(path.name + "*")):
        raise UsageError("There is no such file.", received=str(path))
    return _checkpoint(path)


def _onnx(path: Path) -> tuple[dict[str, Any], _Files]:
    import onnx
    from onnx.external_data_helper import uses_external_data

    from converters.graph import load_graph

    hub = load_graph(path)  # refuses what is damaged, or reaches out of its folder
    graph = hub.graph
    last = {out.name: (node.op_type if (node := out.producer()) is not None else "") for out in graph.outputs}
    facts: dict[str, Any] = {
        "framework": "onnx",
        "format": "onnx",
        "build": {"converter": "onnx"},
        "inputs": [
            _input(value.name or "", _sizes(value.shape), _dtype(value.dtype), channels_first=True)
            for value in graph.inputs
            if value.name not in graph.initializers
        ],
        "outputs": [
            _output(value.name or "", _sizes(value.shape), softmax=last[value.name] in ("Softmax", "LogSoftmax"))
            for value in graph.outputs
        ],
        "taps": _taps(
            out.name or "" for node in graph for out in node.outputs[:1] if node.op_type in _TAPPED and out.consumers()
        ),
        "notes": [f"Opset {hub.opset_imports.get('', 0)}.", _counted(node.op_type for node in graph)],
    }
    stored = onnx.load(path, load_external_data=False)
    beside = sorted(
        {
            entry.value
            for tensor in stored.graph.initializer
            if uses_external_data(tensor)
            for entry in tensor.external_data
            if entry.key == "location"
        }
    )
    data: _Files = [(path.parent / name, name, "weights") for name in beside]
    return facts, [(path, path.name, "index" if data else "graph"), *data]


_TAPPED = frozenset(
    {
        *("Conv", "ConvTranspose", "Gemm", "MatMul", "MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool"),
        *("Concat", "Add", "Sum", "LSTM", "GRU", "RNN"),
    }
)
"""Operators whose values are worth looking at."""

_MOST_TAPS = 400


def _taps(names: Iterable[str]) -> list[str]:
    """Names that a card can hold, each once; of a very large network none, since `modelzoo taps` lists them all."""
    found = [name for name in dict.fromkeys(names) if name and name == name.strip() and name.isprintable()]
    return found if len(found) <= _MOST_TAPS else []


def _sizes(shape: Any) -> list[int | None] | None:
    if shape is None:
        return None
    return [size if isinstance(size, int) and size > 0 else None for size in shape]


def _dtype(dtype: Any) -> str | None:
    if dtype is None:
        return None
    name = str(dtype.name).lower()
    return {"float": "float32", "double": "float64", "string": "str"}.get(name, name)


def _caffe(path: Path) -> tuple[dict[str, Any], _Files]:
    from converters.caffe.network import read_network

    weights, text = _caffe_pair(path)
    source = text or weights
    assert source is not None
    try:
        network = read_network(source, weights)
    except ConversionError:
        if text is not None or weights is None:
            raise
        return _checkpoint(weights)  # its arrays can be read all the same
    left: dict[str, Any] = {}  # what Caffe's Net gives back: blobs that no later layer reads
    for layer in network.layers:
        for bottom in layer.bottoms:
            left.pop(bottom, None)
        left.update(dict.fromkeys(layer.tops, layer))
    outputs = [
        _output(top, None, softmax=layer.type == "Softmax", classes=_width(layer, network.layers))
        for top, layer in left.items()
    ]
    facts: dict[str, Any] = {
        "framework": "caffe",
        "format": "caffemodel",
        "build": {"converter": "caffe"},
        "inputs": [_input(blob, [None, *shape[1:]], "float32", channels_first=True) for blob, shape in network.inputs],
        "outputs": outputs,
        "taps": _taps(top for layer in network.layers for top in layer.tops if top not in left),
        "notes": [_counted(layer.type for layer in network.layers)],
    }
    files: _Files = [(one, one.name, role) for one, role in ((weights, "weights"), (text, "graph")) if one is not None]
    if weights is None:
        facts["notes"].append("No weights lie beside the network: its layers are filled as it says.")
    return facts, files


def _width(layer: Any, layers: Sequence[Any]) -> int | None:
    """Classes of a Softmax on top of an InnerProduct or Convolution: what that has as outputs."""
    if layer.type != "Softmax":
        return None
    below = {top: one for one in layers for top in one.tops if one.type in ("InnerProduct", "Convolution")}
    source = below.get(layer.bottoms[0]) if layer.bottoms else None
    if source is None:
        return None
    message = source.message
    own = message.inner_product_param if source.type == "InnerProduct" else message.convolution_param
    return int(own.num_output) or None


def _caffe_pair(path: Path) -> tuple[Path | None, Path | None]:
    """(caffemodel, prototxt): `path` is one of them, the other lies beside it under a name that belongs to it."""
    folder = path.parent
    if not path.name.lower().endswith(".prototxt"):
        stem = re.sub(r"\.caffemodel(\.h5)?$", "", path.name, flags=re.IGNORECASE)
        found = [folder / name for name in (f"{stem}.prototxt", f"{stem}_deploy.prototxt", "deploy.prototxt")]
        found += list(folder.glob("*.prototxt")) if len(list(folder.glob("*.prototxt"))) == 1 else []
        return path, next((one for one in found if one.is_file()), None)
    stem = path.name.removesuffix(".prototxt").removesuffix("_deploy")
    models = sorted([*folder.glob("*.caffemodel"), *folder.glob("*.caffemodel.h5")])
    named = [one for one in models if one.name.startswith(stem + ".")]
    return (named or models)[0] if named or len(models) == 1 else None, path


def _tensorflow(path: Path) -> dict[str, Any]:
    from converters.tensorflow.reading import read_source

    source = read_source(path, tags=("serve",), signature=None, wants_signature=False)
    nodes = {node.name: node for node in source.graph.node}
    if source.outputs:
        ends = dict(source.outputs)
        begins = dict(source.inputs or {})
    else:
        used = {one.removeprefix("^").split(":")[0] for node in nodes.values() for one in node.input}
        ends = {
            name: name
            for name, node in nodes.items()
            if name not in used and node.op not in ("Const", "NoOp", "Placeholder", "Assert")
        }
        begins = {name: name for name, node in nodes.items() if node.op in ("Placeholder", "PlaceholderV2")}
    return {
        "notes": [_counted(node.op for node in source.graph.node if node.op not in ("Const", "Identity", "NoOp"))],
        "framework": "tensorflow",
        "format": "saved-model" if source.meta is not None else "frozen-pb",
        "build": {"converter": "tensorflow"},
        "inputs": [
            _input(key, *_placeholder(nodes.get(name.split(":")[0])), channels_first=False)
            for key, name in begins.items()
        ],
        "outputs": [
            _output(key, None, softmax=_op(nodes.get(name.split(":")[0])) == "Softmax") for key, name in ends.items()
        ],
    }


def _op(node: Any) -> str:
    return "" if node is None else str(node.op)


def _placeholder(node: Any) -> tuple[list[int | None] | None, str | None]:
    """(shape, dtype) that a Placeholder states."""
    if node is None or "dtype" not in node.attr:
        return None, None
    import tensorflow as tf

    shape = node.attr["shape"].shape
    known = "shape" in node.attr and not shape.unknown_rank
    name = str(tf.dtypes.as_dtype(node.attr["dtype"].type).name)
    return _sizes([one.size for one in shape.dim]) if known else None, "str" if name == "string" else name


def _below(folder: Path) -> Iterator[tuple[Path, str, str]]:
    """The files of a SavedModel."""
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and not path.is_symlink() and name != "fingerprint.pb":
            first = name.startswith("saved_model.")
            yield path, name, "graph" if first else "index" if name.endswith(".index") else "weights"


def _checkpoint(path: Path) -> tuple[dict[str, Any], _Files]:
    from modelzoo.checkpoints import open_checkpoint

    with open_checkpoint(path) as checkpoint:
        facts: dict[str, Any] = {
            "framework": "keras" if checkpoint.format.startswith("keras") else "tensorflow",
            "format": {"tf-v1": "tf-checkpoint-v1", "tf-v2": "tf-checkpoint-v2"}.get(
                checkpoint.format, checkpoint.format
            ),
            "build": {"needs": ["network of the file's variables"]},
        }
        if checkpoint.format.startswith("tf-"):
            facts |= _known_network(checkpoint)
        elif checkpoint.format == "keras-h5":
            facts |= _keras_config(checkpoint)
        elif checkpoint.format == "caffemodel":
            facts |= {"framework": "caffe", "build": {"needs": ["network of a prototxt"]}}
        layers = list(dict.fromkeys(name.rpartition("/")[0] or name for name in checkpoint.entries))
        shown = [layer for layer in layers if layer.isprintable() and len(layer) <= 40][:3]
        more = ", ..." if len(layers) > len(shown) else ""
        facts["notes"] = [f"{len(checkpoint.entries)} arrays of {len(layers)} layers: {', '.join(shown)}{more}."]
        return facts, list(_parts(path, checkpoint))


def _parts(path: Path, checkpoint: Checkpoint) -> Iterator[tuple[Path, str, str]]:
    """The files of a checkpoint: one, or the shards and the index of TensorFlow's."""
    place = checkpoint.path
    if checkpoint.format == "tf-v2":
        index = place.with_name(place.name + ".index")
        yield index, index.name, "index"
        shards = sorted(place.parent.glob(place.name + ".data-*-of-*"))
    elif place.is_file():
        yield place, place.name, "weights"
        return
    else:
        shards = sorted(place.parent.glob(place.name + "-?????-of-?????"))
    if not shards:
        raise CheckpointError(f"The data of {place.name} are missing.", received=str(path))
    for shard in shards:
        yield shard, shard.name, "weights"


_WIDTHS = {
    "inception_v1": ("InceptionV1/Conv2d_1a_7x7/weights", 64),
    "mobilenet_v1": ("MobilenetV1/Conv2d_0/weights", 32),
    "mobilenet_v2": ("MobilenetV2/expanded_conv_16/project/weights", 320),
}
"""Network -> (a variable, its channels at width 1): they tell the width of a network that has several."""


def _known_network(checkpoint: Checkpoint) -> dict[str, Any]:
    """What follows where the variables are those of exactly one of modelzoo's networks."""
    from modelzoo.networks import NETWORKS
    from modelzoo.registry import info

    heads = {
        name: [one for one in checkpoint.entries if re.match(network.head, one)] for name, network in NETWORKS.items()
    }
    found = [name for name, variables in heads.items() if variables]
    if len(found) != 1:
        return {"build": {"needs": [f"network {' or '.join(found)}" if found else "network of the file's variables"]}}
    name = found[0]
    known = info(name, registries=()).as_dict()
    output = dict(known["outputs"][0])
    widths = [
        checkpoint.entries[one].shape[-1]
        for one in heads[name]
        if one.endswith(("/biases", "/weights")) and "Aux" not in one and checkpoint.entries[one].shape
    ]
    output["classes"] = widths[-1] if widths else output["classes"]
    build: dict[str, Any] = {"network": name}
    measure, full = _WIDTHS.get(name, ("", 1))
    if measure in checkpoint.entries and checkpoint.entries[measure].shape[-1] != full:
        build["args"] = {"width": round(checkpoint.entries[measure].shape[-1] / full, 4)}
    facts = {"framework": "tf-slim", "build": build, "inputs": known["inputs"], "outputs": [output]}
    if output["classes"] == known["outputs"][0]["classes"] and "labels" in known:
        facts["labels"] = known["labels"]
    return facts


def _keras_config(checkpoint: Checkpoint) -> dict[str, Any]:
    """Input and output of the architecture that the file of a whole Keras model holds."""
    import json

    text = getattr(checkpoint, "model_config", None)
    if not text:
        return {}
    try:
        config = json.loads(text)["config"]
        layers = config["layers"] if isinstance(config, dict) else config
        first, last = layers[0]["config"], layers[-1]["config"]
        shape = first.get("batch_input_shape") or first.get("batch_shape") or [None, first["input_dim"]]
        inputs = [_input(str(first["name"]), _sizes(shape), str(first.get("dtype") or "float32"), channels_first=False)]
        units = last.get("units") or last.get("output_dim")
        softmax = last.get("activation") == "softmax"
        outputs = [_output(str(last["name"]), None, softmax=softmax, classes=units if isinstance(units, int) else None)]
    except (ValueError, TypeError, KeyError, IndexError, AttributeError):
        return {}
    return {"build": {"needs": ["reader keras model_config"]}, "inputs": inputs, "outputs": outputs}


def _input(name: str, shape: list[int | None] | None, dtype: str | None, *, channels_first: bool) -> dict[str, Any]:
    """An input of the card, without the batch; pictures of a source with channels first become (H, W, C)."""
    one: dict[str, Any] = {"name": name}
    layout = None
    inner = None if shape is None else shape[1:]  # None: not even the number of axes is known
    if shape is not None and len(shape) == 4:
        if channels_first and shape[1] in (1, 3):
            inner, layout = [shape[2], shape[3], shape[1]], "NCHW"
        elif shape[3] in (1, 3):
            layout = "NHWC"
    one["shape"] = inner
    if dtype:
        one["dtype"] = dtype
    if layout:
        one["layout"] = layout
    return one


def _output(name: str, shape: list[int | None] | None, *, softmax: bool, classes: int | None = None) -> dict[str, Any]:
    one: dict[str, Any] = {"name": name, "kind": "probabilities" if softmax else "tensor"}
    if classes is None and softmax and shape is not None and len(shape) == 2:
        classes = shape[1]
    if classes is not None:
        one["classes"] = classes
    elif shape is not None and len(shape) > 1:
        one["shape"] = shape[1:]
    return one
