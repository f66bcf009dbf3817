"""Prototxt: protobuf's text format, filled into Caffe's messages.

Specification: https://protobuf.dev/reference/protobuf/textformat-spec/. Read here rather than by protobuf, for two
reasons: an error names the layer and what was meant, and fields that no message of ours has are kept, so that a layer
type of one's own needs no change of `caffe.proto`.
"""

from __future__ import annotations

import difflib
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from converters.caffe.schema import STANDARD_TYPES, is_repeated, new
from converters.caffe.tokens import Scanner, Token, integer
from modelzoo.errors import ConversionError, InvalidGraphError, nearest

__all__ = ["Definition", "parse_prototxt", "read_prototxt"]

_DEEPEST = 100
_LONGEST = 1 << 24
_MOST_OTHERS = 1000
_FIRST_OF_FORKS = 200  # number of the first field of LayerParameter that BVLC's does not have

_OTHER_FORMAT = {"LayerParameter": "V1LayerParameter", "V1LayerParameter": "LayerParameter"}
_WRITTEN = {
    "LayerParameter": 'layers of today\'s format: layer { type: "Convolution" ... }',
    "V1LayerParameter": "layers of the older format: layers { type: CONVOLUTION ... }",
}
_TRUE, _FALSE = ("true", "True", "t"), ("false", "False", "f")
_SPECIAL = {"inf": math.inf, "infinity": math.inf, "inff": math.inf, "nan": math.nan, "nanf": math.nan}
_ENDS = {"{": "}", "<": ">", "[": "]"}


@dataclass(frozen=True)
class Definition:
    """What a prototxt says.

    Attributes:
        net: the `NetParameter`.
        lines: name of a layer -> the lines on which the layers of that name begin, in order.
        others: fields that no message of ours has, one mapping a layer that has any: name -> value, a dict for a
            message, a list where it was repeated. The layer's own field `others` is its number here, from 1.
    """

    net: Any
    others: tuple[dict[str, Any], ...] = ()
    lines: Mapping[str, Sequence[int]] = field(default_factory=dict)

    def others_of(self, layer: Any) -> dict[str, Any]:
        """The fields of other names of a `LayerParameter` of this network."""
        return self.others[layer.others - 1] if 0 < layer.others <= len(self.others) else {}


def read_prototxt(path: str | os.PathLike[str]) -> Definition:
    """The network that a file describes, as it is written: neither upgraded nor filtered.

    Raises:
        ConversionError: the file cannot be read.
        InvalidGraphError: it is no prototxt of a network; the message names line, column and layer.
    """
    place = Path(path)
    try:
        if place.stat().st_size > _LONGEST:
            raise InvalidGraphError(
                f"{place.name} is too long for a prototxt.", received=f"{place.stat().st_size} bytes", hint=_WHICH
            )
        data = place.read_bytes()
    except OSError as error:
        raise ConversionError(f"{place.name} cannot be read: {error.strerror}.", received=str(place)) from error
    return parse_prototxt(data, name=place.name)


_WHICH = "the text of the network (deploy.prototxt) comes first, its weights (.caffemodel) second"


def parse_prototxt(text: str | bytes, *, name: str = "<text>") -> Definition:
    """The network that a text describes, as it is written: neither upgraded nor filtered.

    Args:
        text: prototxt; bytes are UTF-8, and a string that is not is read as Latin-1.
        name: of the file, for messages.

    Raises:
        InvalidGraphError: it is no prototxt of a network; the message names line, column and layer.
    """
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    if b"\0" in data[:4096]:
        raise InvalidGraphError(
            f"{name} is a binary file, no prototxt.", received=f"{data[:16].hex(' ')} ...", hint=_WHICH
        )
    return _Parser(data, name).definition()


class _Place(NamedTuple):
    """Where unknown fields of a message go, if anywhere."""

    others: dict[str, Any] | None
    is_layer: bool


