"""Object stores by fsspec: `s3:` and its kin, here with a file system in memory in the place of Amazon's."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

import pytest

from modelzoo.errors import DigestError, MissingExtraError, NetworkError, OfflineError, RegistryFormatError
from modelzoo.store import Store, cloud
from tests.store.conftest import QUICK, pinned, some_bytes, visible
from tests.store.fault_server import Fault

DATA = some_bytes(300_000)
URL = "s3://bucket/folder/net.bin"


@pytest.fixture
def bucket(monkeypatch):
    """Objects by their path; what was opened is noted as (path, offset), and reading fails after `cut` bytes."""
    registry = pytest.importorskip("fsspec.registry")
    from fsspec.spec import AbstractBufferedFile, AbstractFileSystem

    class Objects(AbstractFileSystem):
        protocol = ("s3", "gs")
        cachable = False
        held: dict[str, bytes] = {}  # noqa: RUF012
        asked: list[tuple[str, int, int]] = []  # noqa: RUF012
        cut: int | None = None
        refuse: Exception | None = None

        def info(self, path: str, **options: Any) -> dict[str, Any]:
            if self.refuse is not None:
                raise self.refuse
            if path not in self.held:
                raise FileNotFoundError(path)
            return {"name": path, "size": len(self.held[path]), "type": "file", "ETag": '"abc"'}

        def _open(self, path: str, mode: str = "rb", block_size: int | None = None, **options: Any) -> Any:
            return Opened(self, path, mode, block_size=100_000)

    class Opened(AbstractBufferedFile):
        def _fetch_range(self, start: int, end: int) -> bytes:
            Objects.asked.append((self.path, start, end))
            if Objects.cut is not None and start >= Objects.cut:
                raise ConnectionResetError("the connection was reset")
            return Objects.held[self.path][start:end]

    for scheme in ("s3", "gs"):
        monkeypatch.setitem(registry._registry, scheme, Objects)
    Objects.held.update({"bucket/folder/net.bin": DATA})
    return Objects


def test_an_object_is_fetched_and_verified_like_any_file(bucket, store):
    assert store.fetch("net", [pinned(DATA, URL)]).files["weights"].read_bytes() == DATA
    bucket.held["bucket/wrong"] = DATA[:-1] + b"x"
    with pytest.raises(DigestError, match="gs://bucket/wrong"):
        store.fetch("other", [pinned(DATA[::-1], "gs://bucket/wrong")])
    assert len(visible(store.root)) == 1


def test_a_reading_that_breaks_goes_on_where_it_stopped(bucket, make_store):
    big = some_bytes(3 << 20)
    bucket.held["bucket/folder/net.bin"], bucket.cut = big, 2 << 20
    with pytest.raises(NetworkError, match="ConnectionResetError"):
        make_store(policy=replace(QUICK, rounds=2)).fetch("net", [pinned(big, URL)])
    kept = make_store().plan("net", [pinned(big, URL)])[0].kept
    assert 1 << 20 <= kept < len(big)
    bucket.cut = None
    bucket.asked.clear()
    assert make_store().fetch("net", [pinned(big, URL)]).files["weights"].read_bytes() == big
    assert min(start for _, start, _ in bucket.asked) == kept


@pytest.mark.parametrize(
    ("refuse", "cause"),
    [
        (FileNotFoundError("x"), "no such object"),
        (PermissionError("Forbidden"), "access is refused"),
        (Exception("Unable to locate credentials"), "access is refused"),
        (ValueError("bad bucket"), "ValueError: bad bucket"),
    ],
)
def test_what_an_object_store_refuses_is_said_once(bucket, store, refuse, cause):
    bucket.refuse = refuse
    with pytest.raises(NetworkError, match=cause) as caught:
        store.fetch("net", [pinned(DATA, URL)])
    assert len(caught.value.attempts) == 1 and caught.value.attempts[0].startswith(URL)


def test_a_mirror_of_another_kind_may_follow(bucket, server, store):
    bucket.held.clear()
    source = pinned(DATA, URL, server.serve("/f", DATA))
    assert store.fetch("net", [source]).files["weights"].read_bytes() == DATA


def test_chains_of_file_systems_are_not_followed(bucket, store, tmp_path):
    (tmp_path / "secret").write_bytes(DATA)
    with pytest.raises(NetworkError, match="no such object"):
        store.fetch("net", [pinned(DATA, f"s3://bucket/x::file://{tmp_path}/secret")])


def test_an_object_of_no_bytes_is_one(bucket, store):
    bucket.held["bucket/empty"] = b""
    assert store.fetch("net", [pinned(b"", "s3://bucket/empty")]).files["weights"].read_bytes() == b""


def test_offline_asks_no_object_store(bucket, make_store):
    with pytest.raises(OfflineError):
        make_store(offline=True).fetch("net", [pinned(DATA, URL)])
    assert not bucket.asked


@pytest.mark.parametrize(("absent", "package"), [("fsspec", "fsspec"), ("s3fs", "s3fs")])
def test_without_its_package_the_extra_is_named(store, monkeypatch, absent, package):
    if absent == "s3fs":
        pytest.importorskip("fsspec")
    monkeypatch.setitem(sys.modules, absent, None)
    with pytest.raises(MissingExtraError, match=f"needs the package {package}") as caught:
        store.fetch("net", [pinned(DATA, URL)])
    assert caught.value.hint == 'pip install "modelzoo[cloud]"' and URL in str(caught.value)


def test_without_its_package_a_mirror_serves_or_is_named_too(server, store, monkeypatch):
    monkeypatch.setitem(sys.modules, "fsspec", None)
    url = server.serve("/f", DATA, [Fault(status=404)])
    with pytest.raises(NetworkError, match="needs the package fsspec") as caught:
        store.fetch("net", [pinned(DATA, URL, url)])
    assert caught.value.hint == 'pip install "modelzoo[cloud]"'
    store.fetch("net", [pinned(DATA, URL, url)])


def test_every_scheme_needs_a_bucket(store):
    for scheme in cloud.PACKAGES:
        with pytest.raises(RegistryFormatError):
            store.fetch("net", [pinned(DATA, f"{scheme}:///key")])


def test_the_store_imports_no_fsspec_for_other_urls(server, root):
    import subprocess

    code = (
        "import sys, pathlib; from modelzoo.store import Store, Source;"
        "Store(pathlib.Path(sys.argv[1]), progress=False).fetch('net', [Source('f', 'weights', (sys.argv[2],), None,"
        "{'sha256': sys.argv[3]})]); print('fsspec' in sys.modules)"
    )
    source = pinned(DATA, server.serve("/f", DATA))
    command = [sys.executable, "-c", code, str(root), source.urls[0], source.digests["sha256"]]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "False\n"
    assert Store(root).locate("net") is not None


def test_what_is_kept_and_longer_than_the_object_is_thrown_away(bucket, make_store):
    """Without a size, the object store is asked for bytes that it does not have."""
    source = pinned(DATA, URL, size=False)
    bucket.held["bucket/folder/net.bin"] = DATA + b"more"
    with pytest.raises(DigestError):
        make_store(policy=replace(QUICK, rounds=1)).fetch("net", [source])
    part = make_store().root / "partial" / f"sha256-{source.digests['sha256']}.abcdefabcdef.part"
    part.write_bytes(DATA + b"more")
    part.with_suffix(".journal").write_text('{"owner": "", "origin": {}}\n')
    bucket.held["bucket/folder/net.bin"] = DATA
    assert make_store().fetch("net", [source]).files["weights"].read_bytes() == DATA
