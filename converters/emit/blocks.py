"""What a network repeats as functions: convolutions with what follows them, then blocks, the most saving first."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from converters.emit.block_arguments import BlockArguments
from converters.emit.function_names import block_name, short_name, unit_name
from converters.emit.statements import Ref, Statement, refs
from converters.emit.stretches import local_numbers, outside, renumbered, token

__all__ = ["RESERVED", "Block", "extract_blocks"]

_LONGEST = 64
"""Statements of a block."""

_MOST_TENSORS = 3
_MOST_PARAMETERS = 10

#: What a block's function cannot be called, beside the arguments of layers.
RESERVED = frozenset(
    (
        "annotations", "branch", "build", "inputs", "keras", "layers", "load", "model", "name", "names", "np", "number",
        "ops", "outputs", "part", "safe_open", "shared", "u", "v", "w", "weights", "x", "y", "z",
    )
)  # fmt: skip

_KERNELS = frozenset(
    (
        "Conv1D", "Conv2D", "Conv3D", "Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose", "Dense",
        "DepthwiseConv1D", "DepthwiseConv2D", "SeparableConv1D", "SeparableConv2D",
    )
)  # fmt: skip
_FOLLOWERS = frozenset(("Activation", "BatchNormalization", "ELU", "LeakyReLU", "PReLU", "ReLU"))
_PADDINGS = frozenset(("ZeroPadding1D", "ZeroPadding2D", "ZeroPadding3D"))


@dataclass
class Block:
    """A function of the written file.

    Attributes:
        name: of the function.
        tensors: how many tensors it is given; in `body` they are `Ref(0)` to `Ref(tensors - 1)`.
        body: statements; options and names may hold `Parameter`, `Word` and `Item`.
        parameters: its other arguments, in order -> default, or `...` where there is none.
        positional: how many of them are given without their names.
        layers: how many layers it makes.
        branched: whether branches open and join in it.
    """

    name: str
    tensors: int
    body: list[Statement]
    parameters: dict[str, Any]
    positional: int
    layers: int
    branched: bool = False


def extract_blocks(statements: list[Statement], outputs: Any) -> tuple[list[Statement], list[Block]]:
    """Replace what is repeated by calls.

    Args:
        statements: of a program.
        outputs: the structure of what it gives.

    Returns:
        The statements with calls in them, and the blocks, each behind those that it calls.
    """
    finder = _Finder(statements, {ref.number for ref in refs(outputs)})
    finder.extract_units()
    finder.extract_repeats()
    return finder.statements, finder.blocks


@dataclass
class _Candidate:
    """Stretches of statements that are the same but for numbers and names.

    Attributes:
        starts, length: where they are.
        tensors: how many each is given.
        values: the arguments of the block's function, for each.
        beside: layers with kernels in front of its branches or behind them.
    """

    starts: list[int]
    length: int
    tensors: int
    values: list[dict[str, Any]] = field(default_factory=list)
    beside: int = 0


class _Finder:
    def __init__(self, statements: list[Statement], kept: set[int]) -> None:
        self.statements = statements
        self.kept = kept
        self.blocks: list[Block] = []
        self.names = set(RESERVED)
        for statement in statements:
            self.names.update((*statement.options, short_name(statement)))

    # -- convolution, BatchNorm, activation -------------------------------------------------------------------------

    def extract_units(self) -> None:
        """Make a function of each kind of convolution with what follows it, where there are three of the kind."""
        uses = self._uses()
        groups: dict[Any, list[tuple[int, int]]] = defaultdict(list)
        for start, stop in self._chains(uses):
            groups[self._signature(start, stop)].append((start, stop))
        chosen = [group for group in groups.values() if len(group) >= 3]
        made = []
        for group in chosen:
            length = group[0][1] - group[0][0]
            made.append(self._block(_Candidate([start for start, _ in group], length, 1), unit=True))
        self._replace([item for item in made if item is not None])

    def _chains(self, uses: Counter[int]) -> Iterator[tuple[int, int]]:
        place = 0
        while place < len(self.statements):
            if self.statements[place].function not in _KERNELS:
                place += 1
                continue
            stop = place + 1
            while stop < len(self.statements) and stop - place < 4 and self._follows(stop, _FOLLOWERS, uses):
                stop += 1
            start = place
            if place and self.statements[place - 1].function in _PADDINGS and self._follows(place, _KERNELS, uses):
                start -= 1
            if stop - start > 1:
                yield start, stop
            place = stop

    def _follows(self, place: int, kinds: frozenset[str], uses: Counter[int]) -> bool:
        """Whether a statement takes what the one before it gives, which nothing else takes."""
        statement, before = self.statements[place], self.statements[place - 1]
        given = before.outputs[0]
        alone = len(before.outputs) == 1 and given is not None and uses[given] == 1 and given not in self.kept
        return (
            statement.form == "layer"
            and statement.function in kinds
            and alone
            and statement.operands == [(None, Ref(given or 0))]
        )

    def _signature(self, start: int, stop: int) -> Any:
        return tuple(token(statement) for statement in self.statements[start:stop])

    # -- repeated stretches -------------------------------------------------------------------------------------------

    def extract_repeats(self) -> None:
        """Make functions of repeated stretches, one after the other, while that makes the file shorter."""
        while True:
            best, best_score = None, 0.0
            candidates = sorted(self._candidates(), key=_most_saved, reverse=True)
            for candidate in candidates:
                if _most_saved(candidate) <= best_score:
                    break
                made = self._block(candidate)
                if made is None:
                    continue
                score = _most_saved(candidate) - len(candidate.starts) * (_effort(made[0]) + candidate.beside)
                if score > best_score:
                    best, best_score = made, score
            if best is None:
                return
            self._replace([best])

    def _candidates(self) -> list[_Candidate]:
        """Stretches that come at least twice, that take few tensors and give one."""
        uses = self._uses()
        tokens: dict[Any, int] = {}
        own = [tokens.setdefault(token(statement), len(tokens)) for statement in self.statements]
        longer: dict[Any, int] = {}
        found: dict[int, list[int]] = defaultdict(list)
        shapes: dict[int, tuple[int, int]] = {}
        for start in range(len(self.statements)):
            signature = -1
            local: dict[int, int] = {}
            made: dict[int, int] = {}
            taken = 0
            for stop in range(start + 1, min(len(self.statements), start + _LONGEST) + 1):
                statement = self.statements[stop - 1]
                if statement.form == "shared":
                    break
                for ref in refs([value for _, value in statement.operands]):
                    if ref.number not in local:
                        taken += 1
                        local[ref.number] = -taken
                    if ref.number in made:
                        made[ref.number] -= 1
                        if not made[ref.number]:
                            del made[ref.number]
                if taken > _MOST_TENSORS:
                    break
                read = tuple(local[ref.number] for ref in refs([value for _, value in statement.operands]))
                signature = longer.setdefault((signature, own[stop - 1], read), len(longer))
                for number in statement.outputs:
                    if number is not None:
                        local[number] = len(local)
                        made[number] = uses[number] + (number in self.kept)
                if stop - start > 1 and len(made) == 1 and next(iter(made)) in statement.outputs:
                    found[signature].append(start)
                    shapes[signature] = (stop - start, taken)
        candidates = []
        for signature, starts in found.items():
            length, tensors = shapes[signature]
            apart: list[int] = []
            for start in starts:
                if not apart or start >= apart[-1] + length:
                    apart.append(start)
            if len(apart) > 1:
                candidates.append(_Candidate(apart, length, tensors))
        return candidates

    # -- making a block -----------------------------------------------------------------------------------------------

    def _block(self, candidate: _Candidate, *, unit: bool = False) -> tuple[Block, _Candidate] | None:
        """A function for a candidate, and the values of its arguments in each occurrence; None if it has too many."""
        stretches = [self.statements[start : start + candidate.length] for start in candidate.starts]
        branched, beside = self._regions(stretches[0])
        if branched > 1 or _is_periodic(stretches[0]):
            return None  # two blocks, one behind the other
        candidate.beside = beside if branched else 0
        arguments = BlockArguments(stretches)
        if len(arguments.values) > _MOST_PARAMETERS:
            return None
        parameters, positional = arguments.signature()
        body = [arguments.statement(place) for place in range(candidate.length)]
        local = local_numbers(stretches[0])
        for statement in body:
            statement.operands = [(key, renumbered(value, local)) for key, value in statement.operands]
            statement.outputs = [None if number is None else local[number] for number in statement.outputs]
        layers = sum(self._layers(statement) for statement in body)
        values = [{key: arguments.values[key][number] for key in parameters} for number in range(len(stretches))]
        name = unit_name(body) if unit else block_name(stretches, values)
        made = Block(name, candidate.tensors, body, parameters, positional, layers, branched > 0)
        candidate.values = values
        return made, candidate

    def _regions(self, stretch: Sequence[Statement]) -> tuple[int, int]:
        """How often branches open and join again in a stretch, and how many kernels lie outside of them."""
        last: dict[int, int] = {}
        for place, statement in enumerate(stretch):
            last.update(dict.fromkeys((ref.number for ref in refs([v for _, v in statement.operands])), place))
        branched = {block.name for block in self.blocks if block.branched}
        plain = {block.name for block in self.blocks} - branched | _KERNELS
        regions, beside, begin = 0, 0, 0
        for place, statement in enumerate(stretch):
            crossing = [number for number, end in last.items() if end > place and self._before(number, stretch, place)]
            if place == len(stretch) - 1 or (len(crossing) == 1 and crossing[0] in statement.outputs):
                inside = stretch[begin : place + 1]
                regions += len(inside) > 1 or inside[0].function in branched
                beside += len(inside) == 1 and inside[0].function in plain
                begin = place + 1
        return regions, beside

    @staticmethod
    def _before(number: int, stretch: Sequence[Statement], place: int) -> bool:
        """Whether a tensor is there behind statement `place`: made before, or none of the stretch's."""
        return all(number not in statement.outputs for statement in stretch[place + 1 :])

    def _layers(self, statement: Statement) -> int:
        if statement.form == "block":
            return next(block.layers for block in self.blocks if block.name == statement.function)
        return int(statement.form == "layer")

    def _replace(self, made: Sequence[tuple[Block, _Candidate]]) -> None:
        """Put calls in the place of the stretches."""
        calls: dict[int, tuple[int, Statement]] = {}
        for block, candidate in made:
            block.name = self._new_name(block.name)
            self.blocks.append(block)
            for start, values in zip(candidate.starts, candidate.values, strict=True):
                stretch = self.statements[start : start + candidate.length]
                shown = [
                    key
                    for key, value in values.items()
                    if block.parameters[key] is ... or block.parameters[key] != value
                ]
                operands: list[tuple[str | None, Any]] = [(None, ref) for ref in outside(stretch)]
                outputs = [number for number in stretch[-1].outputs if number is not None]
                call = Statement("block", block.name, operands, list(outputs), values, shown, block.positional)
                calls[start] = (candidate.length, call)
        statements, place = [], 0
        while place < len(self.statements):
            length, statement = calls.get(place, (1, self.statements[place]))
            statements.append(statement)
            place += length
        self.statements = statements

    def _new_name(self, wanted: str) -> str:
        base = re.sub(r"(_\d+)+$", "", wanted)
        if base in self.names - {block.name for block in self.blocks} or base.endswith("_name"):
            wanted = f"{wanted}_block"
        name, number = wanted, 1
        while name in self.names:
            number += 1
            name = f"{wanted}_{number}"
        self.names.add(name)
        return name

    def _uses(self) -> Counter[int]:
        """How often each tensor is read."""
        return Counter(ref.number for item in self.statements for ref in refs([value for _, value in item.operands]))


def _is_periodic(stretch: Sequence[Statement]) -> bool:
    """Whether a stretch is a shorter one several times."""
    tokens, length = [token(statement) for statement in stretch], len(stretch)
    return any(tokens[period:] == tokens[:-period] for period in range(1, length // 2 + 1) if length % period == 0)


def _most_saved(candidate: _Candidate) -> float:
    """Lines that the file is shorter by, less what a reader pays for each further tensor."""
    count, length = len(candidate.starts), candidate.length
    return count * (length - 1) - (length + 3) - 0.5 * count * (candidate.tensors - 1)


def _effort(block: Block) -> float:
    """What a call's arguments cost its reader, in lines."""
    # A block ends in its activation rather than begin with the one before.
    late = 0.1 if block.body[0].function in ("Activation", "Identity", "ReLU") else 0.0
    words = sum(type(default) is not int and key not in ("name", "names") for key, default in block.parameters.items())
    return late + 0.25 * max(0, words - 2) + (2 if "names" in block.parameters else 0)
