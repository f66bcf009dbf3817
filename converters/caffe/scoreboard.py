"""`python -m converters.caffe.scoreboard FOLDER`: how many of Caffe's own results come out, by layer type.

FOLDER has `manifest-*.json` and, for each case, a prototxt, weights, inputs and what Caffe computed of them.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import zlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["SUITES", "Outcome", "load_cases", "main", "run_case"]

SUITES = {"cases": "cases", "fork": "fork", "nets": "nets"}
"""Manifest -> folder of its cases."""


@dataclass(frozen=True)
class Outcome:
    """What came of one case; `error` is the largest violation, in units of the case's tolerance (1 = just passed)."""

    name: str
    types: tuple[str, ...]
    status: str
    error: float
    seconds: float
    reason: str = ""


def load_cases(folder: Path, suite: str) -> list[dict[str, Any]]:
    """The cases of a suite, each with its `folder`."""
    manifest = json.loads((folder / f"manifest-{suite}.json").read_text())
    listed = manifest["cases"] if isinstance(manifest, dict) else manifest
    return [{**case, "folder": folder / SUITES[suite] / case["dir"]} for case in listed]


def run_case(case: Mapping[str, Any], column: str = "function") -> Outcome:
    """Convert one case, run it, and compare shape, NaN pattern and values as the manifest says.

    Args:
        case: of `load_cases`.
        column: "function", "keras" (data_format "source"), or "onnx": the hub graph in onnxruntime.
    """
    begun = time.perf_counter()
    kinds = tuple(case.get("types") or case.get("net_types") or ())
    try:
        computed = _run(case, column)
        worst, reason = 0.0, ""
        for name, about in case["outputs"].items():
            wanted = np.load(case["folder"] / about["file"])
            if name not in computed:
                worst, reason = np.inf, f"no output {name!r}, but {', '.join(computed)}"
                break
            error, text = _violation(np.asarray(computed[name]), wanted, case["rtol"], case["atol"])
            if error > worst:
                worst, reason = error, f"{name}: {text}"
    except Exception as error:
        worst, reason = np.inf, f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
    status = "pass" if worst <= 1 else "fail"
    seconds = time.perf_counter() - begun
    return Outcome(case["id"], kinds, status, float(worst), seconds, "" if status == "pass" else reason)


