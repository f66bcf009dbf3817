"""Source and result on the same inputs: the largest error of every output and of every tap that both have.

The reference is onnxruntime on the source as it came, with all its intermediate tensors as outputs. Errors are
relative to the largest magnitude of the reference tensor (max |result - reference| / max |reference|).
"""

from __future__ import annotations

import html
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from onnx import numpy_helper

from modelzoo.errors import ConversionError, ParityError, UsageError

__all__ = ["ParityReport", "TapError", "check_parity", "run_onnx", "sample_inputs"]


@dataclass(frozen=True)
class TapError:
    """How far one tensor of the result is from the reference.

    Attributes:
        name: the source's tensor name.
        kind: "output" or "tap".
        shape: of the reference.
        max_abs: largest absolute difference.
        max_rel: `max_abs` / largest magnitude of the reference (of 1 where that is 0).
        depth: its place in the source's order of nodes.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    max_abs: float
    max_rel: float
    depth: int


@dataclass(frozen=True)
class ParityReport:
    """The comparison of a whole model.

    Attributes:
        model: what was compared.
        rtol: the largest `max_rel` that an output may have.
        rows: outputs first, then taps in the source's order.
        reference: who computed what the result was compared with.
    """

    model: str
    rtol: float
    rows: tuple[TapError, ...]
    reference: str = "onnxruntime"

    @property
    def worst(self) -> TapError | None:
        """The output with the largest relative error."""
        outputs = [row for row in self.rows if row.kind == "output"]
        return max(outputs, key=lambda row: row.max_rel if row.max_rel == row.max_rel else np.inf, default=None)

    @property
    def passed(self) -> bool:
        """Whether every output is within `rtol`."""
        return all(row.max_rel <= self.rtol for row in self.rows if row.kind == "output")

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON values."""
        rows = [{**asdict(row), "shape": list(row.shape)} for row in self.rows]
        return {
            "model": self.model,
            "reference": self.reference,
            "rtol": self.rtol,
            "passed": self.passed,
            "rows": rows,
        }

    def as_table(self, *, taps: bool = False) -> str:
        """Lines of text: outputs, and with `taps` every tap."""
        rows = [row for row in self.rows if taps or row.kind == "output"]
        width = max([4, *(len(row.name) for row in rows)])
        lines = [f"{'name':<{width}}  {'max abs':>9}  {'max rel':>9}  shape"]
        lines += [f"{row.name:<{width}}  {row.max_abs:9.2e}  {row.max_rel:9.2e}  {list(row.shape)}" for row in rows]
        verdict = "within" if self.passed else "NOT within"
        return "\n".join([*lines, f"{verdict} {self.rtol:g} of the reference's largest magnitude"])

    def write_html(self, path: str | os.PathLike[str]) -> Path:
        """A page with the table and a plot of error by depth; written whole or not at all."""
        out = Path(path)
        partial = out.with_name(out.name + ".part")
        partial.write_text(_page(self), encoding="utf-8")
        partial.replace(out)
        return out

    def raise_if_failed(self) -> None:
        """Raise `ParityError`, with this report attached, unless it passed."""
        worst = self.worst
        if self.passed or worst is None:
            return
        raise ParityError(
            f"{self.model}: output {worst.name!r} differs by {worst.max_rel:.2e} of its largest magnitude, "
            f"more than {self.rtol:g}.",
            report=self,
            hint="the report's taps show where the difference begins; --rtol sets what is accepted",
        )


def sample_inputs(model: onnx.ModelProto, shapes: Mapping[str, Any] | None = None, seed: int = 0) -> dict[str, Any]:
    """Random inputs for a model: floats are normal; dynamic sizes become 2 (batch) or 64.

    Integers that choose from a table (Gather, OneHot) are below its length, others are 0 or 1.

    Args:
        model: the source.
        shapes: input name -> shape instead of the declared one, None = dynamic.
        seed: of the numbers.
    """
    generator = np.random.default_rng(seed)
    initial = {item.name for item in model.graph.initializer}
    made: dict[str, Any] = {}
    for item in model.graph.input:
        if item.name in initial:
            continue
        kind = item.type.tensor_type
        if not item.type.HasField("tensor_type"):
            raise UsageError(
                f"Input {item.name!r} is no tensor, so no sample of it can be made.", hint="give inputs of your own"
            )
        dims: list[int | None]
        if shapes and item.name in shapes:
            dims = list(shapes[item.name])
        else:
            dims = [d.dim_value if d.HasField("dim_value") and d.dim_value > 0 else None for d in kind.shape.dim]
        sizes = [size if size is not None else (2 if axis == 0 else 64) for axis, size in enumerate(dims)]
        dtype = ir.DataType(kind.elem_type).numpy()
        if dtype.kind == "O":
            made[item.name] = np.full(sizes, "a", object)
        elif dtype.kind in "iub":
            below = 2 if dtype.kind == "b" else min(_choices(model, item.name), np.iinfo(dtype).max)
            made[item.name] = generator.integers(0, below, sizes).astype(dtype)
        else:
            made[item.name] = generator.standard_normal(sizes).astype(dtype)
    return made


