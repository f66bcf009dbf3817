"""What has to be computed for some outputs from some inputs, checked before anything is built."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from converters.tensorflow.checks import check_operator
from converters.tensorflow.graph import Branches, FlatGraph, Loop, Node, Ref
from modelzoo.errors import ConversionError, InvalidGraphError, UsageError

__all__ = ["PLACEHOLDERS", "TENSOR_ARRAYS", "VARIABLES", "Plan", "Unit"]

Unit = Node | Loop | Branches
"""What is computed at once."""

#: Operators on a loop's array; their first input is a handle that carries no value here.
TENSOR_ARRAYS = frozenset(
    (
        "TensorArrayConcatV3", "TensorArrayGatherV3", "TensorArrayReadV3", "TensorArrayScatterV3",
        "TensorArraySizeV3", "TensorArraySplitV3", "TensorArrayWriteV3",
    )
)  # fmt: skip

VARIABLES = ("VarHandleOp", "Variable", "VariableV2")
PLACEHOLDERS = ("Placeholder", "PlaceholderV2")


class Plan:
    """The live part of a graph.

    Args:
        flat: the graph, with its control flow found.
        fed: refs that are given.
        targets: refs that are wanted.
        inputs: what the refs that may be fed are called, for messages.

    Attributes:
        feeds, targets: as given, the targets as their origins.
        nodes: those that are needed.
        variables: for each loop the indices of the variables that are needed.
        outputs: for each conditional the indices of the outputs that are needed.

    Raises:
        UnsupportedOperatorError: a node that is needed has an operator that may not run.
        ConversionError: a target lies inside a loop or a branch.
        UsageError: a target needs an input that is not fed.
    """

    def __init__(
        self, flat: FlatGraph, fed: Iterable[Ref], targets: Sequence[Ref], inputs: Mapping[Ref, str] | None = None
    ) -> None:
        self.flat = flat
        self.fed = frozenset(fed)
        self.inputs = inputs or {}
        self.carried = {ref: (loop, i) for loop in flat.loops for i, refs in enumerate(loop.carried) for ref in refs}
        self.made: dict[Ref, tuple[Loop | Branches, int]] = {
            ref: (loop, i) for loop in flat.loops for i, refs in enumerate(loop.outputs) for ref in refs
        }
        self.made.update((ref, (item, i)) for item in flat.branches for i, ref in enumerate(item.outputs))
        self.nodes: dict[str, Node] = {}
        self.variables: dict[Loop, list[int]] = {}
        self.outputs: dict[Branches, list[int]] = {}
        self._externals: dict[Unit, list[Ref]] = {}
        for ref in targets:
            self._check_target(ref)
        self.targets = [self.origin(ref) for ref in targets]
        self._walk()
        for loop in self.variables:
            self._check_ends(loop)

    def origin(self, ref: Ref) -> Ref:
        """The ref whose value `ref` has."""
        return self.flat.origin(ref, self.fed)

    def _check_target(self, ref: Ref) -> None:
        inner = self.flat.is_inner(ref)
        if inner and ref not in self.fed:
            raise ConversionError(
                f"The tensor {str(ref)!r} lies inside a loop or a conditional: it has no single value.",
                received=str(ref),
                hint="take what the loop or conditional gives",
            )

    def _walk(self) -> None:
        seen: set[Ref] = set()
        ahead = list(self.targets)
        while ahead:
            ref = self.origin(ahead.pop())
            if ref in seen or ref in self.fed:
                continue
            seen.add(ref)
            if ref in self.carried:
                loop, index = self.carried[ref]
                ahead += self._variable(loop, index)
            elif ref in self.made:
                unit, index = self.made[ref]
                ahead += self._variable(unit, index) if isinstance(unit, Loop) else self._output(unit, index)
            else:
                ahead += self._node(ref)

    def _check_ends(self, loop: Loop) -> None:
        """Refuse a loop whose condition no iteration can change: it would never end, or never begin."""
        own = {ref for refs in loop.carried for ref in refs}
        seen: set[Ref] = set()
        ahead = [loop.condition]
        while ahead:
            ref = self.origin(ahead.pop())
            if ref in own:
                return
            if ref not in seen and ref not in self.fed and ref not in self.carried:
                seen.add(ref)
                ahead += self.needs(self.unit(ref))
        raise InvalidGraphError(
            f"The condition of the loop {loop.name!r} depends on nothing that the loop changes.",
            received=str(loop.condition),
            hint="the file is damaged",
        )

    def _variable(self, loop: Loop, index: int) -> list[Ref]:
        live = self.variables.setdefault(loop, [])
        if index in live:
            return []
        live.append(index)
        live.sort()
        return [loop.initial[index], loop.following[index], loop.condition]

    def _output(self, item: Branches, index: int) -> list[Ref]:
        live = self.outputs.setdefault(item, [])
        if index in live:
            return []
        live.append(index)
        live.sort()
        return [item.selector, *(ref for given in item.results if isinstance(ref := given[index], Ref))]

    def _node(self, ref: Ref) -> list[Ref]:
        node = self.flat.nodes.get(ref.node)
        if node is None:
            raise InvalidGraphError(f"No node gives {str(ref)!r}.", received=str(ref), hint="the file is damaged")
        check_operator(node.name, node.op, {})
        if node.op in PLACEHOLDERS:
            name = self.inputs.get(ref, str(ref))
            raise UsageError(
                f"The input {name!r} is needed and was not given.",
                received=f"given: {', '.join(self.inputs.get(item, str(item)) for item in sorted(self.fed)) or 'none'}",
                hint=f"give it: {{{name!r}: array}}",
            )
        if node.name in self.nodes:
            return []
        self.nodes[node.name] = node
        return self.reads(node)

    def reads(self, node: Node) -> list[Ref]:
        """The refs whose values a node needs."""
        return node.inputs[1:] if node.op in TENSOR_ARRAYS else list(node.inputs)

    # -- who needs what -------------------------------------------------------------------------------------------

    def unit(self, ref: Ref) -> Unit:
        """What computes `ref`, an origin."""
        if ref in self.made:
            return self.made[ref][0]
        if ref in self.carried:
            raise InvalidGraphError(
                f"The variable {str(ref)!r} of a loop is read outside of it.", hint="the file is damaged"
            )
        return self.flat.nodes[ref.node]

    def needs(self, unit: Unit) -> list[Ref]:
        """The origins that must be known before `unit` is computed, in the region where it lies."""
        if isinstance(unit, Node):
            return [self.origin(ref) for ref in self.reads(unit)]
        if unit not in self._externals:
            self._externals[unit] = list(dict.fromkeys(self._outside(unit)))
        return self._externals[unit]

    def _outside(self, unit: Loop | Branches) -> Iterator[Ref]:
        own: set[Ref] = set()
        ahead: list[Ref] = []
        if isinstance(unit, Loop):
            live = self.variables[unit]
            literals = {unit.literal}
            own = {ref for index in live for ref in unit.carried[index]}
            ahead = [unit.condition, *(unit.following[index] for index in live)]
            yield from (self.origin(unit.initial[index]) for index in live)
        else:
            literals = set(unit.literals)
            yield self.origin(unit.selector)
            for given in unit.results:
                ahead += [ref for index in self.outputs[unit] if isinstance(ref := given[index], Ref)]
        seen: set[Ref] = set()
        while ahead:
            ref = self.origin(ahead.pop())
            if ref in seen or ref in own:
                continue
            seen.add(ref)
            if ref not in self.fed and self._inside(ref, literals):
                ahead += self.needs(self.unit(ref))
            else:
                yield ref

    def _inside(self, ref: Ref, literals: set[object]) -> bool:
        if ref in self.carried:
            return False
        node = self.flat.nodes.get(ref.node)
        if node is None or node.op in VARIABLES:
            return False
        # A constant is made wherever it is read: what is known while tracing must not arrive from outside.
        return node.op == "Const" or not literals.isdisjoint(self.flat.scopes.get(ref.node, frozenset()))