def _run(case: Mapping[str, Any], column: str) -> Mapping[str, Any]:
    from converters.caffe.network import read_network
    from converters.caffe.translate import translate

    folder, outputs = case["folder"], list(case["outputs"])
    weights = None if case.get("weights") is None else folder / case["weights"]
    fed = {name: _input(case, about) for name, about in case["inputs"].items()}
    prototxt, shapes = case["prototxt"], None
    if case.get("convert_prototxt"):
        prototxt, shapes = case["convert_prototxt"], {name: array.shape for name, array in fed.items()}
    network = read_network(folder / prototxt, weights, inputs=shapes)
    if "weights_recipe" in case:
        for layer in network.layers:
            object.__setattr__(layer, "blobs", partial(_drawn, case["id"]))
    model = translate(network)
    if column == "onnx":
        import onnx_ir as ir
        import onnxruntime

        from converters.graph import tensor_names

        known, listed = tensor_names(model.graph), set(model.graph.outputs)
        model.graph.outputs.extend(known[name] for name in outputs if name in known and known[name] not in listed)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(
            ir.to_proto(model).SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        names = [item.name for item in session.get_outputs()]
        wanted = {item.name for item in session.get_inputs()}
        values = session.run(names, {name: fed[name] for name in fed if name in wanted})
        return dict(zip(names, values, strict=True))
    if column == "keras":
        from converters.keras import to_keras

        made = to_keras(model, outputs=outputs, data_format="source")
        fed = {name: fed[name] for name in made.input_sources}
        result = made(fed if isinstance(made.input, dict) else next(iter(fed.values())))
        return result if isinstance(result, dict) else {made.output_sources[0]: result}
    from converters.function import load

    function = load(model, outputs=outputs)
    return function({name: fed[name] for name in function.input_names})


def _input(case: Mapping[str, Any], about: Mapping[str, Any]) -> np.ndarray:
    if "file" in about:
        return np.asarray(np.load(case["folder"] / about["file"]))
    return _stream(case["id"]).randn(*about["shape"]).astype(np.float32)


def _stream(text: str) -> np.random.RandomState:
    return np.random.RandomState(zlib.crc32(text.encode()) & 0x7FFFFFFF)


def _drawn(case: str, layer: Any, index: int, shape: tuple[int, ...], filler: Any) -> tuple[str, np.ndarray]:
    """The weights of the networks of full size, drawn as their manifest says instead of stored."""
    stream = _stream(f"{case}|{layer.name}|{index}")
    if layer.type == "BatchNorm":
        values = [
            lambda: 0.2 * stream.randn(*shape),
            lambda: stream.uniform(0.8, 1.2, shape),
            lambda: np.ones(shape),
        ][index]()
    elif layer.type == "Scale" and index == 0:
        values = 1 + 0.1 * stream.randn(*shape)
    elif index == 0:
        values = stream.randn(*shape) * np.sqrt(2 / np.prod(shape[1:]))
    else:
        values = 0.1 * stream.randn(*shape)
    return f"{layer.name}/{index}", values.astype(np.float32)


def _violation(got: np.ndarray, wanted: np.ndarray, rtol: float, atol: float) -> tuple[float, str]:
    """|got - wanted| / (atol * max(1, max |wanted|) + rtol * |wanted|), at its largest."""
    if got.shape != wanted.shape:
        return np.inf, f"shape {got.shape}, Caffe's {wanted.shape}"
    absent = np.isnan(wanted)
    if not np.array_equal(absent, np.isnan(got)):
        return np.inf, "other places are NaN"
    a, b = got[~absent].astype(np.float64), wanted[~absent].astype(np.float64)
    if not a.size:
        return 0.0, ""
    same = a == b  # infinities
    a, b = a[~same], b[~same]
    if not a.size:
        return 0.0, ""
    limit = atol * max(1.0, float(np.abs(b).max())) + rtol * np.abs(b)
    error = float((np.abs(a - b) / limit).max())
    return error, f"{error:.3g} times the tolerance"


def _table(outcomes: Iterable[Outcome]) -> list[str]:
    rows: dict[str, list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        for kind in outcome.types[:1] or ("?",):
            rows[kind].append(outcome)
    lines = []
    for kind, group in sorted(rows.items()):
        passed = sum(item.status == "pass" for item in group)
        lines.append(f"{kind:28s} {passed:4d} / {len(group)}" + ("" if passed == len(group) else "  <-"))
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code: 0 when every chosen case passes, else 1."""
    about = (__doc__ or "").split("\n")[0]
    parser = argparse.ArgumentParser(prog="python -m converters.caffe.scoreboard", description=about)
    parser.add_argument("folder", type=Path, help="with manifest-cases.json, manifest-fork.json, manifest-nets.json")
    parser.add_argument("--suite", choices=list(SUITES), action="append", help="only these")
    parser.add_argument("--filter", default="", help="only cases whose name holds this")
    parser.add_argument("--column", choices=["function", "keras", "onnx"], default="function", help="run by what")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of the table")
    options = parser.parse_args(arguments)
    outcomes = []
    for suite in options.suite or SUITES:
        for case in load_cases(options.folder, suite):
            if options.filter in case["id"]:
                outcomes.append(run_case(case, options.column))
    failed = [item for item in outcomes if item.status == "fail"]
    if options.json:
        print(json.dumps({"column": options.column, "cases": len(outcomes), "outcomes": [asdict(o) for o in outcomes]}))
        return 1 if failed else 0
    print("\n".join(_table(outcomes)))
    for item in failed:
        print(f"FAIL {item.name}: {item.reason}")
    print(f"{options.column}: {len(outcomes) - len(failed)} of {len(outcomes)} pass")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
