"""Pickles of dictionaries of NumPy arrays, interpreted here: nothing of Python's `pickle` runs.

A pickle is a program for a stack machine, and some of its instructions call what they name. This interpreter knows
the instructions that data need; of what can be named it knows NumPy's array and type, and builds stand-ins of them
that are checked before an array is made. Python's own unpickler with a list of allowed names would not do: a few
bytes make it allocate gigabytes (a far memo index, a long bytearray) or hash a nested tuple for ever.

Instructions: https://github.com/python/cpython/blob/main/Lib/pickletools.py. What NumPy writes: `array_reduce` and
`arraydescr_reduce` of numpy/_core/src/multiarray, which are the same since NumPy 1.0.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from modelzoo.checkpoints.damage import Damage
from modelzoo.checkpoints.tf_types import element_count

__all__ = ["Refusal", "unpickle"]

_MOST_DIGITS = 20
_MOST_INSTRUCTIONS = 2_000_000  # of which an array takes some twenty


class Refusal(Exception):
    """A pickle asks for something that is no data. Never leaves this package: the reader names the file.

    Attributes:
        wanted: what it asked for, `module.name`.
    """

    def __init__(self, wanted: str) -> None:
        self.wanted = wanted
        super().__init__(wanted)


class _Mark:
    """What the instruction MARK puts on the stack."""


class _Named:
    """Something that a pickle names, out of the few things that it may."""

    def __init__(self, kind: str) -> None:
        self.kind = kind


_NDARRAY, _DTYPE, _RECONSTRUCT, _ENCODE = (_Named(kind) for kind in ("ndarray", "dtype", "reconstruct", "encode"))

#: All that a pickle of NumPy arrays names, by NumPy 1 and 2 and by Python 2 and 3.
_ALLOWED = {
    "numpy.ndarray": _NDARRAY,
    "numpy.dtype": _DTYPE,
    "numpy.core.multiarray._reconstruct": _RECONSTRUCT,
    "numpy._core.multiarray._reconstruct": _RECONSTRUCT,
    "_codecs.encode": _ENCODE,
}


class _Type:
    """A `numpy.dtype` in the making: one of numbers, or of objects."""

    def __init__(self, arguments: tuple[Any, ...]) -> None:
        code = _text(arguments[0]) if arguments else ""
        self.is_object = code in ("O", "O4", "O8", "|O")
        if not self.is_object:
            if len(code) > 4 or code[:1] not in tuple("biufc"):
                raise Damage(f"a pickled array has the type {code[:40]!r}, which is no number")
            try:
                self.dtype = np.dtype(code)
            except TypeError:
                raise Damage(f"a pickled array has the type {code!r}, which is no number") from None
            if self.dtype.kind not in "biufc":
                raise Damage(f"a pickled array has the type {code!r}, which is no number")

    def build(self, state: Any) -> None:
        order = _text(state[1]) if isinstance(state, tuple) and len(state) > 1 else ""
        if order not in ("<", ">", "|", "="):
            raise Damage("a pickled type has no byte order")
        if not self.is_object and order != "|":
            self.dtype = self.dtype.newbyteorder(">" if order == ">" else "<")


class _Array:
    """A `numpy.ndarray` in the making. `value` is set by `build`: an array, or the one object of an object array."""

    def __init__(self) -> None:
        self.value: Any = None

    def build(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) not in (4, 5):
            raise Damage("a pickled array is incomplete")
        shape, type_, fortran, raw = state[-4:]
        if not isinstance(type_, _Type) or not isinstance(shape, tuple) or not all(type(n) is int for n in shape):
            raise Damage("a pickled array has no proper type and shape")
        if type_.is_object:
            if shape != () or not isinstance(raw, list) or len(raw) != 1:
                raise Damage("an array of several objects")
            self.value = raw[0]
            return
        if not isinstance(raw, bytes | memoryview):
            raise Damage("a pickled array has no values")
        if element_count(shape) * type_.dtype.itemsize != len(raw):
            raise Damage(f"{len(raw)} bytes do not make {type_.dtype.name} of shape {list(shape)}")
        flat = np.frombuffer(raw, type_.dtype)
        self.value = flat.reshape(shape[::-1]).T if fortran else flat.reshape(shape)


def unpickle(data: memoryview) -> Any:
    """The object of a pickle: dictionaries, lists, tuples, numbers, `str`, bytes, and NumPy arrays of numbers.

    Bytes are slices of `data`, and arrays views of it, where the pickle holds them plainly; strings of Python 2 are
    bytes. An array of one object is that object.

    Raises:
        Refusal: the pickle names a class or a function that arrays do not need.
        Damage: it is cut short, contradicts itself, or has instructions that no pickle of arrays has.
    """
    try:
        return _resolved(_Machine(data).run())
    except (IndexError, KeyError, ValueError, TypeError, OverflowError, RecursionError, AttributeError) as error:
        raise Damage(f"its pickle is damaged ({type(error).__name__})") from error


def _resolved(item: Any) -> Any:
    return item.value if isinstance(item, _Array) else item


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bytes | memoryview) and len(value) < 1 << 16:
        return bytes(value).decode("latin-1")
    raise Damage("its pickle has something else where a text belongs")


class _Machine:
    def __init__(self, data: memoryview) -> None:
        self.data = data
        self.at = 0
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.encodable = 2 * len(data)

    def run(self) -> Any:
        for _ in range(_MOST_INSTRUCTIONS):
            code = bytes(self.take(1))
            if code == b".":
                return self.pop()
            if code in _SIZED:
                width, is_text = _SIZED[code]
                stored = self.take(self.number(width))
                self.stack.append(str(stored, "utf-8", "surrogatepass") if is_text else stored)
            elif code in _CONSTANTS:
                self.stack.append(_CONSTANTS[code])
            elif code in _ACTIONS:
                _ACTIONS[code](self)
            elif code in _CALLS:
                raise Refusal(f"the instruction {_CALLS[code]}")
            else:
                raise Damage(f"its pickle has the instruction {code!r}, which no pickle of arrays needs")
        raise Damage("its pickle has more instructions than any dictionary of arrays")

    # Reading

    def take(self, size: int) -> memoryview:
        if size > len(self.data) - self.at:
            raise Damage("its pickle is cut short")
        self.at += size
        return self.data[self.at - size : self.at]

    def number(self, width: int) -> int:
        return int.from_bytes(self.take(width), "little")

    def line(self) -> str:
        # No name or number is longer; searching on would be quadratic.
        piece = bytes(self.data[self.at : self.at + 1024])
        length = piece.find(b"\n")
        if length < 0:
            raise Damage("its pickle has a line without an end")
        self.at += length + 1
        return piece[:length].decode("latin-1")

    # The stack

    def pop(self) -> Any:
        if not self.stack or self.stack[-1] is _Mark:
            raise Damage("its pickle takes more than it has")
        return self.stack.pop()

    def pop_to_mark(self) -> list[Any]:
        for start in range(len(self.stack) - 1, -1, -1):
            if self.stack[start] is _Mark:
                items = self.stack[start + 1 :]
                del self.stack[start:]
                return items
        raise Damage("its pickle has no mark where one is needed")

    def top(self, kind: type) -> Any:
        if not self.stack or not isinstance(self.stack[-1], kind):
            raise Damage("its pickle fills something that is no dictionary and no list")
        return self.stack[-1]

    # Instructions

    def name(self, module: str, name: str) -> None:
        wanted = f"{module}.{name}"
        if wanted not in _ALLOWED:
            raise Refusal(wanted[:200])
        self.stack.append(_ALLOWED[wanted])

    def global_(self) -> None:
        self.name(self.line(), self.line())

    def stack_global(self) -> None:
        name, module = self.pop(), self.pop()
        self.name(_text(module), _text(name))

    def instance(self) -> None:
        module, name = self.line(), self.line()
        raise Refusal(f"{module}.{name}"[:200])

    def reduce(self) -> None:
        arguments, named = self.pop(), self.pop()
        if not isinstance(named, _Named) or not isinstance(arguments, tuple):
            raise Refusal("a call of something that is no function")
        if named is _RECONSTRUCT and arguments and arguments[0] is _NDARRAY:
            self.stack.append(_Array())
        elif named is _DTYPE:
            self.stack.append(_Type(arguments))
        elif named is _ENCODE and len(arguments) == 2 and _text(arguments[1]) in ("latin1", "latin-1"):
            if not isinstance(arguments[0], str):
                raise Damage("its pickle encodes something that is no text")
            # The same text again and again would let a small file unfold into a large one.
            self.encodable -= len(arguments[0])
            if self.encodable < 0:
                raise Damage("its pickle encodes more text than it has")
            self.stack.append(arguments[0].encode("latin-1"))
        else:
            raise Refusal(f"a call of {named.kind} with arguments that no array needs")

    def build(self) -> None:
        state = self.pop()
        if not self.stack or not isinstance(self.stack[-1], _Array | _Type):
            raise Refusal("the state of something that is no array")
        self.stack[-1].build(state)

    def set_items(self, items: list[Any]) -> None:
        found = self.top(dict)
        if len(items) % 2:
            raise Damage("its pickle has a key without a value")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if type(key) is memoryview:
                key = bytes(key)
            # Of tuples in tuples, a hash can take for ever.
            if type(key) not in (str, bytes, int):
                raise Damage("its pickle has a key that is neither a text nor a number")
            found[key] = _resolved(value)

    def set_item(self) -> None:
        value, key = self.pop(), self.pop()
        self.set_items([key, value])

    def append(self) -> None:
        value = self.pop()
        self.top(list).append(_resolved(value))

    def extend(self) -> None:
        items = self.pop_to_mark()
        self.top(list).extend(_resolved(item) for item in items)

    def dictionary(self) -> None:
        items = self.pop_to_mark()
        self.stack.append({})
        self.set_items(items)

    def tuple_of(self, size: int) -> None:
        items = [_resolved(self.pop()) for _ in range(size)][::-1]
        self.stack.append(tuple(items))

    def remember(self, place: int) -> None:
        if not self.stack:
            raise Damage("its pickle remembers what it does not have")
        self.memo[place] = self.stack[-1]

    def recall(self, place: int) -> None:
        self.stack.append(self.memo[place])

    def digits(self) -> int:
        text = self.line().rstrip("L")
        if len(text) > _MOST_DIGITS:
            raise Damage("its pickle has a number without end")
        return int(text)

    def short_long(self) -> None:
        size = self.number(1)
        if size > _MOST_DIGITS:
            raise Damage("its pickle has a number without end")
        self.stack.append(int.from_bytes(self.take(size), "little", signed=True))


#: Instructions that put bytes or a text on the stack -> (width of the length in front, whether it is a text).
_SIZED = {
    b"U": (1, False),
    b"T": (4, False),
    b"C": (1, False),
    b"B": (4, False),
    b"\x8e": (8, False),
    b"\x8c": (1, True),
    b"X": (4, True),
    b"\x8d": (8, True),
}

_CONSTANTS: dict[bytes, Any] = {b"N": None, b"\x88": True, b"\x89": False, b")": (), b"(": _Mark}

_ACTIONS: dict[bytes, Callable[[_Machine], Any]] = {
    b"\x80": lambda machine: machine.take(1),
    b"\x95": lambda machine: machine.take(8),  # a frame's length: of use to streams only
    b"K": lambda machine: machine.stack.append(machine.number(1)),
    b"M": lambda machine: machine.stack.append(machine.number(2)),
    b"J": lambda machine: machine.stack.append(int.from_bytes(machine.take(4), "little", signed=True)),
    b"I": lambda machine: machine.stack.append(machine.digits()),
    b"L": lambda machine: machine.stack.append(machine.digits()),
    b"\x8a": _Machine.short_long,
    b"G": lambda machine: machine.stack.append(float(np.frombuffer(machine.take(8), ">f8")[0])),
    b"0": _Machine.pop,
    b"1": _Machine.pop_to_mark,
    b"]": lambda machine: machine.stack.append([]),
    b"l": lambda machine: machine.stack.append([_resolved(item) for item in machine.pop_to_mark()]),
    b"a": _Machine.append,
    b"e": _Machine.extend,
    b"}": lambda machine: machine.stack.append({}),
    b"d": _Machine.dictionary,
    b"s": _Machine.set_item,
    b"u": lambda machine: machine.set_items(machine.pop_to_mark()),
    b"t": lambda machine: machine.stack.append(tuple(_resolved(item) for item in machine.pop_to_mark())),
    b"\x85": lambda machine: machine.tuple_of(1),
    b"\x86": lambda machine: machine.tuple_of(2),
    b"\x87": lambda machine: machine.tuple_of(3),
    b"p": lambda machine: machine.remember(machine.digits()),
    b"q": lambda machine: machine.remember(machine.number(1)),
    b"r": lambda machine: machine.remember(machine.number(4)),
    b"\x94": lambda machine: machine.remember(len(machine.memo)),
    b"g": lambda machine: machine.recall(machine.digits()),
    b"h": lambda machine: machine.recall(machine.number(1)),
    b"j": lambda machine: machine.recall(machine.number(4)),
    b"c": _Machine.global_,
    b"\x93": _Machine.stack_global,
    b"i": _Machine.instance,
    b"R": _Machine.reduce,
    b"b": _Machine.build,
}

#: Instructions that make objects of any class or fetch what lies elsewhere: refused by name.
_CALLS = {
    b"o": "OBJ",
    b"\x81": "NEWOBJ",
    b"\x92": "NEWOBJ_EX",
    b"P": "PERSID",
    b"Q": "BINPERSID",
    b"\x82": "EXT1",
    b"\x83": "EXT2",
    b"\x84": "EXT4",
    b"\x97": "NEXT_BUFFER",
    b"\x98": "READONLY_BUFFER",
}
