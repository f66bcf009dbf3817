"""The model card: frozen dataclasses over one entry of a registry file.

`Card.from_dict(name, raw)` reads an entry, `card.as_dict()` gives it back unchanged. Fields that this version does
not know are kept in `extra`, at every level, so that a newer registry of the same major version survives a round
trip. docs/registry.md describes each field; schema.json is the machine's version of it.
"""

from __future__ import annotations

import dataclasses
import reprlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, NoReturn, Self

from modelzoo.errors import RegistryFormatError

STRONG_DIGESTS = ("sha256", "sha384", "sha512")
"""Digests that pin a file; MD5, SHA-1 and CRCs do not."""

DEEPEST = 64
"""Levels of arrays and objects that a value of a card may have: more would end in a bare RecursionError somewhere."""

_SHOWN = reprlib.Repr()
_SHOWN.maxstring = _SHOWN.maxother = 200


class FrozenDict(dict[str, Any]):
    """A JSON object that nobody can change; unlike `types.MappingProxyType` it hashes, pickles and goes into JSON."""

    def _refuse(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError("a card cannot be changed; make a new one with dataclasses.replace")

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(frozenset(self.items()))

    def __reduce__(self) -> tuple[Any, ...]:
        return (FrozenDict, (dict(self),))


_NOTHING = FrozenDict()
_Readers = Mapping[str, Callable[[Any], Any]]


class Record:
    """One JSON object of a card. Subclasses are frozen dataclasses whose field names are the JSON's keys."""

    _readers: ClassVar[_Readers] = {}
    _from_outside: ClassVar[frozenset[str]] = frozenset({"extra"})
    _given: ClassVar[frozenset[str]] = frozenset()
    """Keys of the JSON object that the record was read from: `as_dict` writes them even where they say the default."""

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Self:
        """Read a JSON object; raises RegistryFormatError where its shape is not that of a card.

        This reads what it needs and no more: `modelzoo.registry.validate` checks an entry against the whole schema.
        """
        return cls(**cls._arguments(raw))._read_from(raw)

    def _read_from(self, raw: Mapping[str, Any]) -> Self:
        object.__setattr__(self, "_given", frozenset(raw))  # the dataclass is frozen
        return self

    @classmethod
    def _arguments(cls, raw: Mapping[str, Any]) -> dict[str, Any]:
        if not isinstance(raw, Mapping):
            raise _malformed(cls, "must be a JSON object", raw)
        arguments: dict[str, Any] = {}
        known = set()
        for one in dataclasses.fields(cls):  # type: ignore[arg-type]
            if one.name in cls._from_outside:
                continue
            known.add(one.name)
            if one.name not in raw:
                if one.default is dataclasses.MISSING and one.default_factory is dataclasses.MISSING:
                    raise _malformed(cls, f"lacks {one.name!r}", sorted(raw))
                continue
            reader = cls._readers.get(one.name)
            try:
                arguments[one.name] = reader(raw[one.name]) if reader else raw[one.name]
            except (TypeError, ValueError, AttributeError, KeyError):
                raise _malformed(cls, f"has a {one.name!r} of the wrong type", raw[one.name]) from None
        arguments["extra"] = _frozen({key: value for key, value in raw.items() if key not in known})
        return arguments

    def as_dict(self) -> dict[str, Any]:
        """The JSON object again: what it was read from. A record made in Python leaves out what is the default."""
        written: dict[str, Any] = {}
        for one in dataclasses.fields(self):  # type: ignore[arg-type]
            if one.name in self._from_outside:
                continue
            value = getattr(self, one.name)
            default = one.default if one.default_factory is dataclasses.MISSING else one.default_factory()
            if value != default or one.name in self._given:
                written[one.name] = _plain(value)
        written.update(_plain(self.extra))  # type: ignore[attr-defined]
        return written


def _malformed(cls: type, what: str, received: Any) -> RegistryFormatError:
    return RegistryFormatError(
        f"The {cls.__name__.lower()} of a card {what}.",
        received=_SHOWN.repr(received),
        hint="docs/registry.md lists the fields of a card.",
    )


def _plain(value: Any) -> Any:
    if isinstance(value, Record):
        return value.as_dict()
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    return value


def _list_of(reader: Callable[[Any], Any]) -> Callable[[Any], tuple[Any, ...]]:
    def read(raw: Any) -> tuple[Any, ...]:
        if isinstance(raw, (str, Mapping)):
            raise TypeError("a JSON array is needed")
        return tuple(reader(item) for item in raw)

    return read


def _optional(reader: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda raw: None if raw is None else reader(raw)


def _text(raw: Any) -> str:
    if not isinstance(raw, str):
        raise TypeError("a string is needed")
    return raw


def _frozen(raw: Any, left: int = DEEPEST) -> Any:
    """A JSON value that nobody can change: objects become frozen, arrays tuples."""
    if not left:
        raise RegistryFormatError(f"A value is nested more than {DEEPEST} levels deep.")
    if isinstance(raw, Mapping):
        return FrozenDict({key: _frozen(item, left - 1) for key, item in raw.items()})
    if isinstance(raw, list):
        return tuple(_frozen(item, left - 1) for item in raw)
    return raw


def _mapping(raw: Any) -> Any:
    if not isinstance(raw, Mapping):
        raise TypeError("a JSON object is needed")
    return _frozen(raw)


@dataclass(frozen=True)
class Url(Record):
    """One place where a file can be had. `kind` is "original", "mirror" or "package" (inside our wheel)."""

    url: str
    kind: str = "original"
    note: str | None = None
    extra: Mapping[str, Any] = field(default=_NOTHING, compare=False)


@dataclass(frozen=True)
class Member(Record):
    """One file inside an archive: `path` there, the `role` it plays, the `name` it gets (None: its path)."""

    path: str
    role: str
    name: str | None = None
    size: int | None = None
    digests: Mapping[str, str] = _NOTHING
    extra: Mapping[str, Any] = field(default=_NOTHING, compare=False)

    _readers: ClassVar[_Readers] = {"path": _text, "role": _text, "digests": _mapping}


@dataclass(frozen=True)
class File(Record):
    """A file that a model needs: where it is, how large it is (bytes), and what its bytes hash to.

    Attributes:
        name: file name that the user sees.
        role: "weights", "graph", "index", "labels", "mean", "archive" or "vocab".
        urls: in order of preference.
        size: bytes, None where no source states it.
        digests: {"sha256": hex, ...}.
        members: what is taken out of an archive; nothing else is unpacked.
        optional: not fetched with the model, only named.
    """

    name: str
    role: str
    urls: tuple[Url, ...] = ()
    size: int | None = None
    digests: Mapping[str, str] = _NOTHING
    members: tuple[Member, ...] = ()
    optional: bool = False
    note: str | None = None
    extra: Mapping[str, Any] = field(default=_NOTHING, compare=False)

    _readers: ClassVar[_Readers] = {
        "name": _text,
        "role": _text,
        "urls": _list_of(Url.from_dict),
        "digests": _mapping,
        "members": _list_of(Member.from_dict),
    }

    @property
    def pinned(self) -> bool:
        """Has a size and a digest that nobody can forge (SHA-256, SHA-384 or SHA-512)."""
        return self.size is not None and any(algorithm in self.digests for algorithm in STRONG_DIGESTS)


@dataclass(frozen=True)
class Build(Record):
    """How files become a model: by one of our networks, or by a converter; `args` are its keyword arguments.

    `needs` names what this version of modelzoo lacks for it ("network resnet_v1_50", "converter caffe"); empty means
    that nothing is missing.
    """

    network: str | None = None
    converter: str | None = None
    args: Mapping[str, Any] = _NOTHING
    needs: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default=_NOTHING, compare=False)

    _readers: ClassVar[_Readers] = {"args": _mapping, "needs": _list_of(_text)}


@dataclass(frozen=True)
class Preprocessing(Record):
    """From a picture to the network's input: crop and resize, then `(x - mean) / std` on values of 0..255.

    Attributes:
        family: "inception", "vgg", "caffe", "keras_caffe", "keras_tf", "torch", "rescale", or "inside" when the
            model does it itself (it takes uint8 or 0..255 values).
        size: (height, width) of the network's input.
        crop_fraction: part of each side that a central crop keeps before resizing (inception: 0.875).
        resize_side: shorter side in pixels after an aspect-preserving resize, before a central crop to `size`.
        resize: (height, width) of a plain resize before a central crop to `size`.
        interpolation: "bilinear", "bicubic", "nearest" or "area".
        half_pixel_centers: False for TF1's `resize_bilinear`, which samples at i * scale.
        mean: a value per channel, 0..255, in the input's colour order.
        std: a divisor per channel, in the input's colour order.
        mean_file: name of a file of this card (role "mean") that holds a mean image.
    """

    family: str
    size: tuple[int, int] | None = None
    crop_fraction: float | None = None
    resize_side: int | None = None
    resize: tuple[int, int] | None = None
    interpolation: str | None = None
    half_pixel_centers: bool | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    mean_file: str | None = None
    note: str | None = None
    extra: Mapping[str, Any] = field(default=_NOTHING, compare=False)

    _readers: ClassVar[_Readers] = {
        "family": _text,
        "size": _optional(tuple),
        "resize": _optional(tuple),
        "mean": _optional(tuple),
        "std": _optional(tuple),
    }


@dataclass(frozen=True)
class Input(Record):
    """One input of the network, without the batch axis.

    Attributes:
        name: the source's own name.
        shape: (height, width, channels) for pictures, whatever the source's layout is; None = any size.
        dtype: NumPy's name of the type.
        colour: "RGB", "BGR", "grey" or None for what is no picture.
        layout: the source's layout with the batch axis, "NHWC" or "NCHW".
        preprocess: how a picture becomes this input.
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: str = "float32"
    colour: str | None = None
    layout: str | None = None
    preprocess: Preprocessing | None = None
    extra: Mapping[str, Any] = field(default=_NOTHING, compare=False)

    _readers: ClassVar[_Readers] = {"name": _text, "shape": tuple, "preprocess": _optional(Preprocessing.from_dict)}


@dataclass(frozen=True)
class Output(Record):
    """One output: its name in the source, what it means (`kind`), and its width where it is a vector of classes."""

    name: str
    kind: str
    classes: int | None = None
    shape: tuple[int | None, ...] | None = None
    extra: Mapping[str, Any] = field(default=_NOTHING, compare=False)

    _readers: ClassVar[_Readers] = {"name": _text, "kind": _text, "shape": _optional(tuple)}


@dataclass(frozen=True)
class Labels(Record):
    """What the classes are called: a known `dataset`, a `file` of this card, or `names` on the card itself.

    Attributes:
        dataset: "imagenet" (names ship with modelzoo).
        file: name of a file of this card with role "labels", one name a line.
        names: the names in class order, background excluded.
        offset: index of the first real class (1 where class 0 is "background").
        count: width of the output, `offset` included.
    """

    dataset: str | None = None
    file: str | None = None
    names: tuple[str, ...] | None = None
    offset: int = 0
    count: int | None = None
    note: str | None = None
    extra: Mapping[str, Any] = field(default=_NOTHING, compare=False)

    _readers: ClassVar[_Readers] = {"names": _optional(_list_of(_text))}


@dataclass(frozen=True)
class Accuracy(Record):
    """What the authors (or we) measured. Percent; `source` says who, `protocol` says how."""

    source: str
    top1: float | None = None
    top5: float | None = None
    dataset: str | None = None
    protocol: str | None = None
    metrics: Mapping[str, float] = _NOTHING
    extra: Mapping[str, Any] = field(default=_NOTHING, compare=False)

    _readers: ClassVar[_Readers] = {"source": _text, "metrics": _mapping}


@dataclass(frozen=True)
class Provenance(Record):
    """Where the facts of a card were read: a repository with commit and path, or a web address."""

    repo: str | None = None
    commit: str | None = None
    path: str | None = None
    url: str | None = None
    note: str | None = None
    extra: Mapping[str, Any] = field(default=_NOTHING, compare=False)


@dataclass(frozen=True)
class Style(Record):
    """Taps that style transfer compares: where content is kept, and where style is."""

    content: tuple[str, ...]
    style: tuple[str, ...]
    extra: Mapping[str, Any] = field(default=_NOTHING, compare=False)

    _readers: ClassVar[_Readers] = {"content": _list_of(_text), "style": _list_of(_text)}


@dataclass(frozen=True)
class Card(Record):
    """All that is known of one model. See docs/registry.md for every field.

    `trust` is derived: "pinned" when every file that is fetched has a size and a strong digest, "weak" when each has
    at least some digest, else "unpinned" (so is a card without files).
    """

    name: str
    title: str
    task: str
    framework: str
    format: str | None = None
    aliases: tuple[str, ...] = ()
    variants: tuple[str, ...] = ()
    licence: str = "unknown"
    licence_url: str | None = None
    licence_note: str | None = None
    files: tuple[File, ...] = ()
    build: Build = field(default_factory=Build)
    inputs: tuple[Input, ...] = ()
    outputs: tuple[Output, ...] = ()
    labels: Labels | None = None
    taps: tuple[str, ...] = ()
    style: Style | None = None
    accuracy: Accuracy | None = None
    paper: str | None = None
    sources: tuple[Provenance, ...] = ()
    notes: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default=_NOTHING, compare=False)

    _from_outside: ClassVar[frozenset[str]] = frozenset({"name", "extra"})
    _readers: ClassVar[_Readers] = {
        "title": _text,
        "task": _text,
        "framework": _text,
        "licence": _text,
        "aliases": _list_of(_text),
        "variants": _list_of(_text),
        "files": _list_of(File.from_dict),
        "build": Build.from_dict,
        "inputs": _list_of(Input.from_dict),
        "outputs": _list_of(Output.from_dict),
        "labels": _optional(Labels.from_dict),
        "taps": _list_of(_text),
        "style": _optional(Style.from_dict),
        "accuracy": _optional(Accuracy.from_dict),
        "sources": _list_of(Provenance.from_dict),
        "notes": _list_of(_text),
    }

    @classmethod
    def from_dict(cls, name: str, raw: Mapping[str, Any]) -> Card:  # type: ignore[override]
        """The card `name` of a registry's `models` object.

        Raises:
            RegistryFormatError: a field is missing or of another type; the message names the card.
        """
        try:
            return cls(name=name, **cls._arguments(raw))._read_from(raw)
        except RegistryFormatError as error:
            error.what = f"Card {name!r}: {error.what}"
            error.args = (error.what,)
            raise

    @property
    def trust(self) -> str:
        """ "pinned", "weak" or "unpinned"."""
        fetched = [file for file in self.files if not file.optional]
        if not fetched:
            return "unpinned"
        if all(file.pinned for file in fetched):
            return "pinned"
        return "weak" if all(file.digests for file in fetched) else "unpinned"

    @property
    def size(self) -> int | None:
        """Bytes to be fetched; None where the size of a file is not known, 0 for a card without files."""
        total = 0
        for file in self.files:
            if not file.optional:
                if file.size is None:
                    return None
                total += file.size
        return total

    @property
    def available(self) -> bool:
        """This version has the network or converter that the card asks for."""
        return not self.build.needs
