"""The cases of `onnx.backend.test`, each as a model with inputs, expected outputs and the suite's own tolerances."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.backend.test.runner import Runner

__all__ = ["KINDS", "Case", "compare", "load_cases"]

#: Kinds of cases in the order of the scoreboard; "real" are the networks that the package carries in a light form.
KINDS = ("node", "simple", "pytorch-converted", "pytorch-operator", "real")


@dataclass(frozen=True)
class Case:
    """One case: `name` as the suite calls it, `kind` one of KINDS, tolerances as the suite's."""

    name: str
    kind: str
    rtol: float
    atol: float
    source: Any

    @cached_property
    def model(self) -> onnx.ModelProto:
        if self.source.model is not None:
            return self.source.model
        return onnx.load(self._model_path)

    @property
    def _model_path(self) -> Path:
        if self.kind == "real":
            return Path(onnx.__file__).parents[1] / self.source.url
        return Path(self.source.model_dir) / "model.onnx"

    @property
    def operator(self) -> str:
        """The operator that a node case is about (the one of its name's longest match), else the kind."""
        if self.kind != "node":
            return f"({self.kind})"
        body = self.name.removeprefix("test_").replace("_expanded", "")
        names = {node.op_type for node in self.model.graph.node}
        if len(names) == 1 and "_expanded" not in self.name:
            return names.pop()
        return _operator_of(body) or next(iter(names), "?")

    def data(self) -> Iterator[tuple[list[Any], list[Any]]]:
        """Pairs of inputs and expected outputs, in the graph's order."""
        if self.source.data_sets is not None:
            for inputs, outputs in self.source.data_sets:
                yield [_array(item) for item in inputs], [_array(item) for item in outputs]
        elif self.kind == "real":
            yield self._light_data()
        else:
            for folder in sorted(Path(self.source.model_dir).glob("test_data_set_*")):
                yield _read(folder, "input", self.model.graph.input), _read(folder, "output", self.model.graph.output)

    def _light_data(self) -> tuple[list[Any], list[Any]]:
        initialised = {item.name for item in self.model.graph.initializer}
        inputs = [
            Runner.generate_dummy_data(item, seed=0, name=self.name, random=False)
            for item in self.model.graph.input
            if item.name not in initialised
        ]
        outputs = []
        for index in range(len(self.model.graph.output)):
            path = self._model_path.with_name(f"{self._model_path.stem}_output_{index}.pb")
            outputs.append(numpy_helper.to_array(onnx.TensorProto.FromString(path.read_bytes())))
        return inputs, outputs


_OPERATORS: dict[str, str] = {}


def _operator_of(body: str) -> str | None:
    if not _OPERATORS:
        for schema in onnx.defs.get_all_schemas():
            _OPERATORS[schema.name.lower()] = schema.name
    folded = body.replace("_", "").lower()
    fitting = [name for name in _OPERATORS if folded.startswith(name)]
    return _OPERATORS[max(fitting, key=len)] if fitting else None


def load_cases() -> list[Case]:
    """Every case of the installed onnx, in a fixed order."""
    from onnx.backend.test.loader import load_model_tests

    cases = []
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        for kind in KINDS:
            found = [Case(c.name, kind, c.rtol, c.atol, c) for c in load_model_tests(kind=kind)]
            cases.extend(sorted(found, key=lambda case: case.name))
    return cases


def compare(expected: list[Any], computed: list[Any], rtol: float, atol: float) -> None:
    """Compare as the suite does.

    Raises:
        AssertionError: a difference of number, shape, type or value.
    """
    for index, (wanted, got) in enumerate(zip(expected, computed, strict=True)):
        if (wanted is None) != (got is None):
            raise AssertionError(f"output {index} is {got!r}, expected {wanted!r}")
        if isinstance(wanted, list):
            if not isinstance(got, list) or len(wanted) != len(got):
                raise AssertionError(f"output {index} is a sequence of another length")
            # Element by element: the suite's own comparison looks into the elements, and fails on scalars.
            compare(wanted, got, rtol, atol)
        elif wanted is not None:
            Runner.assert_similar_outputs([wanted], [np.asarray(got)], rtol, atol)


def _array(item: Any) -> Any:
    if isinstance(item, onnx.TensorProto):
        return numpy_helper.to_array(item)
    if isinstance(item, onnx.SequenceProto):
        return numpy_helper.to_list(item)
    if isinstance(item, onnx.OptionalProto):
        return numpy_helper.to_optional(item)
    if isinstance(item, list | tuple):
        return [_array(element) for element in item]
    return None if item is None else np.asarray(item)


def _read(folder: Path, prefix: str, infos: Any) -> list[Any]:
    values: list[Any] = []
    for index in range(len(list(folder.glob(f"{prefix}_*.pb")))):
        content = (folder / f"{prefix}_{index}.pb").read_bytes()
        kind = infos[index].type.WhichOneof("value")
        proto = {"sequence_type": onnx.SequenceProto, "optional_type": onnx.OptionalProto}.get(kind, onnx.TensorProto)
        values.append(_array(proto.FromString(content)))
    return values
