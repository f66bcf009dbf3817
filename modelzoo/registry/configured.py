"""The registries that a user has added for good: a list in the configuration folder, besides the folder `registries/`.

`modelzoo registry add` and `remove` write it, every command reads it. The folder is `MODELZOO_CONFIG`, else the
platform's place for configuration (`~/.config/modelzoo` on Linux). Every `*.json` in its folder `registries` is a
registry too.
"""

from __future__ import annotations

import json
import os

from modelzoo.errors import DiskError, RegistryFormatError, UsageError, nearest

CONFIG_VARIABLE = "MODELZOO_CONFIG"
_LIST = "registries.json"
_FOLDER = "registries"


class Configured:
    """One added registry: its `location` (an absolute path, or a URL), the `namespace` put before its names, and
    whether it was added as `signed`: then `modelzoo.registry.trusted` says what is trusted of it."""

    __slots__ = ("location", "namespace", "signed")

    def __init__(self, location: str, namespace: str | None = None, signed: bool = False) -> None:
        self.location = location
        self.namespace = namespace
        self.signed = signed

    def __repr__(self) -> str:
        return f"Configured({self.location!r}, namespace={self.namespace!r})"


def folder() -> str:
    """The configuration folder, without the cost of pathlib."""
    chosen = os.environ.get(CONFIG_VARIABLE)
    if chosen:
        return os.path.abspath(os.path.expanduser(chosen))  # noqa: PTH100, PTH111
    shared = os.environ.get("XDG_CONFIG_HOME")
    if shared and os.path.isabs(shared):  # noqa: PTH117
        return os.path.join(shared, "modelzoo")  # noqa: PTH118
    if os.name == "posix" and "darwin" not in os.uname().sysname.lower():
        return os.path.join(os.path.expanduser("~"), ".config", "modelzoo")  # noqa: PTH111, PTH118
    import platformdirs

    return platformdirs.user_config_dir("modelzoo", appauthor=False)


def configured() -> list[Configured]:
    """What was added, newest first, then the files of the folder `registries` by name.

    Raises:
        RegistryFormatError: the list cannot be understood.
    """
    found = _read()
    inside = os.path.join(folder(), _FOLDER)  # noqa: PTH118
    try:
        names = sorted(name for name in os.listdir(inside) if name.endswith(".json"))  # noqa: PTH208
    except OSError:
        names = []
    return [*found, *(Configured(os.path.join(inside, name)) for name in names)]  # noqa: PTH118


def added() -> list[Configured]:
    """What was added, newest first.

    Raises:
        RegistryFormatError: the list cannot be understood.
    """
    return _read()


def add(location: str, namespace: str | None = None, *, signed: bool = False) -> Configured:
    """Put a registry in front of those that were added before; one that is there already moves, with its new namespace.

    Args:
        location: a file, a folder or an http(s) URL.
        namespace: what is put before each of its names, with a `/`.
        signed: it is never read without its signatures. One that was added so stays so, whatever this says.

    Raises:
        UsageError: the namespace is none.
        DiskError: the list cannot be written.
    """
    check_namespace(namespace)
    one = Configured(_absolute(location), namespace, signed)
    before = _read()
    one.signed = signed or any(other.signed for other in before if other.location == one.location)
    _write([one, *(other for other in before if other.location != one.location)])
    return one


def check_namespace(namespace: str | None) -> None:
    """Raise UsageError unless `namespace` can stand before the names of cards."""
    import re

    if namespace is not None and not re.fullmatch(r"[a-z0-9][a-z0-9._-]*", namespace):
        raise UsageError("A namespace is of small letters, digits, '.', '_' and '-'.", received=namespace)


def remove(location: str) -> Configured:
    """Take a registry off the list, by its location or its namespace; its file stays where it is.

    Raises:
        UsageError: it is not on the list.
    """
    before = _read()
    wanted = _absolute(location)
    gone = [one for one in before if one.location == wanted or one.namespace == location]
    if not gone:
        spaces = nearest(location, [one.namespace for one in before if one.namespace], 1)
        near = spaces or nearest(wanted, [one.location for one in before], 1)
        raise UsageError(
            "No such registry was added.",
            received=location,
            hint=f"did you mean {near[0]!r}?" if near else "`modelzoo registry list` shows them",
        )
    _write([one for one in before if one is not gone[0]])
    if gone[0].signed:
        from modelzoo.registry import trusted

        trusted.forget(gone[0].location)
    return gone[0]


def _absolute(location: str) -> str:
    if location.lower().startswith(("http://", "https://")):
        return location
    return os.path.abspath(os.path.expanduser(location))  # noqa: PTH100, PTH111


def _path() -> str:
    return os.path.join(folder(), _LIST)  # noqa: PTH118


def _read() -> list[Configured]:
    path = _path()
    try:
        with open(path, "rb") as file:  # noqa: PTH123
            parsed = json.loads(file.read())
        return [
            Configured(_text(one["location"]), _text_or_none(one.get("namespace")), one.get("signed") is True)
            for one in parsed["registries"]
        ]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise DiskError(f"The list of added registries cannot be read: {error.strerror}.", received=path) from error
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise RegistryFormatError(
            "The list of added registries cannot be understood.",
            received=path,
            hint='it is {"registries": [{"location": "..."}]}; mend it, or delete it and add them again',
        ) from None


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise TypeError
    return value


def _text_or_none(value: object) -> str | None:
    return None if value is None else _text(value)


def _write(registries: list[Configured]) -> None:
    rows = [
        {
            "location": one.location,
            **({"namespace": one.namespace} if one.namespace else {}),
            **({"signed": True} if one.signed else {}),
        }
        for one in registries
    ]
    data = (json.dumps({"registries": rows}, indent=1, ensure_ascii=False) + "\n").encode("utf-8", "surrogateescape")
    final = _path()
    partial = f"{final}.{os.getpid()}.part"
    try:
        os.makedirs(os.path.dirname(final), exist_ok=True)  # noqa: PTH103, PTH120
        with open(partial, "wb") as file:  # noqa: PTH123
            file.write(data)
        os.replace(partial, final)  # noqa: PTH105
    except OSError as error:
        try:
            os.unlink(partial)  # noqa: PTH108
        except OSError:
            pass
        raise DiskError(f"The list of registries cannot be written: {error.strerror}.", received=final) from error
