"""The exception tree: one class for each cause, each with what happened, what was received and what to do.

::

    ModelzooError                     exit code 1
    +- UsageError                     2   an option or argument makes no sense
    +- NotFoundError                  3   a name nobody knows; carries the nearest ones
    |  +- UnknownModelError               ... of a model
    |  +- UnknownTapError                 ... of a tap of a network
    |  +- UnknownNetworkError             ... of a network or converter a card asks for
    +- RegistryError                  4   a registry cannot be read
    |  +- RegistryFormatError             not JSON, or not what the schema says
    |  +- RegistryVersionError            a schema version from the future
    |  +- SignatureError                  a signed registry that its keys did not sign
    |     +- RollbackError                   ... older than what was seen before
    |     +- ExpiredError                    ... past its date, and not renewed
    |     +- MixedMetadataError              ... put together of several states
    +- NetworkError                   5   no URL of a file delivered it
    +- OfflineError                   6   it is not cached and the network must not be used
    +- DigestError                    7   bytes that differ from what the registry says
    |  +- SizeError                       ... in their number already
    +- UnpinnedError                  8   nothing strong to verify against
    +- ArchiveError                   9   an archive that is damaged or not safe to unpack
    +- DiskError                     10   a file system refused
    |  +- DiskFullError                   ... because it is full or over quota
    |  +- ReadOnlyError                   ... because it may not be written
    +- CacheError                    11   the cache holds something it should not
    +- LockTimeoutError              12   somebody else holds the lock for too long
    +- CheckpointError               13   a weight file
    |  +- CheckpointFormatError           ... that is damaged or of an unknown format
    |  +- UnsafeFileError                 ... that asks to run code or to reach other files
    +- WeightsMismatchError          14   arrays and architecture do not fit; carries all names
    +- InputError                    15   what a model is given
    |  +- ImageError                      ... a picture that cannot be read
    |  +- ArrayError                      ... an array of a wrong shape, dtype or range
    +- MissingExtraError             16   an optional dependency is not installed
    +- ConversionError               17   a model that cannot be converted
    |  +- InvalidGraphError               ... because it contradicts its own format
    |  +- UnsupportedOperatorError        ... because of one operator; carries node and operator
    +- ParityError                    1   source and result differ by more than the tolerance
    +- LicenceError                  18   a licence has to be accepted first

Exit code 0 is success, 70 a fault of modelzoo itself, 130 an interrupt (Ctrl-C).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

__all__ = [
    "ArchiveError",
    "ArrayError",
    "CacheError",
    "CheckpointError",
    "CheckpointFormatError",
    "ConversionError",
    "DigestError",
    "DiskError",
    "DiskFullError",
    "ExpiredError",
    "ImageError",
    "InputError",
    "InvalidGraphError",
    "LicenceError",
    "LockTimeoutError",
    "MissingExtraError",
    "MixedMetadataError",
    "ModelzooError",
    "NetworkError",
    "NotFoundError",
    "OfflineError",
    "ParityError",
    "ReadOnlyError",
    "RegistryError",
    "RegistryFormatError",
    "RegistryVersionError",
    "RollbackError",
    "SignatureError",
    "SizeError",
    "UnknownModelError",
    "UnknownNetworkError",
    "UnknownTapError",
    "UnpinnedError",
    "UnsafeFileError",
    "UnsupportedOperatorError",
    "UsageError",
    "WeightsMismatchError",
    "nearest",
]


def nearest(name: str, known: Iterable[str], count: int = 3) -> tuple[str, ...]:
    """The up to `count` names of `known` that look most like `name`, best first ("did you mean")."""
    import difflib

    by_folded = {item.casefold(): item for item in known}
    folded = name.casefold()
    close = difflib.get_close_matches(folded, by_folded, n=count, cutoff=0.6)
    inside = sorted((item for item in by_folded if folded and folded in item), key=len)
    ordered = list(dict.fromkeys([*close, *inside]))
    return tuple(by_folded[item] for item in ordered[:count])


class ModelzooError(Exception):
    """Base of every error that modelzoo raises on purpose.

    Args:
        what: what happened, as one sentence.
        received: the value that was met, if there is one; shown as `Received: ...`.
        hint: what the user can do now; shown as `Hint: ...`.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, what: str, *, received: Any = None, hint: str | None = None) -> None:
        self.what = what
        self.received = received
        self.hint = hint
        super().__init__(what)

    def __str__(self) -> str:
        lines = [self.what]
        if self.received is not None:
            lines.append(f"Received: {self.received}")
        if self.hint:
            lines.append(f"Hint: {self.hint}")
        return "\n".join(lines)

    def __reduce__(self) -> tuple[Any, ...]:
        # Exceptions with keyword arguments cross process borders (Ray, multiprocessing) only so.
        return (_rebuild, (type(self), self.args, self.__dict__.copy()))

    def as_dict(self) -> dict[str, Any]:
        """The fields that `--json` prints: error, message, received, hint, exit_code, and the class's own."""
        own = {k: v for k, v in self.__dict__.items() if k not in ("what", "received", "hint")}
        received = None if self.received is None else str(self.received)
        return {
            "error": type(self).__name__,
            "message": self.what,
            "received": received,
            "hint": self.hint,
            "exit_code": self.exit_code,
            **{k: list(v) if isinstance(v, tuple) else v for k, v in own.items()},
        }


