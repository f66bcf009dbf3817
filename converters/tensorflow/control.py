"""Switch, Merge, Enter and Exit, read back as the loops and conditionals that they were made from.

TensorFlow 1 wrote `tf.while_loop` and `tf.cond` as dataflow: values are dead where a branch is not taken, and nodes
in a frame run once an iteration (Yu et al., Dynamic Control Flow in Large-Scale Machine Learning, 2018,
https://arxiv.org/abs/1805.01772). Their gradients need Python objects that no file keeps. Read back, they become
`tf.while_loop` and `tf.cond` again, whose gradients TensorFlow knows.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from converters.tensorflow.graph import Branches, FlatGraph, Loop, Node, Ref, Scope, output_count
from modelzoo.errors import InvalidGraphError

__all__ = ["find_control_flow", "name_aliases"]

_SWITCHES = ("Switch", "RefSwitch")
_MERGES = ("Merge", "RefMerge")
_ENTERS = ("Enter", "RefEnter")
_NEXT = ("NextIteration", "RefNextIteration")
_EXITS = ("Exit", "RefExit")

#: Operators whose output is their input under another name.
_NAMES = ("Identity", "RefIdentity", "IdentityN", "Print", "ReadVariableOp", "LoopCond", "PlaceholderWithDefault")


class _Side(NamedTuple):
    """Literal of a branch: where `selector` is `side`, met in `frame`."""

    selector: Ref
    side: bool
    frame: Any


class _Frame(NamedTuple):
    """Literal of a V1 loop."""

    key: tuple[str, str]


def find_control_flow(flat: FlatGraph) -> None:
    """Check all edges, and fill `flat` with aliases, scopes, loops and branches.

    Raises:
        InvalidGraphError: a value that no node gives, a cycle outside of a loop, or control flow of a form that
            `tf.while_loop` and `tf.cond` never write.
    """
    _Reader(flat).run()
    _drop_invariants(flat)


def name_aliases(flat: FlatGraph) -> None:
    """Note which outputs are only other names of what their node reads."""
    for node in flat.nodes.values():
        if node.op in _NAMES or node.op in _ENTERS or node.op in _NEXT:
            for index, ref in enumerate(node.inputs[: None if node.op == "IdentityN" else 1]):
                flat.alias[Ref(node.name, index)] = ref


def _drop_invariants(flat: FlatGraph) -> None:
    """Variables of loops that no iteration changes are the values from which they start.

    So a handle that a loop carries leads to its variable, and what a loop only reads is captured.
    """
    changed = True
    while changed:
        changed = False
        for loop in flat.loops:
            for index in reversed(range(len(loop.initial))):
                if flat.origin(loop.following[index]) not in loop.carried[index]:
                    continue
                for ref in (*loop.carried[index], *loop.outputs[index]):
                    flat.alias[ref] = loop.initial[index]
                for listed in (loop.initial, loop.carried, loop.following, loop.outputs):
                    del listed[index]
                changed = True


class _Reader:
    def __init__(self, flat: FlatGraph) -> None:
        self.flat = flat
        self.carried = {ref: loop for loop in flat.loops for refs in loop.carried for ref in refs}
        self.of_node = {loop.name: loop for loop in flat.loops}
        self.branches_of = {item.name: item for item in flat.branches}
        self.frame: dict[str, _Frame | None] = {}
        self.parent: dict[_Frame, _Frame | None] = {}
        self.members: dict[_Frame, dict[str, list[Node]]] = {}

    def run(self) -> None:
        name_aliases(self.flat)
        self._check_edges()
        order = list(self._ordered())
        for node in order:
            self._place(node)
        for frame, members in self.members.items():
            self._loop(frame, members)
        self._conditionals(order)

    # -- edges ----------------------------------------------------------------------------------------------------

    def _check_edges(self) -> None:
        counts = {name: self._outputs(node) for name, node in self.flat.nodes.items()}
        refs = [(node.name, ref) for node in self.flat.nodes.values() for ref in node.inputs]
        for loop in self.flat.loops:
            refs += [(loop.name, ref) for ref in (loop.condition, *loop.following)]
        for item in self.flat.branches:
            refs += [(item.name, ref) for branch in item.results for ref in branch if isinstance(ref, Ref)]
        for reader, ref in refs:
            if ref not in self.carried and ref.output >= counts.get(ref.node, -1):
                raise InvalidGraphError(
                    f"Node {reader!r} reads '{ref.node}:{ref.output}', which no node gives.",
                    received=str(ref),
                    hint="the file is damaged or incomplete: fetch or export it again",
                )
        for node in self.flat.nodes.values():
            for name in node.controls:
                if name not in counts:
                    raise InvalidGraphError(f"Node {node.name!r} waits for {name!r}, which does not exist.")

    def _outputs(self, node: Node) -> int:
        if node.name in self.of_node:
            return len(node.inputs)
        if node.name in self.branches_of:
            return len(self.branches_of[node.name].outputs)
        index = 0
        while Ref(node.name, index) in self.flat.alias:
            index += 1
        # Of an operator that nobody knows, the allow-list speaks later, in words of its own.
        return index or output_count(node) or 1_000

    def _before(self, node: Node) -> Iterator[str]:
        """The nodes that must be placed before `node`: those it reads, but for the way back of a loop."""
        refs = list(node.inputs)
        if node.name in self.branches_of:
            refs += [ref for branch in self.branches_of[node.name].results for ref in branch if isinstance(ref, Ref)]
        if node.name in self.of_node:
            refs += [self.of_node[node.name].condition, *self.of_node[node.name].following]
        index = 0
        while (ref := Ref(node.name, index)) in self.flat.alias:  # the results of a call
            refs.append(self.flat.alias[ref])
            index += 1
        for ref in refs:
            if ref in self.carried:
                yield from self._grounds(ref)
            elif not (node.op in _MERGES and self.flat.nodes[ref.node].op in _NEXT):
                yield ref.node
        yield from node.controls

    def _grounds(self, ref: Ref) -> Iterator[str]:
        """The nodes from which a loop's variable starts."""
        for initial in self.carried[ref].initial:
            if initial in self.carried:
                yield from self._grounds(initial)
            else:
                yield initial.node

    def _ordered(self) -> Iterator[Node]:
        done: set[str] = set()
        for start in self.flat.nodes:
            if start in done:
                continue
            stack = [(start, self._before(self.flat.nodes[start]))]
            path = {start}
            while stack:
                name, waiting = stack[-1]
                following = next((item for item in waiting if item not in done), None)
                if following is None:
                    stack.pop()
                    path.discard(name)
                    done.add(name)
                    yield self.flat.nodes[name]
                elif following in path:
                    names = [item for item, _ in stack]
                    circle = [*names[names.index(following) :], following]
                    raise InvalidGraphError(
                        "The graph contains a cycle: " + " <- ".join(circle[:12]), hint="the file is damaged"
                    )
                else:
                    path.add(following)
                    stack.append((following, self._before(self.flat.nodes[following])))

    # -- where each node lies -------------------------------------------------------------------------------------

    def _scope(self, ref: Ref) -> Scope:
        if ref in self.carried:
            return frozenset().union(*(self._scope(initial) for initial in self.carried[ref].initial))
        node = self.flat.nodes[ref.node]
        scope = self.flat.scopes.get(ref.node, frozenset())
        if node.op in _SWITCHES and not self._is_loop_switch(node):
            return scope | {_Side(self._selector(node), ref.output == 1, self.frame[node.name])}
        return scope

    def _is_loop_switch(self, node: Node) -> bool:
        return self.flat.nodes[node.inputs[1].node].op == "LoopCond" if len(node.inputs) == 2 else False

    def _selector(self, node: Node) -> Ref:
        ref = node.inputs[1]
        while ref in self.flat.alias and self.flat.nodes[ref.node].op in ("Identity", "RefIdentity"):
            ref = self.flat.alias[ref]
        return ref

    def _depth(self, frame: _Frame | None) -> int:
        depth = 0
        while frame is not None:
            depth += 1
            frame = self.parent[frame]
        return depth

    def _frame_of(self, name: str) -> _Frame | None:
        return self.frame.get(name)

    def _place(self, node: Node) -> None:
        if node.op in (*_SWITCHES, *_MERGES) and len(node.inputs) != 2:
            raise InvalidGraphError(f"Node {node.name!r} ({node.op}) has {len(node.inputs)} inputs, not 2.")
        back = [ref for ref in node.inputs if node.op in _MERGES and self.flat.nodes[ref.node].op in _NEXT]
        refs = [ref for ref in node.inputs if ref not in back]
        before = [name for ref in refs for name in (self._grounds(ref) if ref in self.carried else (ref.node,))]
        before += node.controls
        frame = max((self._frame_of(name) for name in before), key=self._depth, default=None)
        scope: Scope = node.scope.union(
            *(self._scope(ref) for ref in refs), *(self.flat.scopes.get(name, frozenset()) for name in node.controls)
        )
        if node.op in _MERGES and not back:
            scope = self._merged(node)
        elif node.op in _ENTERS:
            prefix = node.name.removesuffix(node.source[1])
            outer, frame = frame, _Frame((prefix, node.attr["frame_name"].s.decode("utf-8", "replace")))
            if self.parent.setdefault(frame, outer) != outer or frame == outer:
                raise InvalidGraphError(f"The frame {frame.key[1]!r} of {node.name!r} is entered from two others.")
            scope = scope | {frame}
        elif node.op in _EXITS:
            if frame is None:
                raise InvalidGraphError(f"Node {node.name!r} (Exit) lies in no loop.")
            scope = self._outside(scope, frame)
            frame_left = frame
            frame = self.parent[frame]
            self._member(frame_left, "Exit", node)
        if node.op in _ENTERS:
            assert frame is not None
            self._member(frame, "Enter", node)
        elif frame is not None and node.op in _NEXT:
            self._member(frame, "NextIteration", node)
        elif frame is not None and (back or node.op == "LoopCond"):
            self._member(frame, "Merge" if back else node.op, node)
        elif frame is not None and node.op in _SWITCHES and self._is_loop_switch(node):
            self._member(frame, "Switch", node)
        self.frame[node.name] = frame
        self.flat.scopes[node.name] = scope

    def _member(self, frame: _Frame, kind: str, node: Node) -> None:
        self.members.setdefault(frame, {}).setdefault(kind, []).append(node)

    def _outside(self, scope: Scope, frame: _Frame) -> Scope:
        """`scope` without what belongs to `frame` or to frames within."""

        def inside(literal: Any) -> bool:
            at = literal if isinstance(literal, _Frame) else literal.frame if isinstance(literal, _Side) else None
            while at is not None:
                if at == frame:
                    return True
                at = self.parent[at]
            return False

        return frozenset(literal for literal in scope if not inside(literal))

    def _merged(self, node: Node) -> Scope:
        first, second = (self._scope(ref) for ref in node.inputs)
        return (first & second) | node.scope

    # -- loops ----------------------------------------------------------------------------------------------------

    def _loop(self, frame: _Frame, members: dict[str, list[Node]]) -> None:
        merges = members.get("Merge", [])
        continued = {ref.node for merge in merges for ref in merge.inputs}
        for node in members.get("NextIteration", []):
            if node.name not in continued:
                raise InvalidGraphError(f"Node {node.name!r} (NextIteration) continues no variable of its loop.")
        conditions = members.get("LoopCond", [])
        if len(conditions) != 1 or not merges:
            raise InvalidGraphError(
                f"The frame {frame.key[1]!r} is no loop: it has {len(conditions)} conditions"
                f" and {len(merges)} variables.",
                hint="the file is damaged",
            )
        initial, carried, following, outputs = [], [], [], []
        for merge in merges:
            entered = [ref for ref in merge.inputs if self.flat.nodes[ref.node].op in _ENTERS]
            back = [ref for ref in merge.inputs if self.flat.nodes[ref.node].op in _NEXT]
            if len(entered) != 1 or len(back) != 1:
                raise InvalidGraphError(f"Node {merge.name!r} (Merge) does not begin and continue a loop's variable.")
            switches = [item for item in members.get("Switch", []) if item.inputs[0] == Ref(merge.name, 0)]
            names = [Ref(item.name, 0) for item in switches]
            exits = [item for item in members.get("Exit", []) if item.inputs and item.inputs[0] in names]
            initial.append(entered[0])
            following.append(back[0])
            carried.append([Ref(merge.name, 0), *(Ref(item.name, 1) for item in switches)])
            outputs.append([Ref(item.name, 0) for item in exits])
        parallel = members["Enter"][0].attr["parallel_iterations"].i
        self.flat.loops.append(
            Loop(
                frame.key[1],
                initial,
                carried,
                conditions[0].inputs[0],
                following,
                outputs,
                frame,
                parallel if 0 < parallel < 1000 else 10,
            )
        )

    # -- conditionals ---------------------------------------------------------------------------------------------

    def _conditionals(self, order: list[Node]) -> None:
        for node in order:
            if node.op in _SWITCHES and not self._is_loop_switch(node):
                for index in (0, 1):
                    self.flat.alias[Ref(node.name, index)] = node.inputs[0]
        merges = {node.name for members in self.members.values() for node in members.get("Merge", [])}
        grouped: dict[Any, list[tuple[Node, Ref, Ref]]] = {}
        for node in order:
            if node.op not in _MERGES or node.name in merges:
                continue
            first, second = (self._scope(ref) for ref in node.inputs)
            sides = [
                side
                for side in first - second
                if isinstance(side, _Side) and side._replace(side=not side.side) in second
            ]
            if len(sides) != 1 or len(first ^ second) != 2:
                raise InvalidGraphError(
                    f"Node {node.name!r} (Merge) does not join the two branches of one condition.",
                    hint="the file is damaged",
                )
            side = sides[0]
            taken, other = node.inputs if side.side else reversed(node.inputs)
            key = (side.selector, side.frame, self.flat.scopes[node.name])
            grouped.setdefault(key, []).append((node, other, taken))
        for (selector, frame, _), members in grouped.items():
            for level in self._levels(members):
                self._join(selector, frame, level)

    def _levels(self, members: list[tuple[Node, Ref, Ref]]) -> list[list[tuple[Node, Ref, Ref]]]:
        """Merges of one condition, apart where one is computed from another."""
        if len(members) == 1:
            return [members]
        names = {node.name for node, _, _ in members}
        level: dict[str, int] = {}
        for node, _, _ in members:  # in order: those before are placed already
            seen = {node.name}
            ahead = [node.name]
            highest = -1
            while ahead:
                for name in self._before(self.flat.nodes[ahead.pop()]):
                    if name not in seen:
                        seen.add(name)
                        ahead.append(name)
                        if name in names:
                            highest = max(highest, level[name])
            level[node.name] = highest + 1
        depth = max(level.values()) + 1
        return [[item for item in members if level[item[0].name] == number] for number in range(depth)]

    def _join(self, selector: Ref, frame: Any, members: list[tuple[Node, Ref, Ref]]) -> None:
        results: list[list[Ref | int]] = [[], []]
        outputs = []
        for node, otherwise, taken in members:
            # Output 1 of a Merge is the number of the input that was alive.
            for branch, ref in zip(results, (otherwise, taken), strict=True):
                branch += [ref, node.inputs.index(ref)]
            outputs += [Ref(node.name, 0), Ref(node.name, 1)]
        literals = [_Side(selector, side, frame) for side in (False, True)]
        self.flat.branches.append(Branches(members[0][0].name, selector, results, outputs, literals))
