"""What the store's tests share: a server, a cache, small limits, and files whose digests are known."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from modelzoo.store import Member, Policy, Source, Store
from tests.store.fault_server import FaultServer, fault_server

QUICK = Policy(
    connect_timeout=5.0,
    read_timeout=0.5,
    rate_window=0.4,
    minimum_rate=256.0,
    rounds=4,
    backoff=0.01,
    longest_wait=0.2,
    mark_every=1 << 16,
    lock_wait=20.0,
)


_CERTIFICATES = ("requests_ca_bundle", "curl_ca_bundle", "ssl_cert_file")


def some_bytes(size: int, seed: int = 0) -> bytes:
    """Bytes that do not compress and look like nothing."""
    return random.Random(seed).randbytes(size)


def pinned(
    data: bytes,
    *urls: str,
    name: str = "net.bin",
    role: str = "weights",
    members: tuple[Member, ...] = (),
    size: bool = True,
) -> Source:
    """A source with the digest of `data`."""
    return Source(name, role, urls, len(data) if size else None, {"sha256": sha256(data).hexdigest()}, members)


def visible(root: Path) -> list[Path]:
    """Every file that a user could take for a finished one, and every blob; not the references between them."""
    found = [*(root / "models").rglob("*"), *(root / "blobs").rglob("*")]
    return [path for path in found if path.is_file() and path.suffix not in (".at", ".tmp")]


@pytest.fixture(autouse=True)
def _plain_network(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", *_CERTIFICATES):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name in ("MODELZOO_OFFLINE", "MODELZOO_AUTH", "MODELZOO_SHARED_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MODELZOO_AUTH_FILE", "/nowhere/auth.toml")


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with fault_server() as running:
        yield running


@pytest.fixture
def mirror() -> Iterator[FaultServer]:
    with fault_server() as running:
        yield running


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def store(root: Path) -> Store:
    return Store(root, policy=QUICK, progress=False)


MakeStore = Callable[..., Store]


@pytest.fixture
def make_store(root: Path) -> MakeStore:
    """A store over the same cache, with other arguments."""

    def make(**options: object) -> Store:
        return Store(root, **{"policy": QUICK, "progress": False, **options})  # type: ignore[arg-type]

    return make