def _rebuild(cls: type[ModelzooError], args: tuple[Any, ...], state: dict[str, Any]) -> ModelzooError:
    error = cls.__new__(cls)
    error.args = args
    error.__dict__.update(state)
    return error


class UsageError(ModelzooError):
    """An option or argument makes no sense, alone or together with another."""

    exit_code = 2


class NotFoundError(ModelzooError):
    """A name that nobody knows.

    Attributes:
        name: the name that was asked for.
        suggestions: the nearest known names, best first.
    """

    exit_code = 3
    noun: ClassVar[str] = "name"

    def __init__(self, name: str, known: Iterable[str] = (), *, what: str | None = None, hint: str | None = None):
        self.name = name
        self.suggestions = nearest(name, known)
        if hint is None and self.suggestions:
            hint = f"did you mean {_either(self.suggestions)}?"
        super().__init__(what or f"There is no {self.noun} {name!r}.", hint=hint)


def _either(names: Sequence[str]) -> str:
    quoted = [repr(name) for name in names]
    return quoted[0] if len(quoted) == 1 else ", ".join(quoted[:-1]) + " or " + quoted[-1]


class UnknownModelError(NotFoundError):
    """No registry has a card of this name."""

    noun = "model"


class UnknownTapError(NotFoundError):
    """The network has no tap of this name."""

    noun = "tap"


class UnknownNetworkError(NotFoundError):
    """A card asks for a network or converter that this version does not have."""

    noun = "network"


class RegistryError(ModelzooError):
    """A registry cannot be read."""

    exit_code = 4


class RegistryFormatError(RegistryError):
    """A registry or card is not JSON, or not what the schema says."""


class RegistryVersionError(RegistryError):
    """A registry is written for another major version of the schema."""


class SignatureError(RegistryError):
    """A signed registry, or what is said of it, is not what the keys that are trusted for it have signed."""


class RollbackError(SignatureError):
    """A signed registry is older than what was seen of it before.

    Attributes:
        role: whose file it is: "root", "timestamp", "snapshot" or "targets".
        seen: the version that was seen before.
        arrived: the version that came now.
    """

    def __init__(
        self,
        what: str,
        *,
        role: str = "",
        seen: int = 0,
        arrived: int = 0,
        received: Any = None,
        hint: str | None = None,
    ) -> None:
        self.role = role
        self.seen = seen
        self.arrived = arrived
        super().__init__(what, received=received, hint=hint)


class ExpiredError(SignatureError):
    """A signed registry is past the date up to which it was signed. `expires` is that date, ISO 8601 in UTC."""

    def __init__(self, what: str, *, expires: str = "", received: Any = None, hint: str | None = None):
        self.expires = expires
        super().__init__(what, received=received, hint=hint)


class MixedMetadataError(SignatureError):
    """The files of a signed registry belong to several of its states. `file` is the first that does not fit."""

    def __init__(self, what: str, *, file: str = "", received: Any = None, hint: str | None = None):
        self.file = file
        super().__init__(what, received=received, hint=hint)


class NetworkError(ModelzooError):
    """No URL of a file delivered it. `attempts` holds one line for each try."""

    exit_code = 5

    def __init__(self, what: str, *, attempts: Sequence[str] = (), received: Any = None, hint: str | None = None):
        self.attempts = tuple(attempts)
        super().__init__(what, received=received, hint=hint)

    def __str__(self) -> str:
        lines = [super().__str__()]
        for line in dict.fromkeys(self.attempts):
            count = self.attempts.count(line)
            lines.append(f"  tried {line}" + (f" ({count} times)" if count > 1 else ""))
        return "\n".join(lines)


