"""`python -m converters.onnx.scoreboard`: how many cases of ONNX's own test-suite pass, operator by operator.

Every case is compared at the suite's own tolerances. Two families cannot be reproduced by anybody, since ONNX leaves
the random generator open (`bernoulli*`, `training_dropout*` with a ratio above zero): their shape and type are
compared here, their distribution in tests/converters.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from converters.onnx.cases import Case, compare, load_cases

__all__ = ["Outcome", "main", "run_case"]


@dataclass(frozen=True)
class Outcome:
    """What came of one case: `status` is "pass", "random" (tested by its distribution elsewhere) or "fail"."""

    name: str
    operator: str
    status: str
    seconds: float
    reason: str = ""
    note: str = ""


def run_case(case: Case, column: str = "function") -> Outcome:
    """Run one case through `converters.function` (or, with `column="keras"`, `converters.keras`) and compare."""
    from converters.onnx.backend import FunctionBackend, KerasBackend

    backend = KerasBackend if column == "keras" else FunctionBackend

    begun = time.perf_counter()
    status, reason, note = "pass", "", _note(case)
    try:
        with np.errstate(all="ignore"):
            prepared = backend.prepare(case.model)
            for inputs, expected in case.data():
                computed = prepared.run(inputs)
                if _draws(case):
                    status, note = "random", "draws random numbers: shapes and types compared"
                    _compare_forms(expected, computed)
                else:
                    compare(expected, computed, case.rtol, case.atol)
    except Exception as error:
        lines = [line.strip() for line in f"{type(error).__name__}: {error}".splitlines() if line.strip()]
        status, reason = "fail", " | ".join(lines[:6])[:400]
    return Outcome(case.name, case.operator, status, time.perf_counter() - begun, reason, note)


def _draws(case: Case) -> bool:
    """Whether the result depends on random numbers: a Bernoulli, or a Dropout in training with a ratio above zero."""
    nodes = case.model.graph.node
    if any(node.op_type in ("Bernoulli", "RandomUniformLike", "RandomUniform") for node in nodes):
        return True
    for node in nodes:
        if node.op_type != "Dropout" or len(node.input) < 3:
            continue
        names = [item.name for item in case.model.graph.input]
        inputs, _ = next(case.data())
        fed = dict(zip(names, inputs, strict=True))
        constants = {n.output[0]: n.attribute[0].t for n in nodes if n.op_type == "Constant"}

        def value(name: str, default: float, fed: dict[str, Any] = fed, constants: dict[str, Any] = constants) -> float:
            from onnx import numpy_helper

            if name in constants:
                return float(numpy_helper.to_array(constants[name]))
            return float(fed[name]) if name in fed else default

        if value(node.input[2], 0.0) and value(node.input[1], 0.5) > 0:
            return True
    return False


def _note(case: Case) -> str:
    for node in case.model.graph.node:
        if node.op_type == "ImageDecoder":
            from converters.function.image import decoder_of

            inputs, _ = next(case.data())
            return f"decoded by {decoder_of(bytes(inputs[0].tobytes()))}"
    return ""


def _compare_forms(expected: Sequence[Any], computed: Sequence[Any]) -> None:
    for wanted, got in zip(expected, computed, strict=True):
        if wanted.shape != got.shape or wanted.dtype != got.dtype:
            raise AssertionError(f"{got.dtype}{got.shape}, expected {wanted.dtype}{wanted.shape}")


def _table(outcomes: Iterable[Outcome]) -> list[str]:
    rows: dict[str, list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        rows[outcome.operator].append(outcome)
    lines = []
    for operator, group in sorted(rows.items()):
        passed = sum(item.status != "fail" for item in group)
        mark = "" if passed == len(group) else "  <-"
        lines.append(f"{operator:32s} {passed:5d} / {len(group)}{mark}")
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code: 0 when every chosen case passes, else 1."""
    parser = argparse.ArgumentParser(prog="python -m converters.onnx.scoreboard", description=__doc__.split("\n")[0])
    parser.add_argument("--filter", default="", metavar="PATTERN", help="regular expression on the names of cases")
    parser.add_argument("--column", choices=["function", "keras"], default="function", help="through which lowering")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of the table")
    options = parser.parse_args(arguments)
    cases = [case for case in load_cases() if re.search(options.filter, case.name)]
    outcomes = [run_case(case, options.column) for case in cases]
    failed = [item for item in outcomes if item.status == "fail"]
    drawn = [item for item in outcomes if item.status == "random"]
    if options.json:
        totals = {"cases": len(outcomes), "pass": len(outcomes) - len(failed) - len(drawn), "random": len(drawn)}
        print(json.dumps({"column": options.column, **totals, "outcomes": [asdict(item) for item in outcomes]}))
        return 1 if failed else 0
    print("\n".join(_table(outcomes)))
    for item in failed:
        print(f"FAIL {item.name}: {item.reason}")
    for item in outcomes:
        if item.note and item.status != "fail":
            print(f"note {item.name}: {item.note}")
    exact = len(outcomes) - len(failed) - len(drawn)
    print(
        f"{options.column}: {exact} of {len(outcomes)} exact, {len(drawn)} random (by distribution), {len(failed)} fail"
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