def _choices(model: onnx.ModelProto, name: str) -> int:
    """How many entries the smallest table has from which the integers of an input choose; 2 where there is none.

    A table is what Gather takes from, the depth of OneHot, or the row of numbers that a one-hot code is compared with.
    """
    lengths = {item.name: item.dims[0] for item in model.graph.initializer if item.dims}
    depths = {i.name: int(numpy_helper.to_array(i).ravel()[0]) for i in model.graph.initializer if _is_number(i)}
    for node in model.graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            tensor = node.attribute[0].t
            lengths.update({node.output[0]: tensor.dims[0]} if tensor.dims else {})
            if _is_number(tensor):
                depths[node.output[0]] = int(numpy_helper.to_array(tensor).ravel()[0])
    same, found = {name}, []
    for node in model.graph.node:
        if node.op_type in ("Cast", "Expand", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"):
            same.update(node.output if node.input[0] in same else ())
        elif node.op_type == "Gather" and node.input[1] in same:
            axis = sum(attribute.i for attribute in node.attribute if attribute.name == "axis")
            found += [lengths[node.input[0]]] if axis == 0 and node.input[0] in lengths else []
        elif node.op_type == "OneHot" and node.input[0] in same and node.input[1] in depths:
            found.append(depths[node.input[1]])
        elif node.op_type == "Equal" and node.input[0] in same:
            compared = [item for item in model.graph.initializer if item.name == node.input[1]]
            found += [int(numpy_helper.to_array(item).max()) + 1 for item in compared if math.prod(item.dims) > 1]
    return max(1, min(found, default=2))


def _is_number(tensor: onnx.TensorProto) -> bool:
    integer = tensor.data_type in (onnx.TensorProto.INT32, onnx.TensorProto.INT64)
    return integer and list(tensor.dims) in ([], [1])


def check_parity(
    source: onnx.ModelProto,
    run: Callable[[Mapping[str, Any], list[str]], Mapping[str, np.ndarray]],
    *,
    inputs: Mapping[str, Any],
    outputs: list[str],
    taps: list[str],
    rtol: float = 1e-4,
    model: str = "model",
    folder: str | os.PathLike[str] | None = None,
    reference: tuple[str, Mapping[str, np.ndarray]] | None = None,
) -> ParityReport:
    """Compare a result with its source.

    Args:
        source: the ONNX model as it came.
        run: computes, from inputs by source name and in the source's layout, the named tensors in that layout.
        inputs: by source name, in the source's layout.
        outputs, taps: tensor names to compare.
        rtol: of outputs.
        model: its name, for messages.
        folder: of the source's external data.
        reference: (who, tensor name -> array) instead of what onnxruntime makes of the source.

    Raises:
        ConversionError: onnxruntime cannot run the source.
    """
    names = list(dict.fromkeys([*outputs, *taps]))
    who, wanted_values = reference or ("onnxruntime", run_onnx(source, names, inputs, folder))
    result = run(inputs, [name for name in names if name in wanted_values])
    rows = []
    for depth, name in enumerate(names):
        if name not in result or name not in wanted_values:
            continue
        wanted, got = np.asarray(wanted_values[name]), np.asarray(result[name])
        kind = "output" if name in outputs else "tap"
        rows.append(TapError(name, kind, tuple(wanted.shape), *tensor_errors(wanted, got), depth))
    return ParityReport(model, rtol, tuple(sorted(rows, key=lambda row: (row.kind != "output", row.depth))), who)


def tensor_errors(wanted: np.ndarray, got: np.ndarray) -> tuple[float, float]:
    """(largest absolute error, the same relative to the largest magnitude of `wanted`); infinite for other shapes."""
    if wanted.shape != got.shape:
        return float("inf"), float("inf")
    if wanted.dtype.kind in "OUS":
        same = bool((wanted == got).all())
        return (0.0, 0.0) if same else (float("inf"), float("inf"))
    if not wanted.size:
        return 0.0, 0.0
    a, b = wanted.astype(np.float64), got.astype(np.float64)
    finite = np.isfinite(a)
    with np.errstate(invalid="ignore"):
        if not np.array_equal(finite, np.isfinite(b)) or not np.array_equal(a[~finite], b[~finite], equal_nan=True):
            return float("inf"), float("inf")
    if not finite.any():
        return 0.0, 0.0
    largest = float(np.abs(a[finite] - b[finite]).max())
    scale = float(np.abs(a[finite]).max())
    return largest, largest / scale if scale else largest


def run_onnx(
    source: onnx.ModelProto, names: list[str], inputs: Mapping[str, Any], folder: str | os.PathLike[str] | None = None
) -> dict[str, np.ndarray]:
    """What onnxruntime makes of a model, none of its operators fused: {name: array} of the tensors `names`."""
    import onnxruntime

    model = onnx.ModelProto()
    model.CopyFrom(source)
    declared = {item.name for item in model.graph.output}
    produced = {name for node in model.graph.node for name in node.output}
    model.graph.output.extend(
        onnx.ValueInfoProto(name=name) for name in names if name in produced and name not in declared
    )
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    # The source's own operators, one by one: fusions of the reference would hide taps.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        if folder is not None:
            options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(folder))
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        wanted = [item.name for item in session.get_outputs() if item.name in names]
        values = session.run(wanted, dict(inputs))
    except Exception as error:  # onnxruntime raises classes of its own, all directly below Exception
        raise ConversionError(
            "onnxruntime cannot run the source model, so there is nothing to compare with.",
            received=str(error).splitlines()[0][:300],
            hint="convert without --verify, or give inputs that fit: --inputs NAME=SHAPE",
        ) from error
    return {name: value for name, value in zip(wanted, values, strict=True) if isinstance(value, np.ndarray)}