class OfflineError(ModelzooError):
    """A file is not in the cache and the network must not be used."""

    exit_code = 6


class DigestError(ModelzooError):
    """Bytes differ from what the registry says; none of them was kept."""

    exit_code = 7


class SizeError(DigestError):
    """The number of bytes differs from what the registry says; none of them was kept."""


class UnpinnedError(ModelzooError):
    """A file has no strong digest to verify it against, and nobody said to trust its first use."""

    exit_code = 8


class ArchiveError(ModelzooError):
    """An archive is damaged or not safe to unpack; nothing of it was kept."""

    exit_code = 9


class DiskError(ModelzooError):
    """A file system refused an operation."""

    exit_code = 10


class DiskFullError(DiskError):
    """The disk is full, or a quota is used up."""


class ReadOnlyError(DiskError):
    """A folder or file may not be written."""


class CacheError(ModelzooError):
    """The cache holds something that it should not: damaged files, a symbolic link, a foreign owner."""

    exit_code = 11


class LockTimeoutError(ModelzooError):
    """Another process holds a lock for too long; the message names it."""

    exit_code = 12


class CheckpointError(ModelzooError):
    """A weight file cannot be used."""

    exit_code = 13


class CheckpointFormatError(CheckpointError):
    """A weight file is damaged, or of a format that no reader knows."""


class UnsafeFileError(CheckpointError):
    """A file asks to run code, to reach other files or to allocate without measure; it was refused."""


class WeightsMismatchError(ModelzooError):
    """Arrays and architecture do not fit.

    Attributes:
        missing: names that the network needs and the file lacks.
        unexpected: names that the file has and the network does not know.
        mismatched: lines `name: file (shape), network (shape)`.
    """

    exit_code = 14

    def __init__(
        self,
        what: str,
        *,
        missing: Sequence[str] = (),
        unexpected: Sequence[str] = (),
        mismatched: Sequence[str] = (),
        hint: str | None = None,
    ) -> None:
        self.missing = tuple(missing)
        self.unexpected = tuple(unexpected)
        self.mismatched = tuple(mismatched)
        super().__init__(what, hint=hint)

    def __str__(self) -> str:
        lines = [self.what]
        for title, names in (
            ("missing in the file", self.missing),
            ("of another shape", self.mismatched),
            ("unknown to the network", self.unexpected),
        ):
            if names:
                lines.append(f"  {len(names)} {title}:")
                lines.extend(f"    {name}" for name in names[:10])
                if len(names) > 10:
                    lines.append(f"    ... and {len(names) - 10} more")
        if self.hint:
            lines.append(f"Hint: {self.hint}")
        return "\n".join(lines)


class InputError(ModelzooError):
    """What a model is given does not fit it."""

    exit_code = 15


class ImageError(InputError):
    """A picture cannot be read."""


class ArrayError(InputError):
    """An array has a wrong shape, dtype or range."""


class MissingExtraError(ModelzooError):
    """An optional dependency is not installed."""

    exit_code = 16

    def __init__(self, extra: str, package: str, purpose: str) -> None:
        self.extra = extra
        self.package = package
        super().__init__(f"{purpose} needs the package {package}.", hint=f'pip install "modelzoo[{extra}]"')


class ConversionError(ModelzooError):
    """A model cannot be converted."""

    exit_code = 17


class InvalidGraphError(ConversionError):
    """A model contradicts its own format: a cycle, a missing input, a wrong type or shape."""


class UnsupportedOperatorError(ConversionError):
    """An operator that is unknown, or known only in other forms.

    Attributes:
        node: name of the node in the source.
        operator: its operator, with domain and version where the format has them.
    """

    def __init__(self, node: str, operator: str, *, what: str | None = None, hint: str | None = None) -> None:
        self.node = node
        self.operator = operator
        super().__init__(what or f"Node {node!r}: operator {operator} is not supported.", hint=hint)


class ParityError(ModelzooError):
    """Source and result differ by more than the tolerance; the report is attached as `report`."""

    def __init__(self, what: str, *, report: Any = None, hint: str | None = None) -> None:
        self.report = report
        super().__init__(what, hint=hint)

    def as_dict(self) -> dict[str, Any]:
        fields = super().as_dict()
        fields["report"] = self.report.as_dict() if hasattr(self.report, "as_dict") else None
        return fields


class LicenceError(ModelzooError):
    """A licence restricts the use of a model and has not been accepted."""

    exit_code = 18
