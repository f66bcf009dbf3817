"""A publisher of signed registries, a server that serves any of their states, and a clock that can be put forward."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from modelzoo.registry import load_registries, trusted
from modelzoo.registry.signing import make_key, rotate_key, sign_registry
from tests.store.fault_server import Fault, FaultServer, fault_server

CARD = {"title": "Mine", "task": "embedding", "framework": "onnx", "licence": "MIT"}
NOBODY = Fault(status=404)

State = Mapping[str, bytes]
"""What lies on a server: path below the folder -> bytes."""


class Publisher:
    """Writes a registry into a folder and signs it; every state is kept by its version, as `states[1]` and so on."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "published"
        self.folder.mkdir(parents=True)
        self.key = folder / "first.key"
        self.fingerprint = make_key(self.key)
        self.states: dict[int, State] = {}

    @property
    def root(self) -> bytes:
        return (self.folder / "metadata" / "root.json").read_bytes()

    def sign(self, *names: str, days: float = 30, now: datetime.datetime | None = None) -> State:
        """A registry of cards with these names, signed."""
        self.write(*names)
        signed = sign_registry(self.folder, self.key, expires=datetime.timedelta(days=days), now=now)
        return self._kept(signed.version)

    def rotate(self, name: str) -> State:
        """The same registry, signed by a new key."""
        new = self.folder.parent / f"{name}.key"
        self.fingerprint = make_key(new)
        signed = rotate_key(self.folder, self.key, new)
        self.key = new
        return self._kept(signed.version)

    def write(self, *names: str) -> None:
        document = {"schema_version": 1, "models": dict.fromkeys(names, CARD)}
        (self.folder / "registry.json").write_text(json.dumps(document))

    def _kept(self, version: int) -> State:
        files = [path for path in self.folder.rglob("*") if path.is_file()]
        self.states[version] = {path.relative_to(self.folder).as_posix(): path.read_bytes() for path in files}
        return self.states[version]


class Served:
    """A server that shows one state of a registry at a time."""

    def __init__(self, server: FaultServer) -> None:
        self.server = server
        self.url = f"{server.url}/models/registry.json"
        self._paths: set[str] = set()

    def show(self, *states: State) -> None:
        """Serve a state, with the files of further ones laid over it; what is in none of them is not there."""
        merged: dict[str, bytes] = {}
        for state in states:
            merged.update(state)
        for path in self._paths - set(merged):
            self.server.serve(f"/models/{path}", b"", always=NOBODY)
        for path, data in merged.items():
            self.server.serve(f"/models/{path}", data)
        self._paths |= set(merged)

    def asked(self) -> list[str]:
        """The files that were asked for, in order."""
        return [seen.path.removeprefix("/models/") for seen in self.server.seen]

    def names(self, *, refresh: bool = False, offline: bool | None = None) -> list[str]:
        """The cards that a user of the registry sees."""
        return load_registries([self.url], refresh=refresh, offline=offline, environment=False, builtin=False).names()


@contextmanager
def serving() -> Iterator[Served]:
    with fault_server() as server:
        yield Served(server)


def put_clock(monkeypatch: pytest.MonkeyPatch, days: float) -> None:
    """Put the reader's clock so many days forward."""
    ahead = datetime.timedelta(days=days)

    class Clock(datetime.datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> datetime.datetime:  # type: ignore[override]
            return datetime.datetime.now(tz) + ahead

    from tuf.ngclient._internal import trusted_metadata_set

    shifted = SimpleNamespace(datetime=Clock, timezone=datetime.timezone)
    monkeypatch.setattr(trusted_metadata_set, "datetime", shifted)
    later = (datetime.datetime.now(datetime.UTC) + ahead).strftime("%Y-%m-%dT%H:%M:%SZ")
    monkeypatch.setattr(trusted, "_now", lambda: later)