def _page(report: ParityReport) -> str:
    """A self-contained HTML page: verdict, error by depth on a logarithmic axis as SVG, the table."""
    cells = "".join(
        f"<tr class='{row.kind}'><td>{html.escape(row.name)}</td><td>{row.kind}</td><td>{list(row.shape)}</td>"
        f"<td>{row.max_abs:.2e}</td><td>{row.max_rel:.2e}</td></tr>"
        for row in report.rows
    )
    verdict = "agrees" if report.passed else "does NOT agree"
    return (
        "<!doctype html><html lang='en'><meta charset='utf-8'>"
        f"<title>Parity of {html.escape(report.model)}</title>"
        "<style>body{font:15px/1.45 system-ui,sans-serif;max-width:1000px;margin:2em auto;padding:0 1em;color:#1c2028}"
        "table{border-collapse:collapse;width:100%}td,th{padding:.25em .6em;text-align:left;"
        "border-bottom:1px solid #e2e6ec}tr.output td{font-weight:600}svg{width:100%;height:auto}"
        "text{font-size:11px;fill:#707884}</style>"
        f"<h1>{html.escape(report.model)} {verdict}</h1>"
        f"<p>Largest error of each tensor, relative to the reference's largest magnitude (onnxruntime). "
        f"Outputs may differ by {report.rtol:g}.</p>{_plot(report)}"
        "<table><tr><th>tensor</th><th>kind</th><th>shape</th><th>max abs</th><th>max rel</th></tr>"
        f"{cells}</table></html>"
    )


def _plot(report: ParityReport) -> str:
    width, height, left, bottom = 960, 300, 60, 30
    rows = sorted(report.rows, key=lambda row: row.depth)
    if not rows:
        return ""
    low, high = -10.0, 0.0

    def x(depth: int) -> float:
        return left + (width - left - 10) * depth / max(1, rows[-1].depth)

    def y(value: float) -> float:
        exponent = low if value <= 0 else min(high, max(low, float(np.log10(value)))) if np.isfinite(value) else high
        return 10 + (height - bottom - 10) * (high - exponent) / (high - low)

    grid = "".join(
        f"<line x1='{left}' x2='{width - 10}' y1='{y(10.0**e):.1f}' y2='{y(10.0**e):.1f}' stroke='#e2e6ec'/>"
        f"<text x='8' y='{y(10.0**e) + 4:.1f}'>1e{e}</text>"
        for e in range(int(low), 1, 2)
    )
    limit = (
        f"<line x1='{left}' x2='{width - 10}' y1='{y(report.rtol):.1f}' y2='{y(report.rtol):.1f}' stroke='#c4423f'/>"
    )
    dots = "".join(
        f"<circle cx='{x(row.depth):.1f}' cy='{y(row.max_rel):.1f}' r='{5 if row.kind == 'output' else 3}' "
        f"fill='{'#c4423f' if row.max_rel > report.rtol else '#2f6f9e'}'>"
        f"<title>{html.escape(row.name)}: {row.max_rel:.2e}</title></circle>"
        for row in rows
    )
    return (
        f"<svg viewBox='0 0 {width} {height}' role='img' aria-label='error by depth'>{grid}{limit}{dots}"
        f"<text x='{left}' y='{height - 6}'>first node</text>"
        f"<text x='{width - 70}' y='{height - 6}'>last node</text></svg>"
    )