_NOWHERE = _Place(None, False)


class _Parser(Scanner):
    def __init__(self, data: bytes, file: str) -> None:
        self.others: list[dict[str, Any]] = []
        self.depth = 0
        self.layer: Any = None  # the layer that is being read
        self.layers = 0
        self.lines: dict[str, list[int]] = {}
        self.counted = (0, 1)  # a place of the text, and its line
        super().__init__(data, file)

    def definition(self) -> Definition:
        net = new("NetParameter")
        self._fields(net, "", _NOWHERE)
        return Definition(net, tuple(self.others), self.lines)

    def inside(self) -> str:
        if self.layer is None:
            return ""
        return f" in layer {self.layer.name!r}" if self.layer.name else f" in layer number {self.layers}"

    # ---- messages ----

    def _enter(self) -> str:
        """Pass over the bracket that opens a message; the one that closes it."""
        opening = self.take()
        self.depth += 1
        if self.depth > _DEEPEST:
            self.fail(f"Messages are nested more than {_DEEPEST} deep", opening)
        return _ENDS[opening.text]

    def _leave(self) -> None:
        self.take()
        self.depth -= 1

    def _fields(self, message: Any, end: str, place: _Place) -> None:
        """Fields up to the bracket `end` (left to the caller), or to the end of the file."""
        known = message.DESCRIPTOR.fields_by_name
        while not (self.next_is(end) if end else self.token.kind == "end"):
            token = self.token
            if token.kind != "name":
                if token.kind == "end":
                    self.fail(f"A message is not closed: {end!r} is missing")
                self.fail(f"The name of a field of {message.DESCRIPTOR.name} is expected")
            self.take()
            description = known.get(token.text)
            if description is None or description.number == 29999:
                self._unknown(message, token, place)
            elif description.message_type is not None:
                self._messages(message, description, token, place)
            else:
                self._scalars(message, description, token)
            self.takes(";", ",")

    def _messages(self, parent: Any, description: Any, name: Token, place: _Place) -> None:
        """The value of a field that is a message, or a list of them."""
        self.takes(":")
        if self.takes("["):
            if not is_repeated(description):
                self.fail(f"{name} is one message, not a list", name)
            while not self.takes("]"):
                self._message(parent, description, name, place)
                if not self.takes(",") and not self.next_is("]"):
                    self.fail("',' or ']' is expected")
            return
        self._message(parent, description, name, place)

    def _message(self, parent: Any, description: Any, name: Token, place: _Place) -> None:
        if not (self.next_is("{") or self.next_is("<")):
            self.fail(f"'{{' is expected: {name} is a message", hint=f"write {name} {{ ... }}")
        if is_repeated(description):
            child = getattr(parent, name.text).add()
        else:
            if parent.HasField(name.text):
                self.fail(f"{name} is given twice", name)
            child = getattr(parent, name.text)
            child.SetInParent()
        end = self._enter()
        if name.text in ("layer", "layers") and parent.DESCRIPTOR.name == "NetParameter":
            self._layer(child, end, name)
        elif place.is_layer and description.number >= _FIRST_OF_FORKS:
            assert place.others is not None
            inner: dict[str, Any] = {}
            self._fields(child, end, _Place(inner, False))
            if inner:
                place.others[name.text] = inner
        else:
            self._fields(child, end, _NOWHERE)
        self._leave()

    def _layer(self, layer: Any, end: str, start: Token) -> None:
        line = self._line(start)
        self.layer, self.layers = layer, self.layers + 1
        others: dict[str, Any] = {}
        first = self.token
        self._fields(layer, end, _Place(others, True))
        if layer.DESCRIPTOR.name != "LayerParameter" or not layer.type or layer.type in STANDARD_TYPES:
            for name in others:
                self._refuse_near(layer, name, first, 0.8 if layer.type else 0.7)
        if not layer.IsInitialized():
            self.fail(f"{layer.FindInitializationErrors()[0]} is missing", first)
        if others:
            self.others.append(others)
            layer.others = len(self.others)
        inner = layer.layer if layer.DESCRIPTOR.name == "V1LayerParameter" and layer.HasField("layer") else layer
        self.lines.setdefault(inner.name, []).append(line)
        self.layer = None

    def _line(self, token: Token) -> int:
        """The line of a token, which lies behind the one that was asked for before."""
        place, line = self.counted
        self.counted = (token.at, line + self.text.count("\n", place, token.at))
        return self.counted[1]

    # ---- fields that no message of ours has ----

    def _unknown(self, message: Any, name: Token, place: _Place) -> None:
        if place.others is None:
            self._refuse(message, name)
        if name.text not in place.others:
            if not place.is_layer:
                self._refuse_near(message, name.text, name)
            if len(place.others) >= _MOST_OTHERS:
                self.fail(f"More than {_MOST_OTHERS} fields of a layer are unknown", name)
        self._keep(place.others, name.text)

    def _refuse_near(self, message: Any, name: str, token: Token, likeness: float = 0.8) -> None:
        """A name that is almost one of the message's own, or of the older format's, is a slip of the pen."""
        other = _OTHER_FORMAT.get(message.DESCRIPTOR.name)
        of_other = other is not None and name in new(other).DESCRIPTOR.fields_by_name
        if of_other or difflib.get_close_matches(name, message.DESCRIPTOR.fields_by_name, n=1, cutoff=likeness):
            at = self.text.find(name, token.at)
            self._refuse(message, Token("name", name, max(at, token.at)))

    def _refuse(self, message: Any, name: Token) -> NoReturn:
        kind = message.DESCRIPTOR.name
        close = nearest(name.text, message.DESCRIPTOR.fields_by_name)
        hint = f"did you mean {close[0]!r}?" if close else f"it has {', '.join(message.DESCRIPTOR.fields_by_name)}"
        other = _OTHER_FORMAT.get(kind)
        if other is not None and name.text in new(other).DESCRIPTOR.fields_by_name:
            hint = f"it belongs to {_WRITTEN[other]}"
        if kind == "NetParameter" and name.text in new("SolverParameter").DESCRIPTOR.fields_by_name:
            hint = "this is the file of a solver: give the network that it names (net, train_net or test_net)"
        self.fail(f"{kind} has no field {name.text!r}", name, hint)

    def _keep(self, others: dict[str, Any], name: str) -> None:
        """Put the value that comes next under its name; a second one makes a list."""
        colon = self.takes(":")
        values = []
        is_list = self.takes("[")
        if is_list:
            while not self.takes("]"):
                values.append(self._value())
                if not self.takes(",") and not self.next_is("]"):
                    self.fail("',' or ']' is expected")
        else:
            if not colon and not (self.next_is("{") or self.next_is("<")):
                self.fail(f"':' or '{{' is expected after {name}")
            values.append(self._value())
        if name not in others:
            others[name] = values if is_list else values[0]
        elif isinstance(others[name], list):
            others[name].extend(values)
        else:
            others[name] = [others[name], *values]

    def _value(self) -> Any:
        """Any value, without a description: dict, str, bool, int or float."""
        if self.next_is("{") or self.next_is("<"):
            end = self._enter()
            inner: dict[str, Any] = {}
            while not self.next_is(end):
                if self.token.kind != "name":
                    self.fail(f"The name of a field, or {end!r}, is expected")
                self._keep(inner, self.take().text)
                self.takes(";", ",")
            self._leave()
            return inner
        if self.token.kind == "string":
            return self.string()
        negative = self.takes("-")
        token = self.take()
        if token.kind == "number":
            value = integer(token.text)
            number = float(token.text.rstrip("fF")) if value is None else value
            return -number if negative else number
        if token.kind == "name":
            if token.text.lower() in _SPECIAL:
                number = _SPECIAL[token.text.lower()]
                return -number if negative else number
            if not negative:
                return True if token.text in _TRUE[:2] else False if token.text in _FALSE[:2] else token.text
        self.fail("A value is expected", token)

    # ---- scalars ----

    def _scalars(self, message: Any, description: Any, name: Token) -> None:
        """The value of a field that is no message, or a list of them."""
        if not self.takes(":"):
            self.fail(f"':' is expected after {name}")
        if self.next_is("["):
            if not is_repeated(description):
                self.fail(f"{name} takes one value, not a list", name)
            self.take()
            values = getattr(message, name.text)
            while not self.takes("]"):
                values.append(self._scalar(description))
                if not self.takes(",") and not self.next_is("]"):
                    self.fail("',' or ']' is expected")
        elif is_repeated(description):
            getattr(message, name.text).append(self._scalar(description))
        else:
            if message.HasField(name.text):
                self.fail(f"{name} is given twice", name)
            setattr(message, name.text, self._scalar(description))

    def _scalar(self, description: Any) -> Any:
        kind = description.cpp_type
        if kind == description.CPPTYPE_STRING:
            if self.token.kind != "string":
                hint = f'write {description.name}: "{self.token}"' if self.token.kind in ("name", "number") else None
                self.fail(f"{description.name} is a string: quotes are expected", hint=hint)
            value = self.string()
            return value.encode("latin-1", "replace") if description.type == description.TYPE_BYTES else value
        if kind == description.CPPTYPE_ENUM:
            return self._enum(description)
        if kind == description.CPPTYPE_BOOL:
            return self._bool(description)
        negative = self.takes("-")
        token = self.take()
        if kind in (description.CPPTYPE_FLOAT, description.CPPTYPE_DOUBLE):
            number = self._float(description, token)
            return -number if negative else number
        whole = integer(token.text) if token.kind == "number" else None
        if negative:
            token = token._replace(text=f"-{token.text}")
        if whole is None:
            self.fail(f"{description.name} is an integer", token)
        whole = -whole if negative else whole
        low, high = _RANGES[kind]
        if not low <= whole <= high:
            self.fail(f"{description.name} lies in {low} .. {high}", token)
        return whole

    def _float(self, description: Any, token: Token) -> float:
        if token.kind == "number":
            whole = integer(token.text) if token.text[:2] in ("0x", "0X") else None
            return float(token.text.rstrip("fF")) if whole is None else float(whole)
        if token.kind == "name" and token.text.lower() in _SPECIAL:
            return _SPECIAL[token.text.lower()]
        self.fail(f"{description.name} is a number", token)

    def _bool(self, description: Any) -> bool:
        token = self.take()
        if token.text in _TRUE or (token.kind == "number" and integer(token.text) == 1):
            return True
        if token.text in _FALSE or (token.kind == "number" and integer(token.text) == 0):
            return False
        self.fail(f"{description.name} is true or false", token)

    def _enum(self, description: Any) -> int:
        values = description.enum_type.values_by_name
        negative = self.takes("-")
        token = self.take()
        if token.kind == "name" and token.text in values and not negative:
            return int(values[token.text].number)
        if token.kind == "number" and (number := integer(token.text)) is not None:
            number = -number if negative else number
            if number in description.enum_type.values_by_number:
                return number
        close = nearest(token.text.strip("\"'"), values)
        hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(values)}"
        if token.kind == "string":
            self.fail(f"{description.name} is one of a list of names, without quotes", token, hint)
        self.fail(f"{description.name} is one of a list of names", token, hint)


#: CPPTYPE of a field -> least and greatest value
_RANGES = {
    1: (-(1 << 31), (1 << 31) - 1),
    2: (-(1 << 63), (1 << 63) - 1),
    3: (0, (1 << 32) - 1),
    4: (0, (1 << 64) - 1),
}
